"""Plans: a QuerySet compiled once per shape, executed many times with other values.

Building and compiling a QuerySet costs more than running it. A plan does it once:

    HOST = db.Plan(Host.objects.filter(pk=db.Marker("id")).select_related("team"))
    host = await HOST.instance(id=7)
    row = await HOST.fetchrow(id=7)      # an asyncpg record, for output

A marker stands where a value will; Django's compiler carries it through as a parameter. `limit` and
`offset` of `Plan` take markers too, so that all pages share one statement.

A `PlanCache` keeps the plans of shapes that are only known at run time (a view's filters and
ordering), the most recently used ones.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import Expression

from app.db import codecs
from app.db.arguments import fetch, preparer
from app.db.connections import current_session, new_wrapper, require_default
from app.db.placeholders import bind
from app.db.rows import Builder, json_places, make_builder, make_converter
from app.db.transactions import run


class Marker(Expression):
    """A value to be given at execution. `field` prepares it as a filter on that field would."""

    def __init__(self, name: str, field: Any = None) -> None:
        super().__init__(output_field=field)
        self.name = name
        self.prepared_by = field

    def __repr__(self) -> str:
        return f"Marker({self.name!r})"

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]

    def get_source_expressions(self) -> list[Any]:
        return []


def _describe_marker(marker: Marker) -> Any:
    raise TypeError(
        f"The marker {marker.name!r} was left without a value: run the QuerySet through a Plan, "
        f"and give `{marker.name}=`."
    )


codecs.RULES[Marker] = _describe_marker


class _Slot:
    """Where the argument of a marker goes, while a statement is bound."""

    def __init__(self, marker: Marker) -> None:
        self.marker = marker


codecs.RULES[_Slot] = lambda slot: ("", slot)


class Plan:
    """A compiled QuerySet. `limit` and `offset` are numbers or markers."""

    def __init__(
        self,
        queryset: Any,
        *,
        limit: int | Marker | None = None,
        offset: int | Marker | None = None,
    ) -> None:
        require_default(queryset.db)
        wrapper = new_wrapper()
        self.model = queryset.model
        self._compiler = queryset.query.get_compiler(connection=wrapper)
        self._queryset = queryset
        self.sql: str | None = None
        self._arguments: list[Any] = []
        self._slots: list[tuple[int, Marker]] = []
        self.is_empty = False
        try:
            sql, params = self._compiler.as_sql()
        except EmptyResultSet:
            self.is_empty = True
        else:
            self._bind(sql, list(params), limit, offset)
        self._builder: Builder = make_builder(queryset, self._compiler)
        self._convert = make_converter(self._compiler)
        #: Where `fetch()` gives JSON as its text, for `load_json`, and else what `rows()` gives;
        #: None where it gives other values otherwise.
        self.json_places = json_places(self._compiler)
        self.markers = frozenset(marker.name for _, marker in self._slots)
        self._prepare = [(n, m.name, preparer(m.prepared_by, wrapper)) for n, m in self._slots]

    def _bind(self, sql: str, params: list[Any], limit: Any, offset: Any) -> None:
        for word, value in (("LIMIT", limit), ("OFFSET", offset)):
            if value is not None:
                sql += f" {word} %s"
                params.append(value)
        slots = [_Slot(value) if isinstance(value, Marker) else value for value in params]
        self.sql, self._arguments = bind(sql, slots)
        for number, argument in enumerate(self._arguments):
            if isinstance(argument, _Slot):
                self._slots.append((number, argument.marker))
                self._arguments[number] = None

    async def fetch(self, **values: Any) -> Sequence[Any]:
        """The rows as records (tuples with names)."""
        return await self._rows(values)

    async def fetchrow(self, **values: Any) -> Any:
        """The first row, or None."""
        rows = await self._rows(values)
        return rows[0] if rows else None

    async def rows(self, **values: Any) -> list[Any]:
        """The rows with each value as Django would give it, by position; no instances."""
        return self.converted(await self._rows(values))

    def converted(self, records: Sequence[Any]) -> list[Any]:
        """What `rows()` makes of what `fetch()` gives."""
        return list(self._convert(records))

    load_json = staticmethod(codecs.load_json_column)

    async def instances(self, **values: Any) -> list[Any]:
        """What iterating the QuerySet gives: instances, dicts or tuples."""
        items = self._builder(await self._rows(values))
        lookups = self._queryset._prefetch_related_lookups
        if lookups and items:
            from django.db.models import prefetch_related_objects

            await run(prefetch_related_objects, items, *lookups)
        return items

    async def instance(self, **values: Any) -> Any:
        """The first of `instances()`, or None."""
        items = await self.instances(**values)
        return items[0] if items else None

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """The statement's arguments. Raises TypeError unless each marker has a value."""
        if len(values) != len(self.markers) or not self.markers.issuperset(values):
            missing, unknown = self.markers - values.keys(), values.keys() - self.markers
            what = f"no value for {sorted(missing)}" if missing else f"no marker {sorted(unknown)}"
            raise TypeError(f"The plan has {what}; its markers are {sorted(self.markers)}.")
        arguments = self._arguments.copy()
        for number, name, prepare in self._prepare:
            arguments[number] = prepare(values[name])
        return arguments

    async def _rows(self, values: dict[str, Any]) -> list[Any]:
        arguments = self.arguments(values)
        if self.is_empty:
            return []
        assert self.sql is not None
        session = current_session()
        if session is not None:
            return await run(self._run_in, session, arguments)
        return await fetch(self.sql, arguments)

    def _run_in(self, session: Any, arguments: list[Any]) -> list[Any]:
        rows: list[Any] = session.perform_bound(self.sql, arguments)
        return rows


class PlanCache:
    """Plans by shape; the least recently used one goes when there are more than `size`."""

    def __init__(self, size: int = 256) -> None:
        self.size = size
        self.hits = self.misses = 0
        self._plans: OrderedDict[Hashable, Plan] = OrderedDict()

    def __len__(self) -> int:
        return len(self._plans)

    def get(self, shape: Hashable, build: Callable[[], Plan]) -> Plan:
        """The plan of `shape`, built on its first use. A shape names everything but the values."""
        plan = self._plans.get(shape)
        if plan is not None:
            self.hits += 1
            self._plans.move_to_end(shape)
            return plan
        self.misses += 1
        plan = self._plans[shape] = build()
        if len(self._plans) > self.size:
            self._plans.popitem(last=False)
        return plan


__all__ = ["Marker", "Plan", "PlanCache"]
