"""QuerySet and Manager on asyncpg: Django's own, whose awaitable methods run on the loop.

Each synchronous method refuses to run on the event loop and names its awaitable. Each awaitable
calls its synchronous twin through the bridge, so an override of either is respected.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from functools import wraps
from itertools import islice
from typing import Any, Generic, TypeVar

from django.db import connections
from django.db import models as stock
from django.db.models import manager as stock_managers
from django.db.models import query as stock_queries

from app.db import bridges, bulk_updates, deletions
from app.db.connections import require_default
from app.db.insertions import Writer, writer_of
from app.db.lookups import Lookup
from app.db.plans import Marker, Plan
from app.db.rows import InstanceIterable
from app.db.transactions import reading, run
from app.loops import running_loop

_M = TypeVar("_M", bound=stock.Model)

#: Methods that reach the database and have a twin with `a` before the name.
TWINS = (
    "aggregate", "bulk_create", "bulk_update", "contains", "count", "create", "delete", "earliest",
    "exists", "explain", "first", "get", "get_or_create", "in_bulk", "last", "latest", "update",
    "update_or_create",
)  # fmt: skip

#: What related managers add to them.
RELATED_TWINS = ("add", "clear", "create", "get_or_create", "remove", "set", "update_or_create")


def awaitable(name: str) -> Callable[..., Any]:
    """A coroutine method that runs the method `name` of the same object through the bridge."""

    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        state = getattr(self, "_state", None)  # of an instance, which may have a field `db`
        own = getattr(self, "db", None) if state is None else state.db
        require_default(kwargs.get("using") or own)
        return await run(getattr(self, name), *args, **kwargs)

    method.__name__ = f"a{name}"
    return method


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A synchronous method that refuses to run on the loop and names its awaitable."""
    name = function.__name__

    @wraps(function)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if running_loop() is not None:
            bridges.refuse_on_loop(_described(self, f".{name}()"), f"Write `await ….a{name}()`.")
        return function(self, *args, **kwargs)

    return method


def _described(queryset: Any, what: str) -> str:
    """What was called on what; a relation followed from an instance is called by its name."""
    model = queryset.model.__name__
    instance = queryset._hints.get("instance")
    if instance is None:
        return f"{model} QuerySet{what}"
    names = [
        field.name
        for field in instance._meta.get_fields()
        if (field.many_to_one or field.one_to_one) and field.related_model is queryset.model
    ]
    relation = " or ".join(f"`{name}`" for name in names)
    if not relation:
        return f"{model} QuerySet{what}"
    return (
        f"{type(instance).__name__}.{relation} is not loaded, and to fetch it here (load it "
        "beforehand with select_related() or prefetch_related())"
    )


class AsyncAccess:
    """What QuerySet and RawQuerySet share: iteration."""

    model: Any
    _result_cache: list[Any] | None
    _prefetch_related_lookups: tuple[Any, ...]
    _prefetch_done: bool

    def _fetch_all(self) -> None:
        if self._result_cache is None or (
            self._prefetch_related_lookups and not self._prefetch_done
        ):
            if running_loop() is not None:
                bridges.refuse_on_loop(
                    _described(self, ""), "Write `async for` or `[… async for … in queryset]`."
                )
            super()._fetch_all()  # type: ignore[misc]

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[Any]:
        if self._result_cache is None or (
            self._prefetch_related_lookups and not self._prefetch_done
        ):
            require_default(self.db)  # type: ignore[attr-defined]
            await run(self._fetch_all)
        assert self._result_cache is not None
        for item in self._result_cache:
            yield item


class RawQuerySet(AsyncAccess, stock_queries.RawQuerySet):
    """`Model.objects.raw()`, iterated with `async for`."""

    def iterator(self) -> Any:
        if running_loop() is not None:
            bridges.refuse_on_loop(_described(self, ".iterator()"), "Write `async for`.")
        return super().iterator()

    def using(self, alias: str | None) -> Any:
        queryset = super().using(alias)
        queryset.__class__ = type(self)
        return queryset


class QuerySet(AsyncAccess, stock.QuerySet[_M, _M], Generic[_M]):
    """Django's QuerySet, awaited on asyncpg."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.make_instances_here()

    def make_instances_here(self) -> None:
        """Have `app.db.rows` make the instances, unless somebody else is to."""
        if self._iterable_class is stock_queries.ModelIterable:
            self._iterable_class = InstanceIterable

    make_instances_here.queryset_only = True  # type: ignore[attr-defined]

    @classmethod
    def as_manager(cls) -> Any:
        manager: Any = Manager.from_queryset(cls)()
        manager._built_with_as_manager = True
        return manager

    as_manager.queryset_only = True  # type: ignore[attr-defined]

    # What `app.rest` asks of a QuerySet that has it, to compile the reads of a view once.

    def marker(self, name: str, field: Any = None) -> Marker:
        """Stands for a value that is given at execution (`plans.Marker`)."""
        return Marker(name, field)

    def plan(self, *, limit: Any = None, offset: Any = None) -> Plan:
        """This QuerySet, compiled to be run with other values (`plans.Plan`)."""
        return Plan(self, limit=limit, offset=offset)

    def lookup(self, key: str, *names: str) -> Lookup:
        """These columns by a unique one, of many who ask at once by one statement (`lookups`)."""
        return Lookup(self, key, *names)

    def writer(self) -> Writer | None:
        """Writes new rows of this model without instances; None where somebody takes part in
        saving them (`insertions.Writer`).
        """
        from app.db.models import Model

        return writer_of(self, QuerySet, Model)

    def raw(  # type: ignore[override]
        self, raw_query: str, params: Any = (), translations: Any = None, using: Any = None
    ) -> Any:
        queryset = super().raw(raw_query, params=params, translations=translations, using=using)
        queryset.__class__ = RawQuerySet
        return queryset

    def bulk_update(self, objs: Any, fields: Iterable[str], batch_size: int | None = None) -> int:
        """Django's, by a statement that is made in little time (`bulk_updates`)."""
        objs, fields = tuple(objs), list(fields)
        self._for_write = True
        connection: Any = connections[self.db]
        is_own = type(self).update is QuerySet.update and getattr(connection, "keeps_shapes", False)
        plan = bulk_updates.plan_of(self, fields, connection) if is_own and len(objs) > 1 else None
        rows = None if plan is None else bulk_updates.rows_of(plan, objs, connection)
        size = len(objs) if batch_size is None else batch_size
        if plan is None or rows is None or size <= 0:
            return super().bulk_update(objs, fields, batch_size)
        return plan.run(rows, size, connection)

    def delete(self) -> tuple[int, dict[str, int]]:
        return deletions.delete(self)

    def iterator(self, chunk_size: int | None = None) -> Any:
        if running_loop() is not None:
            bridges.refuse_on_loop(
                _described(self, ".iterator()"), "Write `async for … in ….aiterator()`."
            )
        return super().iterator(chunk_size)

    def aiterator(self, chunk_size: int = 2000) -> AsyncIterator[Any]:
        return _iterate_in_chunks(self, chunk_size)


async def _iterate_in_chunks(queryset: Any, chunk_size: int) -> AsyncIterator[Any]:
    """`QuerySet.aiterator()`: each row once, at most `chunk_size` of them in memory."""
    if chunk_size <= 0:
        raise ValueError("Chunk size must be strictly positive.")
    require_default(queryset.db)
    async with reading() as call:
        found = queryset._iterable_class(queryset, chunked_fetch=True, chunk_size=chunk_size)
        rows = await call(iter, found)
        while chunk := await call(lambda: list(islice(rows, chunk_size))):
            if queryset._prefetch_related_lookups:
                await call(
                    stock.prefetch_related_objects, chunk, *queryset._prefetch_related_lookups
                )
            for item in chunk:
                yield item
            if len(chunk) < chunk_size:
                break


for _name in TWINS:
    setattr(QuerySet, _name, guarded(getattr(QuerySet, _name)))
    setattr(QuerySet, f"a{_name}", awaitable(_name))
for _attribute in ("alters_data", "queryset_only"):
    for _name in TWINS:
        if hasattr(getattr(stock.QuerySet, _name), _attribute):
            for _method in (getattr(QuerySet, _name), getattr(QuerySet, f"a{_name}")):
                setattr(_method, _attribute, getattr(getattr(stock.QuerySet, _name), _attribute))


class RelatedTwins:
    """What a manager is derived from, so that Django's managers of a relation, which it derives
    from that one, run their awaitable methods on the loop.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        code = getattr(cls.__init__, "__code__", None)
        if (code is not None and "core_filters" in code.co_names) or _is_related(cls):
            for name in RELATED_TWINS:
                if name in cls.__dict__ and inspect.isfunction(cls.__dict__[name]):
                    twin = awaitable(name)
                    twin.alters_data = True  # type: ignore[attr-defined]
                    setattr(cls, f"a{name}", twin)


def _is_related(cls: type) -> bool:
    return cls.__name__ in {"RelatedManager", "ManyRelatedManager", "GenericRelatedObjectManager"}


_FromQuerySet: Any = stock_managers.BaseManager.from_queryset(QuerySet)


class Manager(  # a Manager to DRF, too
    RelatedTwins, _FromQuerySet, stock_managers.Manager[_M], Generic[_M]
):
    """Django's Manager, over QuerySets on asyncpg."""


__all__ = ["Manager", "QuerySet", "RawQuerySet", "RelatedTwins"]
