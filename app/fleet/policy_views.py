"""`/policies/`: the constants of the formulas that teams and workloads have set for themselves."""

from typing import Any

from app.fleet import filters, serializers, services
from app.fleet.models import PolicyOverride
from app.fleet.pagination import PagePagination
from app.fleet.policy import DEFAULT, OVERRIDABLE
from app.fleet.watching import WatchedMixin
from app.fleet.writes import VersionedWritesMixin
from app.rest import viewsets
from app.rest.decorators import action
from app.rest.exceptions import PermissionDenied
from app.rest.request import Request
from app.rest.response import Response


class PolicyViewSet(WatchedMixin, VersionedWritesMixin, viewsets.ModelViewSet):
    """
    A team's or a workload's own constants. The workload's count before the team's, and those
    before the defaults, which `defaults/` lists. Staff write a team's; whoever may write, a
    workload's.
    """

    queryset = PolicyOverride.objects.all()
    serializer_class = serializers.PolicyOverrideSerializer
    filterset_class = filters.PolicyFilter
    pagination_class = PagePagination
    ordering_fields = ["id", "team", "workload"]
    ordering = ["id"]

    async def perform_create(self, serializer: Any) -> None:
        self._check_owner(serializer.validated_data.get("team"))
        serializer.instance = await services.create_policy(**serializer.validated_data)

    async def perform_update(self, serializer: Any) -> None:
        policy = serializer.instance
        self._check_owner(policy.team_id)
        serializer.instance = await services.update_policy(
            policy_id=policy.pk,
            versions=self.versions(),
            constants=serializer.validated_data.get("constants", policy.constants),
        )

    async def perform_destroy(self, instance: PolicyOverride) -> None:
        self._check_owner(instance.team_id)
        await services.delete_policy(policy_id=instance.pk, versions=self.versions())

    def _check_owner(self, team: Any) -> None:
        if team and not self.request.user.is_staff:
            raise PermissionDenied("Only staff write the constants of a team.")

    @action(detail=False)
    async def defaults(self, request: Request) -> Response:
        """Every constant with its default, and from what to what it may be set."""
        return Response(
            {
                name: {
                    "default": value,
                    "lowest": OVERRIDABLE[name].lowest if name in OVERRIDABLE else None,
                    "highest": OVERRIDABLE[name].highest if name in OVERRIDABLE else None,
                    "is_overridable": name in OVERRIDABLE,
                }
                for name, value in DEFAULT.as_dict().items()
            }
        )
