"""What a lane gives a paginator for the view's filtered QuerySet: it answers what a paginator asks
of one (a count, a slice, an ordering, rows beyond a position) by running the lane's plans.
"""

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Count, Subquery

from app.rest.column_converters import python_text
from app.rest.narrow_filters import OffLaneError, check_value


class Shelf:
    """What a paginator takes for the view's filtered QuerySet. Never changed: each step makes
    another.
    """

    expected: tuple[int, int] | None = None
    found: list[Any]

    def __init__(self, lane: Any, narrowed: Any, cursor: tuple[tuple[str, Any], ...] = ()) -> None:
        self.lane = lane
        self.comparisons, self.values, self.ordering = narrowed
        self.cursor = cursor

    @property
    def model(self) -> Any:
        return self.lane.model

    @property
    def query(self) -> Any:
        return self.lane.queryset.query

    @property
    def known_ordering(self) -> Any:
        """What the view's filter gives to order by; None if it has no such filter."""
        filters = self.lane.filters
        return None if filters is None or filters.ordering is None else self.ordering

    @property
    def ordered(self) -> bool:
        return bool(self.ordering) or self.lane.is_ordered

    def order_by(self, *names: str) -> "Shelf":
        return Shelf(self.lane, (self.comparisons, self.values, names), self.cursor)

    def filter(self, **kwargs: Any) -> "Shelf":
        """Beyond a cursor's position; the value is text, as the cursor holds it."""
        for value in kwargs.values():
            if not isinstance(value, str):
                raise OffLaneError
        narrowed = self.comparisons, self.values, self.ordering
        return Shelf(self.lane, narrowed, (*self.cursor, *kwargs.items()))

    def look_ahead(self, start: int, stop: int) -> None:
        """These rows will be asked for after `acount()`, which may fetch them in the same query."""
        if stop < _MOST_ROWS:
            self.expected = start, stop

    def position_of(self, row: Any, name: str) -> Any:
        """The value of a column in a row, for a cursor. Raises OffLaneError, OddMomentError."""
        lane, place = self.lane, self.lane.places.get(name)
        if place is None:
            raise OffLaneError
        value = row[place]
        if place not in lane.texts or value is None:
            return value
        if place not in lane.moments:
            raise OffLaneError
        return python_text(value)

    async def acount(self) -> int:
        if self.expected is not None and self.expected[0] >= 0:
            start, stop = self.expected
            shape = ("page", self.comparisons, self.ordering)
            plan = self.lane.plan(shape, lambda: self._rows_plan((), with_count=True))
            self.found = await self._run(plan, self.values, start, stop)
            if self.found:
                return int(self.found[0][-1])
            if start == 0 < stop:
                return 0
            self.expected = None  # beyond the end there is no row to be counted with
        plan = self.lane.plan(("count", self.comparisons), self._count_plan)
        rows = await plan(**self.values)
        return int(rows[0][0])

    def __getitem__(self, part: slice) -> "Slice":
        return Slice(self, part.start or 0, part.stop)

    async def rows(self, start: int, stop: int) -> list[Any]:
        if self.expected is not None and start == self.expected[0] and stop <= self.expected[1]:
            return self.found[: stop - start]
        names = tuple([name for name, _ in self.cursor])
        shape = (self.comparisons, self.ordering, names)
        plan = self.lane.plan(shape, lambda: self._rows_plan(names))
        values = self.values
        if names:
            values = dict(values)
            for place, (name, value) in enumerate(self.cursor):
                check_value(self.lane.limit_of(name), value)
                values[f"c{place}"] = value
        return await self._run(plan, values, start, stop)

    async def _run(self, plan: Any, values: dict[str, Any], start: int, stop: int) -> list[Any]:
        try:
            rows: list[Any] = await plan(**values, limit=max(stop - start, 0), offset=start)
        except (TypeError, ValueError, ValidationError):
            raise OffLaneError from None
        return rows

    # Compiling

    def _filtered(self) -> Any:
        queryset = self.lane.queryset.all()
        for one in self.comparisons:
            queryset = queryset.filter(**{one.lookup: queryset.marker(one.marker, one.column)})
        return queryset

    def _rows_plan(self, names: tuple[str, ...], *, with_count: bool = False) -> Any:
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
        paths = self.lane.selected()
        if with_count:
            queryset = queryset.annotate(**{_COUNT: CountOfAll(_counted(self._filtered()))})
            paths.append(_COUNT)
        queryset = queryset.values_list(*paths)
        return self.lane.rows_of(queryset.plan(limit=marker("limit"), offset=marker("offset")))

    def _count_plan(self) -> Any:
        """`QuerySet.count()`."""
        return _counted(self._filtered()).plan().rows


def _counted(queryset: Any) -> Any:
    counted = queryset.order_by().values(_=Count("*")).values_list("_")
    counted.query.group_by = None
    return counted


_COUNT = "_count_of_all"
_MOST_ROWS = 2**63  # that LIMIT takes


class CountOfAll(Subquery):
    """A count, which is a number as it comes: Django's converters would turn each into an int."""

    def get_db_converters(self, connection: Any) -> list[Any]:
        return []


class Slice:
    """A part of a shelf, fetched when it is iterated."""

    def __init__(self, shelf: Shelf, start: int, stop: int) -> None:
        self.shelf, self.start, self.stop = shelf, start, stop

    async def afetch(self) -> list[Any]:
        return await self.shelf.rows(self.start, self.stop)


__all__ = ["Shelf"]
