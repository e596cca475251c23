"""Reads of a generic view whose QuerySets are compiled once and run many times.

A view that overrides nothing of how its rows are found and shown asks the database the same few
questions for ever, with other values. A `Lane` is such a view's: it holds the compiled question of
each shape (which filters, which ordering), and the function from rows to output.

Theory of operation. `app.rest` knows no database. A QuerySet that offers `marker(name, field)` and
`plan(limit=, offset=)` can be compiled with markers where values will stand (`app.db`'s can; any
other goes DRF's way). The view's own paginator is given a `Shelf`, which answers what a paginator
asks of a QuerySet by running plans. Whatever is out of the ordinary (a parameter that a lane does
not know, a value that a field refuses, an object that is not there) raises `OffLaneError` before
anything was answered, and DRF's way gives its own answer or error.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer

from app.rest import pagination, shortcuts
from app.rest.narrow_filters import NarrowFilters, OffLaneError, check_value
from app.rest.records import Record, record_of
from app.rest.response import Response

MOST_PLANS = 128
_LIBRARIES = ("rest_framework.", "adrf.", "app.rest.")
_HOOKS = (
    "get_queryset", "filter_queryset", "afilter_queryset", "get_serializer",
    "get_serializer_class", "get_serializer_context",
)  # fmt: skip
_GETS_OBJECT = {"app.rest.generics", "app.rest.conditional"}
_LIST_HOOKS = (*_HOOKS, "paginate_queryset", "apaginate_queryset", "paginator")
_RETRIEVE_HOOKS = (*_HOOKS, "get_object", "aget_object", "check_object_permissions")


def _is_library(cls: type, name: str) -> bool:
    attribute = getattr(cls, name, None)
    function = getattr(attribute, "fget", None) or attribute
    return f"{getattr(function, '__module__', '')}.".startswith(_LIBRARIES)


class Lane:
    """Of one view class, its QuerySet and its serializer class."""

    def __init__(self, view: Any, record: Record) -> None:
        cls = type(view)
        self.queryset, self.record = view.queryset, record
        self.plans: dict[Any, Any] = {}
        self.model = view.queryset.model
        self.lists = all(_is_library(cls, name) for name in _LIST_HOOKS)
        self.filters = NarrowFilters.of(view) if self.lists else None
        lookup = self._unique_lookup(view)
        hooks = (
            all(_is_library(cls, name) for name in _RETRIEVE_HOOKS)
            and cls.get_object.__module__ in _GETS_OBJECT
        )
        asks = any(
            getattr(one, "has_object_permission", None) is not BasePermission.has_object_permission
            for one in view.permission_classes
        )
        filters = NarrowFilters.of(view) if hooks and not asks else None
        self.lookup = lookup if filters is not None else None

    def _unique_lookup(self, view: Any) -> Any:
        name = self.model._meta.pk.name if view.lookup_field == "pk" else view.lookup_field
        column = next((one for one in self.model._meta.concrete_fields if one.name == name), None)
        return column if column is not None and column.unique and not column.is_relation else None

    def plan(self, shape: Any, build: Callable[[], Any]) -> Any:
        plan = self.plans.get(shape)
        if plan is None:
            if len(self.plans) >= MOST_PLANS:
                self.plans.clear()
            plan = self.plans[shape] = build()
        return plan

    # Retrieve

    async def one(self, view: Any, paths: tuple[str, ...]) -> Any:
        """These columns of the object that the URL names. Raises OffLaneError."""
        column = self.lookup
        if column is None or view.request.META.get("QUERY_STRING"):
            raise OffLaneError
        value = view.kwargs.get(view.lookup_url_kwarg or view.lookup_field)
        check_value(column, value)
        plan = self.plan(paths, lambda: self._retrieve_plan(column, paths))
        try:
            rows = await plan.rows(key=value)
        except (TypeError, ValueError, ValidationError):
            raise OffLaneError from None
        if len(rows) != 1:
            raise OffLaneError
        return rows[0]

    def _retrieve_plan(self, column: Any, paths: tuple[str, ...]) -> Any:
        queryset = self.queryset.order_by().values_list(*paths)
        return queryset.filter(**{column.name: self.queryset.marker("key", column)}).plan()

    # List

    async def list_response(self, view: Any) -> Any:
        """The response of `list`. Raises OffLaneError."""
        paginator = view.paginator
        paginates = getattr(type(paginator), "paginate_queryset", None)
        if self.filters is None or paginates not in _PAGINATES:
            raise OffLaneError
        narrowed = self.filters.read(view.request, view)
        page = await paginator.paginate_queryset(Shelf(self, narrowed), view.request, view=view)
        if page is None:
            raise OffLaneError
        return await view.get_apaginated_response(self.represent(page))

    def represent(self, rows: list[Any]) -> list[dict[str, Any]]:
        try:
            return self.record.represent(rows)
        except Exception:  # noqa: BLE001 - DRF's own code gives its own result or error
            raise OffLaneError from None


_PAGINATES = {
    pagination.PageNumberPagination.paginate_queryset,
    pagination.LimitOffsetPagination.paginate_queryset,
    pagination.CursorPagination.paginate_queryset,
}


class Shelf:
    """What a paginator takes for the view's filtered QuerySet. Never changed: each step makes
    another.
    """

    def __init__(self, lane: Lane, narrowed: Any, cursor: tuple[tuple[str, Any], ...] = ()) -> None:
        self.lane = lane
        self.model = lane.model
        self.lookups, self.values, self.ordering = narrowed
        self.cursor = cursor

    @property
    def query(self) -> Any:
        return self.lane.queryset.query

    @property
    def ordered(self) -> bool:
        return bool(self.ordering) or self.lane.queryset.ordered

    def order_by(self, *names: str) -> "Shelf":
        return Shelf(self.lane, (self.lookups, self.values, names), self.cursor)

    def filter(self, **kwargs: Any) -> "Shelf":
        """Beyond a cursor's position; the value is text, as the cursor holds it."""
        if any(not isinstance(value, str) for value in kwargs.values()):
            raise OffLaneError
        narrowed = self.lookups, self.values, self.ordering
        return Shelf(self.lane, narrowed, (*self.cursor, *kwargs.items()))

    def position_of(self, row: Any, name: str) -> Any:
        """The value of a column in a row, for a cursor."""
        try:
            return row[self.lane.record.paths.index(name)]
        except ValueError:
            raise OffLaneError from None

    async def acount(self) -> int:
        plan = self.lane.plan(("count", self.lookups), self._count_plan)
        rows = await plan.rows(**self.values)
        return int(rows[0][0])

    def __getitem__(self, part: slice) -> "Slice":
        return Slice(self, part.start or 0, part.stop)

    async def rows(self, start: int, stop: int) -> list[Any]:
        names = tuple(name for name, _ in self.cursor)
        shape = (self.lookups, self.ordering, names)
        plan = self.lane.plan(shape, lambda: self._rows_plan(names))
        values = dict(self.values)
        for place, (name, value) in enumerate(self.cursor):
            check_value(self.model._meta.get_field(name.rpartition("__")[0]), value)
            values[f"c{place}"] = value
        try:
            rows: list[Any] = await plan.rows(**values, limit=max(stop - start, 0), offset=start)
        except (TypeError, ValueError, ValidationError):
            raise OffLaneError from None
        return rows

    # Compiling

    def _filtered(self) -> Any:
        queryset = self.lane.queryset.all()
        for name, lookup, column in self.lookups:
            queryset = queryset.filter(**{lookup: queryset.marker(name, column)})
        return queryset

    def _rows_plan(self, names: tuple[str, ...]) -> Any:
        queryset = self._filtered()
        if self.ordering:
            queryset = queryset.order_by(*self.ordering)
        for place, name in enumerate(names):
            path, _, comparison = name.rpartition("__")
            column = self.model._meta.get_field(path)
            if comparison not in ("lt", "gt") or column.is_relation:
                raise OffLaneError
            queryset = queryset.filter(**{name: queryset.marker(f"c{place}", column)})
        marker = self.lane.queryset.marker
        queryset = queryset.values_list(*self.lane.record.paths)
        return queryset.plan(limit=marker("limit"), offset=marker("offset"))

    def _count_plan(self) -> Any:
        return CountPlan(self._filtered())


class CountPlan:
    """`QuerySet.count()` as a plan."""

    def __init__(self, queryset: Any) -> None:
        from django.db.models import Count

        counted = queryset.order_by().values(_=Count("*")).values_list("_")
        counted.query.group_by = None
        self.rows = counted.plan().rows


class Slice:
    """A part of a shelf, fetched when it is iterated."""

    def __init__(self, shelf: Shelf, start: int, stop: int) -> None:
        self.shelf, self.start, self.stop = shelf, start, stop

    async def afetch(self) -> list[Any]:
        return await self.shelf.rows(self.start, self.stop)


_lanes: WeakKeyDictionary[type, dict[Any, Lane | None]] = WeakKeyDictionary()


def lane_of(view: Any) -> Lane | None:
    """The lane of a view; None where its reads can't be compiled."""
    if not shortcuts.are_on() or getattr(view, "_shape", None) is not None:
        return None
    queryset, serializer_class = view.queryset, view.serializer_class
    if serializer_class is None or not hasattr(queryset, "plan"):
        return None
    if not isinstance(getattr(view.request, "accepted_renderer", None), JSONRenderer):
        return None  # a renderer for people looks at the serializer
    lanes = _lanes.setdefault(type(view), {})
    key = (id(queryset), serializer_class)
    if key not in lanes:
        if len(lanes) >= MOST_PLANS:
            lanes.clear()
        lanes[key] = _make_lane(view)
    lane = lanes[key]
    # What as_view() was given for this route alone may be other than the class's.
    return lane if lane is not None and lane.queryset is queryset else None


def _make_lane(view: Any) -> Lane | None:
    query = view.queryset.query
    is_odd = (
        query.distinct or query.combinator or query.is_sliced or query.extra or query.annotations
        or query.select_for_update or query.deferred_loading[0]
    )  # fmt: skip
    queryset: Any = view.queryset
    if is_odd or not isinstance(queryset, QuerySet) or queryset._fields is not None:  # type: ignore[attr-defined]
        return None
    record = record_of(view.serializer_class)
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
    if columns is None:
        return None
    paths = tuple(dict.fromkeys((*lane.record.paths, *columns)))
    try:
        row = await lane.one(view, paths)
        data = lane.represent([row])[0]
    except OffLaneError:
        return None
    if columns:
        # What a conditional view looks at of its object.
        view._object = SimpleNamespace(**{name: row[paths.index(name)] for name in columns})
    return Response(data)


async def columns_of(view: Any, columns: tuple[str, ...]) -> Any:
    """Some columns of the object that the URL names; None: ask DRF's way."""
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


__all__ = ["Lane", "columns_of", "listed", "retrieved"]
