"""The resources under /api/v1/. Reads are QuerySets, writes go through `services`."""

from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from django.utils import timezone

from app.fleet import filters, serializers, services
from app.fleet.labelling import BulkLabelsMixin
from app.fleet.models import Container, Event, Host, Image, Revision, Workload
from app.fleet.observations import RelistSerializer, read_relist
from app.fleet.pagination import EventPagination, PagePagination
from app.fleet.services import retention
from app.fleet.warnings import warn
from app.fleet.watching import Gone, WatchedMixin
from app.fleet.writes import VersionedWritesMixin, trial
from app.rest import viewsets
from app.rest.conditional import ConditionalMixin
from app.rest.decorators import action
from app.rest.exceptions import NotFound, ValidationError
from app.rest.fieldsets import FieldsetsMixin
from app.rest.lanes import passes_when
from app.rest.request import Request
from app.rest.response import Response

TRUE = {"1", "true", "yes", "on"}
FALSE = {"", "0", "false", "no", "off"}


def flag(request: Request, name: str) -> bool:
    """A boolean of the query. Raises ValidationError that names it."""
    text = request.query_params.get(name, "").lower()
    if text not in TRUE | FALSE:
        raise ValidationError({name: ["Not a boolean. Write true or false."]})
    return text in TRUE


def reported_host(request: Request) -> str:
    """The host that the token is bound to; empty for any."""
    return getattr(request.auth, "host_name", "")


def clock_skew(request: Request, now: datetime) -> float | None:
    """How many seconds the sender's clock is ahead, by the request's Date (RFC 9110, 6.6.1).

    A Date that is missing, or none, tells nothing.
    """
    try:
        sent_at = parsedate_to_datetime(request.headers.get("Date", ""))
        return round((sent_at - now).total_seconds(), 1)
    except (TypeError, ValueError):
        return None


class NestedMixin:
    """A list under another object, such as hosts/{host_id}/containers/: only what belongs to it.

    `parents` says, for each keyword of the URL, which model it names. One that isn't there is 404,
    so that an empty list means what it says.
    """

    parents: dict[str, Any] = {}

    @passes_when(lambda view: view.kwargs.keys().isdisjoint(view.parents))
    async def filter_queryset(self, queryset: Any) -> Any:
        queryset = await super().filter_queryset(queryset)  # type: ignore[misc]
        for keyword, model in self.parents.items():
            if keyword in self.kwargs:  # type: ignore[attr-defined]
                parent_id = self.kwargs[keyword]  # type: ignore[attr-defined]
                if not await model.objects.filter(pk=parent_id).aexists():
                    raise NotFound(f"There is no {model.__name__.lower()} {parent_id}.")
                queryset = queryset.filter(**{keyword: parent_id})
        return queryset


class HostViewSet(
    WatchedMixin, VersionedWritesMixin, BulkLabelsMixin, FieldsetsMixin, viewsets.ModelViewSet
):
    """Machines with an engine. Agents register theirs; `observe/` is an agent's full report."""

    queryset = Host.objects.all()
    serializer_class = serializers.HostSerializer
    filterset_class = filters.HostFilter
    pagination_class = PagePagination
    search_fields = ["name"]
    ordering_fields = ["id", "name", "cpus", "memory_bytes", "last_seen_at", "created_at"]
    ordering = ["name"]
    required_scopes = {"observe": "agent"}
    etag_fields = ["last_seen_at"]
    last_modified_fields = ["updated_at", "last_seen_at"]

    async def perform_create(self, serializer: Any) -> None:
        serializer.instance = await services.register_host(**serializer.validated_data)

    async def perform_update(self, serializer: Any) -> None:
        serializer.instance = await services.update_host(
            host_id=serializer.instance.pk,
            versions=self.versions(),
            **serializer.validated_data,
        )

    async def perform_destroy(self, instance: Host) -> None:
        """409 while containers are live on the host, unless `?force=true`."""
        await services.delete_host(
            host_id=instance.pk, force=flag(self.request, "force"), versions=self.versions()
        )

    async def change_labels(self, changes: Sequence[services.LabelChange]) -> list[Host]:
        return await services.label_hosts(changes=changes)

    def takes_idempotency_key(self) -> bool:
        """A report is idempotent by itself."""
        return self.action != "observe" and super().takes_idempotency_key()

    @action(detail=False, methods=["post"], serializer_class=RelistSerializer)
    async def observe(self, request: Request) -> Response:
        """An agent's full relist of its host. Idempotent; containers not in it are removed."""
        relist = await read_relist(request.data)
        async with trial(request) as is_dry:
            observed = await services.observe_host(
                **relist,
                clock_skew_seconds=clock_skew(request, timezone.now()),
                only_host=reported_host(request),
            )
        answer = {"host": observed.host_id, "containers": observed.containers}
        return Response(await _without_new(observed) if is_dry else answer)


async def _without_new(observed: services.Observed) -> dict[str, Any]:
    """The answer to a report that was taken back: what it would have made has no id."""
    is_known = await Host.objects.filter(pk=observed.host_id).aexists()
    ids = Container.objects.filter(pk__in=observed.containers.values()).values_list("pk", flat=True)
    known = {pk async for pk in ids}
    return {
        "host": observed.host_id if is_known else None,
        "containers": {
            engine_id: pk if pk in known else None for engine_id, pk in observed.containers.items()
        },
    }


class ImageViewSet(WatchedMixin, ConditionalMixin, FieldsetsMixin, viewsets.ReadOnlyModelViewSet):
    """Images as the agents found them, and the hosts that hold each."""

    queryset = Image.objects.for_listing()
    serializer_class = serializers.ImageSerializer
    filterset_class = filters.ImageFilter
    pagination_class = PagePagination
    search_fields = ["reference"]
    ordering_fields = ["id", "reference", "size_bytes", "created_at"]
    ordering = ["reference", "digest"]


class WorkloadViewSet(
    WatchedMixin, VersionedWritesMixin, BulkLabelsMixin, FieldsetsMixin, viewsets.ModelViewSet
):
    """Desired state. A change of the spec is a new generation, and leaves a revision."""

    queryset = Workload.objects.all()
    serializer_class = serializers.WorkloadSerializer
    filterset_class = filters.WorkloadFilter
    pagination_class = PagePagination
    search_fields = ["name", "image"]
    ordering_fields = ["id", "name", "replicas", "created_at", "updated_at"]
    ordering = ["name", "id"]
    etag_fields = ["observed_generation", "conditions"]

    async def perform_create(self, serializer: Any) -> None:
        workload = await services.create_workload(
            created_by=self.request.user, **serializer.validated_data
        )
        await warn([workload], are_new=True)
        serializer.instance = workload

    async def perform_update(self, serializer: Any) -> None:
        workload = await services.update_workload(
            workload_id=serializer.instance.pk,
            changed_by=self.request.user,
            versions=self.versions(),
            **serializer.validated_data,
        )
        await warn([workload])
        serializer.instance = workload

    async def change_labels(self, changes: Sequence[services.LabelChange]) -> list[Workload]:
        return await services.label_workloads(changes=changes, changed_by=self.request.user)

    @action(detail=True, methods=["post"])
    async def rollback(self, request: Request, **kwargs: Any) -> Response:
        """Give the workload the spec of `revision` again: a new generation, and a new revision."""
        asked = serializers.RollbackSerializer(data=request.data)
        await asked.ais_valid(raise_exception=True)
        workload = await self.get_object()
        return await self.answer(partial(self._roll_back, workload, asked.validated_data))

    async def _roll_back(self, workload: Workload, asked: dict[str, int]) -> Workload:
        rolled_back = await services.roll_back_workload(
            workload_id=workload.pk,
            revision=asked["revision"],
            changed_by=self.request.user,
            versions=self.versions(),
        )
        await warn([rolled_back])
        return rolled_back

    async def perform_destroy(self, instance: Workload) -> None:
        await services.delete_workload(workload_id=instance.pk, versions=self.versions())


class RevisionViewSet(
    WatchedMixin, NestedMixin, ConditionalMixin, FieldsetsMixin, viewsets.ReadOnlyModelViewSet
):
    """What a workload's spec was, generation by generation. Nobody writes one by hand."""

    queryset = Revision.objects.all()
    serializer_class = serializers.RevisionSerializer
    filterset_class = filters.RevisionFilter
    pagination_class = PagePagination
    ordering_fields = ["id", "number", "created_at"]
    ordering = ["-number", "id"]
    parents = {"workload_id": Workload}


class ContainerViewSet(
    WatchedMixin, NestedMixin, ConditionalMixin, FieldsetsMixin, viewsets.ReadOnlyModelViewSet
):
    """Running instances as the agents observed them."""

    queryset = Container.objects.for_listing()
    serializer_class = serializers.ContainerSerializer
    filterset_class = filters.ContainerFilter
    pagination_class = PagePagination
    search_fields = ["name", "engine_id"]
    ordering_fields = ["id", "name", "state", "started_at", "last_seen_at"]
    ordering = ["name", "id"]
    parents = {"host_id": Host, "workload_id": Workload}
    version_field = "version"
    etag_fields = ["last_seen_at", "host__name", "workload_id", "image_id"]


class EventViewSet(WatchedMixin, ConditionalMixin, FieldsetsMixin, viewsets.ReadOnlyModelViewSet):
    """Every change, in order. Follow it with `?after=<position>` or the page's cursor."""

    queryset = Event.objects.committed()
    serializer_class = serializers.EventSerializer
    filterset_class = filters.EventFilter
    pagination_class = EventPagination
    ordering_fields = ["position"]
    ordering = ["position"]

    async def list(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """In order. 410 when events after `?after=` are kept no longer: list the objects anew."""
        response = await super().list(request, *args, **kwargs)
        after = request.query_params.get("after", "")
        # Asked after the page was read: what was missing from it is known to be missing by now.
        if after.isdecimal() and int(after) < (until := await retention.compacted_until()):
            raise Gone(
                f"Events up to {until} are kept no longer. Read the objects anew, then go on with"
                f" ?after={until}."
            )
        return response
