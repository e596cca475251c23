"""`/quotas/`: what teams may reserve."""

from typing import Any

from app.fleet import filters, serializers, services
from app.fleet.models import Quota
from app.fleet.pagination import PagePagination
from app.fleet.watching import WatchedMixin
from app.fleet.writes import VersionedWritesMixin
from app.rest import viewsets
from app.rest.fieldsets import FieldsetsMixin
from app.rest.permissions import SAFE_METHODS, IsAdminUser


class QuotaViewSet(WatchedMixin, VersionedWritesMixin, FieldsetsMixin, viewsets.ModelViewSet):
    """What all workloads of a team may reserve together. Everyone reads; staff write."""

    queryset = Quota.objects.with_use()
    serializer_class = serializers.QuotaSerializer
    filterset_class = filters.QuotaFilter
    pagination_class = PagePagination
    ordering_fields = ["id", "team"]
    ordering = ["id"]
    etag_fields = None  # what is reserved follows the team's workloads

    def get_permissions(self) -> list[Any]:
        permissions: list[Any] = super().get_permissions()
        if self.request.method not in SAFE_METHODS:
            permissions.append(IsAdminUser())
        return permissions

    async def perform_create(self, serializer: Any) -> None:
        quota = await services.create_quota(**serializer.validated_data)
        serializer.instance = await self.queryset.aget(pk=quota.pk)

    async def perform_update(self, serializer: Any) -> None:
        quota = await services.update_quota(
            quota_id=serializer.instance.pk,
            versions=self.versions(),
            **serializer.validated_data,
        )
        serializer.instance = await self.queryset.aget(pk=quota.pk)

    async def perform_destroy(self, instance: Quota) -> None:
        await services.delete_quota(quota_id=instance.pk, versions=self.versions())
