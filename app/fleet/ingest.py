"""`/usage/`: samples out, the latest first; and in, in batches, from agents."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from app.fleet import filters, partitions, serializers, services
from app.fleet.history import HOUR, MAX_POINTS, History, Span, fetch_history
from app.fleet.models import Container, Usage
from app.fleet.outbox import Compacted
from app.fleet.pagination import UsagePagination
from app.fleet.predicates import predicate_of
from app.fleet.renderers import ChartRenderer, CSVRenderer, NDJSONRenderer
from app.fleet.samples import Batch, read_batch
from app.fleet.usage_journal import check_position, usage_positions
from app.fleet.usage_tail import Matches, usage_tail
from app.fleet.validation import MAX_AHEAD
from app.fleet.views import NestedMixin, reported_host
from app.fleet.watching import Gone, WatchedMixin, follow, keep_filters, position_asked
from app.fleet.writes import trial
from app.rest import mixins, viewsets
from app.rest.dry_runs import is_dry_run
from app.rest.exceptions import NotFound, ValidationError
from app.rest.exports import CSVRowsRenderer, NDJSONRowsRenderer, RowsRenderer
from app.rest.parsers import JSONParser, Lines, NDJSONParser
from app.rest.request import Request
from app.rest.response import Response
from app.rest.streams import EventStream

MAX_SAMPLES = 20_000
EXPORTS: dict[type, type[RowsRenderer]] = {
    NDJSONRenderer: NDJSONRowsRenderer,
    CSVRenderer: CSVRowsRenderer,
}
"""How samples are written in the forms that a history is told in."""


class UsageViewSet(WatchedMixin, NestedMixin, mixins.ListModelMixin, viewsets.GenericViewSet):
    """What containers used. Agents send samples with `POST`; nobody changes one."""

    queryset = Usage.objects.all()
    serializer_class = serializers.UsageSerializer
    filterset_class = filters.UsageFilter
    pagination_class = UsagePagination
    parser_classes = [JSONParser, NDJSONParser]
    ordering_fields = ["at"]
    ordering = ["-at", "container_id"]
    parents = {"container_id": Container}
    required_scopes = {"create": "agent"}

    positions = usage_positions
    export_renderers = ()  # its own speak of points over time, too
    renderer_classes = [
        *viewsets.GenericViewSet.renderer_classes,
        NDJSONRenderer,
        CSVRenderer,
        ChartRenderer,
    ]

    async def list(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """Samples; with `?resolution=` (1m, 5m, 15m, 1h, 6h, 1d) what they come to over time.

        Both as JSON, `?format=ndjson` or `csv`; over time as `svg`, too. Samples as ndjson or csv
        are all that match, and not a page.
        """
        if self.is_watched():
            return await self.watch(request)
        if "resolution" in request.query_params:
            history = await _fetch_history(request, self.kwargs.get("container_id"))
            is_chart = isinstance(request.accepted_renderer, ChartRenderer)
            return Response(history if is_chart else history.as_dict())
        if isinstance(request.accepted_renderer, ChartRenderer):
            raise ValidationError({"resolution": ["A chart needs one, such as ?resolution=1h."]})
        rows = EXPORTS.get(type(request.accepted_renderer))
        if rows is not None:
            return await self.export(rows())
        return await super().list(request, *args, **kwargs)

    async def watch(self, request: Request) -> EventStream:
        """Each sample as it is stored. Raises ValidationError, NotFound, and Gone (410)."""
        if "resolution" in request.query_params:
            message = "Samples are watched, not points over time. Leave it out."
            raise ValidationError({"resolution": [message]})
        after = position_asked(request)
        keep_filters(request)
        await self.filter_queryset(self.get_queryset())  # refuses what the list refuses
        asked = filters.UsedFilter(request.query_params, Container.objects.all())
        chosen = asked.form.cleaned_data if asked.is_valid() else {}
        containers = asked.qs
        if "container_id" in self.kwargs:
            containers = containers.filter(id=self.kwargs["container_id"])
        matches = Matches(predicate_of(containers), chosen.get("since"), chosen.get("until"))
        if after is not None:
            try:
                await check_position(after)
            except Compacted as error:
                raise Gone(error.detail) from error
        key = repr((sorted(request.query_params.lists()), self.kwargs.get("container_id")))
        events = follow(usage_tail, key, None, matches, None, after=after)
        return EventStream(events, heartbeat_seconds=None)

    async def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Store a batch: a JSON array (or one object), or NDJSON. Sending it again does no harm.

        All or nothing: with one wrong sample the answer, 400, says which, and nothing is stored.
        With `?on_error=skip` the right ones are stored, and the answer, 200, lists the others.
        """
        skips = _skips(request)
        is_dry_run(request)  # what can't be read is refused before the body is
        batch = await _read(request.data)
        key = "line" if isinstance(request.data, Lines) else "index"
        if batch.errors and not skips:
            return _refused(batch, key)
        try:
            async with trial(request):
                recorded = await services.record_usage(
                    samples=batch.samples, skip_unknown=skips, only_host=reported_host(request)
                )
        except services.UnknownContainersError as error:
            batch.reject_containers(error.ids)
            return _refused(batch, key)
        batch.reject_containers(recorded.unknown)
        return Response(
            {
                "stored": recorded.stored,
                "duplicates": recorded.duplicates,
                "rejected": _rejected(batch, key),
            },
            status=200 if batch.errors else 201,
        )


async def _fetch_history(request: Request, container_id: int | None) -> History:
    """Raises ValidationError that names the parameter, and NotFound for a container of the URL."""
    query = request.query_params.copy()
    if container_id is not None:
        query["container"] = container_id
    asked = filters.HistoryFilter(query, Container.objects.all())
    if not asked.is_valid():
        raise ValidationError({name: list(errors) for name, errors in asked.errors.items()})
    chosen = asked.form.cleaned_data
    now = timezone.now()
    until = min(chosen["until"] or now, now + MAX_AHEAD)
    since = chosen["since"] or until - timedelta(days=1)
    span = Span.covering(since, until, chosen["resolution"])
    _check_span(span, now)
    ids = [pk async for pk in asked.qs.values_list("id", flat=True)]
    if container_id is not None and not ids:
        raise NotFound(f"There is no container {container_id}.")
    return await fetch_history(container_ids=ids, span=span, now=now)


def _check_span(span: Span, now: datetime) -> None:
    if span.until <= span.since:
        raise ValidationError({"until": ["Must be after since."]})
    if span.points > MAX_POINTS:
        raise ValidationError(
            {
                "resolution": [
                    f"{span.points} points are more than {MAX_POINTS}. Choose a coarser resolution,"
                    " or a shorter span with since and until."
                ]
            }
        )
    kept = timedelta(days=partitions.keep_days())
    if span.step < HOUR and span.since < now - kept - span.step:
        raise ValidationError(
            {
                "since": [
                    f"Samples are kept for {kept.days} days. Choose a later moment, or a resolution"
                    " of 1h or more."
                ]
            }
        )


def _skips(request: Request) -> bool:
    choice = request.query_params.get("on_error", "fail")
    if choice not in ("fail", "skip"):
        raise ValidationError({"on_error": ["Write 'fail' (store all or nothing) or 'skip'."]})
    is_skip: bool = choice == "skip"
    return is_skip


async def _read(data: Any) -> Batch:
    if isinstance(data, dict):
        data = [data]
    if not isinstance(data, Lines | list):
        raise ValidationError(["Expected an array of samples. Put them in [ and ]."])
    return await read_batch(
        data if isinstance(data, Lines) else enumerate(data),
        now=timezone.now(),
        keep=timedelta(days=partitions.keep_days()),
        maximum=MAX_SAMPLES,
    )


def _rejected(batch: Batch, key: str) -> list[dict[str, Any]]:
    return [{key: place, "errors": errors} for place, errors in sorted(batch.errors.items())]


def _refused(batch: Batch, key: str) -> Response:
    detail = (
        f"{len(batch.errors)} of {batch.count} samples are wrong, so none is stored. Correct or"
        " drop them, or repeat the request with ?on_error=skip to store the others."
    )
    return Response({"detail": detail, "errors": _rejected(batch, key), "stored": 0}, status=400)
