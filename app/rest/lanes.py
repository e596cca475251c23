"""Reads of a generic view whose QuerySets are compiled once and run many times.

A view that overrides nothing of how its rows are found and shown asks the database the same few
questions for ever, with other values. A `Lane` is such a view's: it holds the compiled question of
each shape (which filters, which ordering), and the function from rows to output.

What it was compiled from is looked at on each request: a class that was patched since gets another,
and a route or an action with filters of its own goes without.

Theory of operation. `app.rest` knows no database. A QuerySet that offers `marker(name, field)` and
`plan(limit=, offset=)` can be compiled with markers where values will stand (`app.db`'s can; any
other goes DRF's way). The view's own paginator is given a `Shelf`, which answers what a paginator
asks of a QuerySet by running plans. Whatever is out of the ordinary (a parameter that a lane does
not know, a value that a field refuses, an object that is not there) raises `OffLaneError` before
anything was answered, and DRF's way gives its own answer or error.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import cached_property
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone
from rest_framework.renderers import JSONRenderer

from app.rest import pagination, shortcuts
from app.rest.column_converters import OddMomentError
from app.rest.compilation import look
from app.rest.narrow_filters import NarrowFilters, OffLaneError, check_value, limit_of
from app.rest.permissions import look_at_objects
from app.rest.records import Record, record_of
from app.rest.renderers import write_page, writes_pages
from app.rest.response import Response
from app.rest.shelves import Shelf
from app.rest.time_zones import current_time_zone

Run = Callable[..., Awaitable[list[Any]]]

MOST_PLANS = 128
_LIBRARIES = ("rest_framework.", "adrf.", "app.rest.")
_HOOKS = (
    "get_queryset", "filter_queryset", "afilter_queryset", "get_serializer",
    "get_serializer_class", "get_serializer_context",
)  # fmt: skip
_GETS_OBJECT = {"app.rest.generics", "app.rest.conditional"}
_LIST_HOOKS = (*_HOOKS, "paginate_queryset", "apaginate_queryset", "paginator")
_ANSWER_HOOKS = ("get_paginated_response", "get_apaginated_response")
_RETRIEVE_HOOKS = (*_HOOKS, "get_object", "aget_object", "check_object_permissions")
_CONFIGURED = ("filter_backends", "lookup_field", "lookup_url_kwarg")
_MAY_BE_CONFIGURED = (
    "filterset_class", "filterset_fields", "search_fields", "ordering_fields", "ordering",
)  # fmt: skip
_OF_ONE_ROUTE = frozenset((*_CONFIGURED, *_MAY_BE_CONFIGURED))
_LOOK: Any = attrgetter(*{*_LIST_HOOKS, *_ANSWER_HOOKS, *_RETRIEVE_HOOKS}, *_CONFIGURED)


_PASSES = "_passes_when"


def passes_when(is_usual: Callable[[Any], bool]) -> Callable[[Any], Any]:
    """Mark a view's own hook that does no more than `super()`'s while `is_usual(view)`: then the
    view keeps its lane.
    """

    def mark(hook: Any) -> Any:
        setattr(hook, _PASSES, is_usual)
        return hook

    return mark


def _is_library(cls: type, name: str) -> bool:
    function = next(one for one in _hooks(cls, name) if not hasattr(one, _PASSES))
    return f"{getattr(function, '__module__', '')}.".startswith(_LIBRARIES)


def _hooks(cls: type, name: str) -> Iterator[Any]:
    """What a class and its bases have under a name, in their order."""
    for base in cls.__mro__:
        attribute = base.__dict__.get(name)
        if attribute is not None:
            yield getattr(attribute, "fget", None) or attribute
    yield None


class Lane:
    """Of one view class, its QuerySet and its serializer class."""

    def __init__(self, view: Any, record: Record, moments: frozenset[int] | None = None) -> None:
        cls = type(view)
        self.queryset, self.record = view.queryset, record
        self.plans: dict[Any, Run] = {}
        self.limits: dict[str, int | None] = {}
        #: The columns that the rows of lists hold as texts: JSON, which `load` reads, and moments.
        self.texts: frozenset[int] = frozenset()
        self.moments = record.moments if moments is None else moments
        self.load: Any = None
        self.model = view.queryset.model
        names = {*_LIST_HOOKS, *_RETRIEVE_HOOKS}
        own = [hook for name in names for hook in _hooks(cls, name) if hasattr(hook, _PASSES)]
        self.conditions = [getattr(hook, _PASSES) for hook in own]
        self.is_ordered = bool(view.queryset.ordered)
        #: Where each column stands in a row.
        self.places = {path: place for place, path in enumerate(record.paths)}
        self.lists = all(_is_library(cls, name) for name in _LIST_HOOKS)
        self.filters = NarrowFilters.of(view) if self.lists else None
        #: Whether nobody is known to look at the data of a list.
        self.writes = all(_is_library(cls, name) for name in _ANSWER_HOOKS)
        lookup = self._unique_lookup(view)
        hooks = (
            all(_is_library(cls, name) for name in _RETRIEVE_HOOKS)
            and cls.get_object.__module__ in _GETS_OBJECT
        )
        filters = NarrowFilters.of(view) if hooks else None
        self.lookup = lookup if filters is not None else None

    def _unique_lookup(self, view: Any) -> Any:
        name = self.model._meta.pk.name if view.lookup_field == "pk" else view.lookup_field
        column = next((one for one in self.model._meta.concrete_fields if one.name == name), None)
        return column if column is not None and column.unique and not column.is_relation else None

    def serves(self, view: Any) -> bool:
        """Whether nothing of this request or its route is other than what the lane was made of."""
        # What as_view() was given for this route alone may be other than the class's.
        if view.queryset is not self.queryset:
            return False
        return not self.conditions or all(is_usual(view) for is_usual in self.conditions)

    def plan(self, shape: Any, build: Callable[[], Run]) -> Run:
        """What runs the question of a shape, for the values of its markers."""
        plan = self.plans.get(shape)
        if plan is None:
            if len(self.plans) >= MOST_PLANS:
                self.plans.clear()
            plan = self.plans[shape] = build()
        return plan

    def limit_of(self, name: str) -> int | None:
        """That of the column that a cursor's comparison is of."""
        limit = self.limits.get(name, -1)
        if limit == -1:
            column = self.model._meta.get_field(name.rpartition("__")[0])
            limit = self.limits[name] = limit_of(column)
        return limit

    def rows_of(self, plan: Any) -> Run:
        """The rows of a list's plan: as the server gives them, if `represent` can take them so."""
        places = getattr(plan, "json_places", None)
        if places is None or not self.record.texts.issuperset(places):
            self.texts = self.moments
            return plan.rows
        self.texts, self.load = self.moments.union(places), plan.load_json
        return plan.fetch

    def selected(self) -> list[Any]:
        """What lists select: moments as PostgreSQL writes them, which takes a tenth of the time
        that reading them takes.
        """
        return [
            Cast(path, TextField()) if place in self.moments else path
            for place, path in enumerate(self.record.paths)
        ]

    def leave_moments_to_the_driver(self, view: Any) -> None:
        """From the next request on: the server writes them otherwise than by default, or one is of
        no year that Python knows.
        """
        lanes = _lanes_of(type(view)) or {}
        for key, (found, lane) in lanes.items():
            if lane is self:
                lanes[key] = found, Lane(view, self.record, frozenset())

    # Retrieve

    async def one(self, view: Any, paths: tuple[str, ...]) -> Any:
        """These columns of the object that the URL names. Raises OffLaneError."""
        column = self.lookup
        if column is None or view.request.META.get("QUERY_STRING"):
            raise OffLaneError
        value = view.kwargs.get(view.lookup_url_kwarg or view.lookup_field)
        check_value(limit_of(column), value)
        plan = self.plan(paths, lambda: self._retrieve_plan(column, paths))
        try:
            rows = await plan(value)
        except (TypeError, ValueError, ValidationError):
            raise OffLaneError from None
        if len(rows) != 1:
            raise OffLaneError
        return rows[0]

    def _retrieve_plan(self, column: Any, paths: tuple[str, ...]) -> Run:
        rows: Run = self.queryset.lookup(column.name, *paths).rows
        return rows

    # List

    async def list_response(self, view: Any) -> Any:
        """The response of `list`. Raises OffLaneError, OddMomentError."""
        paginator = view.paginator
        paginates = getattr(type(paginator), "paginate_queryset", None)
        if self.filters is None or paginates not in _PAGINATES:
            raise OffLaneError
        narrowed = self.filters.read(view.request, view)
        page = await paginator.paginate_queryset(Shelf(self, narrowed), view.request, view=view)
        if page is None:
            raise OffLaneError
        response = self._written(view, paginator, page)
        if response is not None:
            return response
        return await view.get_apaginated_response(self.represent(page))

    def _written(self, view: Any, paginator: Any, page: Sequence[Any]) -> Response | None:
        """The response with its bytes, if it is to be JSON and they are known to be DRF's; its data
        are made for whoever looks at them.
        """
        request, record = view.request, self.record
        renderer, media_type = request.accepted_renderer, request.accepted_media_type
        if not (self.writes and writes_pages(renderer, media_type, {})):
            return None
        head = pagination.page_head(paginator)
        if head is None:
            return None
        try:
            rows = record.written(page, self.texts, self.load)
            if rows is None:
                return None
            body = write_page({**head, "results": rows})
        except Exception:  # noqa: BLE001 - the rows one by one give a result, or DRF's own code
            return None

        zone = current_time_zone()

        def make_data() -> dict[str, Any]:
            with timezone.override(zone):
                return {**head, "results": record.represent(page, self.texts, self.load)}

        return Response.written(body, make_data)

    def represent(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """The output of a list's rows. Raises OffLaneError, OddMomentError."""
        try:
            return self.record.represent(rows, self.texts, self.load)
        except OddMomentError:
            raise
        except Exception:  # noqa: BLE001 - DRF's own code gives its own result or error
            raise OffLaneError from None


_PAGINATES = {
    pagination.PageNumberPagination.paginate_queryset,
    pagination.LimitOffsetPagination.paginate_queryset,
    pagination.CursorPagination.paginate_queryset,
}


LANES = "_lanes"
"""Where a view class keeps its lanes."""


def lane_of(view: Any) -> Lane | None:
    """The lane of a view; None where its reads can't be compiled."""
    if not shortcuts.are_on() or getattr(view, "_shape", None) is not None:
        return None
    queryset, serializer_class = view.queryset, view.serializer_class
    if serializer_class is None or not hasattr(queryset, "plan"):
        return None
    if not isinstance(getattr(view.request, "accepted_renderer", None), JSONRenderer):
        return None  # a renderer for people looks at the serializer
    if not _OF_ONE_ROUTE.isdisjoint(view.__dict__):
        return None
    lanes = _lanes_of(type(view))
    if lanes is None:
        return None
    key, found = (id(queryset), serializer_class), look(serializer_class)
    known = lanes.get(key)
    if known is None or known[0] != found:
        if len(lanes) >= MOST_PLANS:
            lanes.clear()
        lanes[key] = known = found, _make_lane(view)
    lane: Lane | None = known[1]
    return lane if lane is not None and lane.serves(view) else None


def _lanes_of(cls: Any) -> dict[Any, Any] | None:
    """Those of a view class as it is now, each with what its serializer class was like; None for a
    class that lacks what a generic view has.
    """
    try:
        found = _LOOK(cls), [getattr(cls, name, None) for name in _MAY_BE_CONFIGURED]
    except AttributeError:
        return None
    known = cls.__dict__.get(LANES)
    if known is None or known[0] != found:
        known = found, {}
        setattr(cls, LANES, known)
    lanes: dict[Any, Any] = known[1]
    return lanes


def _make_lane(view: Any) -> Lane | None:
    configured = (getattr(type(view), name, None) for name in _OF_ONE_ROUTE)
    if any(isinstance(one, property | cached_property) for one in configured):
        return None  # each request may have others
    query = view.queryset.query
    is_odd = (
        query.distinct or query.combinator or query.is_sliced or query.extra or query.annotations
        or query.select_for_update or query.deferred_loading[0]
    )  # fmt: skip
    queryset: Any = view.queryset
    if is_odd or not isinstance(queryset, QuerySet) or queryset._fields is not None:  # type: ignore[attr-defined]
        return None
    record = record_of(view.serializer_class)
    if record is not None and record.is_computed and queryset._prefetch_related_lookups:  # type: ignore[attr-defined]
        return None  # it may be computed of what was prefetched
    if record is None or view.serializer_class.Meta.model is not view.queryset.model:
        return None
    return Lane(view, record)


async def retrieved(view: Any) -> Any:
    """The response of `retrieve`, or None: DRF's way."""
    lane = lane_of(view)
    if lane is None or lane.lookup is None:
        return None
    columns: tuple[str, ...] | None = ()
    if hasattr(view, "validator_columns"):
        columns = view.validator_columns()
    elif look_at_objects(view):
        return None
    if columns is None:
        return None
    paths = tuple(dict.fromkeys((*lane.record.paths, *columns)))
    try:
        row = await lane.one(view, paths)
    except OffLaneError:
        return None
    try:
        data = lane.record.represent_one(row)
    except Exception:  # noqa: BLE001 - DRF's own code gives its own result or error
        return None
    if columns:
        # What a conditional view looks at of its object.
        view._object = SimpleNamespace(**{name: row[paths.index(name)] for name in columns})
    return Response(data)


async def columns_of(view: Any, columns: tuple[str, ...]) -> Any:
    """Some columns of the object that the URL names, of which no permission looks at it; None: ask
    DRF's way.
    """
    lane = lane_of(view)
    if lane is None or lane.lookup is None:
        return None
    try:
        return await lane.one(view, columns)
    except OffLaneError:
        return None


async def listed(view: Any) -> Any:
    """The response of `list`, or None: DRF's way."""
    lane = lane_of(view)
    if lane is None or lane.filters is None:
        return None
    try:
        return await lane.list_response(view)
    except OffLaneError:
        return None
    except OddMomentError:
        lane.leave_moments_to_the_driver(view)
        return None


__all__ = ["LANES", "Lane", "columns_of", "listed", "passes_when", "retrieved"]
