"""Rows by a unique key, where those that are asked for at the same moment are read together.

    HOST = db.Lookup(Host.objects.all(), "id", "name", "team__name")
    rows = await HOST.rows(7)            # [("brig", "deck")], or []

Theory of operation. A hundred clients that each ask for an object would cost a hundred statements,
and of what such a request costs its statement is most. So one reads at a time: whoever comes while
nobody does lets the loop have one turn, then reads for all who have asked by then, with one
statement, `key = ANY($1)`. Those who come meanwhile wait, and the first of them reads for them.
Nobody is told what was read before they asked. Who is alone goes the plain way.

- In a transaction each reads by itself, as it has to.
- If whoever reads for others is cancelled, or its statement fails, each reads its own.
- If it is not back after `PATIENCE_SECONDS` (a connection that is dead), who comes next reads for
  those who wait.
- A row is handed to those whose key Python holds for equal to the row's. The server may say that
  more are (a collation without case): then the list is empty where a query would have had a row,
  so who cares asks again in another way.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from django.db import models as stock
from django.db.models import BooleanField, F, Func

from app.db.arguments import PLAIN, fetch, preparer
from app.db.connections import current_session, new_wrapper
from app.db.errors import UnreachableError
from app.db.plans import Marker, Plan
from app.loops import running_loop

__all__ = ["Lookup"]

PATIENCE_SECONDS = 0.1

#: Columns whose values come back as they were given.
_KEYS = {kind for kind, made in PLAIN.items() if made in (int, str)} | {stock.UUIDField}
_KEY = "_key_of_row"
_ALONE: Any = object()
_YOUR_TURN: Any = object()

Waiting = list[tuple[Any, "asyncio.Future[Any]"]]


class Lookup:
    """The columns `names` of a QuerySet's rows, by `key`, a column of which no two are equal."""

    def __init__(self, queryset: Any, key: str, *names: str) -> None:
        column = queryset.model._meta.get_field(key)
        queryset = queryset.order_by()
        one = queryset.filter(**{column.name: Marker("key", column)})
        self._alone = Plan(one.values_list(*names))
        self._together = _plan_for_many(queryset, column, names)
        self._prepare = preparer(column, new_wrapper())
        self._waiting: Waiting = []
        self._loop: Any = None
        """In which somebody reads; None while nobody does."""
        self._turn = 0
        self._since = 0.0

    async def rows(self, key: Any) -> list[Any]:
        """The row of that key, as `Plan.rows` gives it, or no row. Raises `django.db` exceptions,
        and what the column raises for a key that it can't take.
        """
        if self._alone.is_empty:
            return []
        if self._together is None or current_session() is not None:
            return await self._alone.rows(key=key)
        argument = self._prepare(key)
        loop: Any = running_loop()
        if self._loop is not loop:
            self._loop, self._waiting, self._since = loop, [], loop.time()
            return await self._read(key, argument, after_a_turn=True)
        if loop.time() - self._since > PATIENCE_SECONDS:
            self._since = loop.time()
            return await self._read(key, argument)
        return await self._wait(key, argument, loop.create_future())

    async def _wait(self, key: Any, argument: Any, future: "asyncio.Future[Any]") -> list[Any]:
        self._waiting.append((argument, future))
        try:
            record = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.result() is _YOUR_TURN:
                self._pass_on()
            raise
        if record is _YOUR_TURN:
            return await self._read(key, argument)
        return await self._given(record, key)

    async def _read(self, key: Any, argument: Any, *, after_a_turn: bool = False) -> list[Any]:
        """The row of one, and of all who wait by then."""
        self._turn = turn = self._turn + 1
        together: Waiting = []
        found: dict[Any, Any] = {}
        otherwise: Any = _ALONE
        """What those get whose row was not found."""
        try:
            if after_a_turn:
                await asyncio.sleep(0)
            together, self._waiting = self._waiting, []
            if not together:
                return await self._alone.rows(key=key)
            keys = {argument, *[one for one, _ in together]}
            found = {record[-1]: record for record in await self._fetch(list(keys))}
            otherwise = None
        except UnreachableError as error:
            otherwise = error  # who asked again would wait again
        except Exception:
            if not together:
                raise
            # Else each asks alone, and is told its own error.
        finally:
            for one, future in together:
                if not future.done():
                    future.set_result(found.get(one, otherwise))
            if self._turn == turn:  # else another has lost patience, and reads
                self._pass_on()
        return await self._given(found.get(argument, otherwise), key)

    def _pass_on(self) -> None:
        """Let the first of those who wait read for all of them."""
        waiting = self._waiting
        while waiting:
            future = waiting.pop(0)[1]
            if not future.done():
                self._since = self._loop.time()
                future.set_result(_YOUR_TURN)
                return
        self._loop = None

    async def _fetch(self, keys: list[Any]) -> Sequence[Any]:
        assert self._together is not None
        assert self._together.sql is not None
        return await fetch(self._together.sql, self._together.arguments({"keys": keys}))

    async def _given(self, record: Any, key: Any) -> list[Any]:
        """What was read for one; converted for each anew, who may change what is in it."""
        if record is None:
            return []
        if record is _ALONE:
            return await self._alone.rows(key=key)
        if isinstance(record, UnreachableError):
            raise record
        assert self._together is not None
        return self._together.converted([record[:-1]])


def _plan_for_many(queryset: Any, column: Any, names: tuple[str, ...]) -> Plan | None:
    """The rows of several keys, each with its key at the end; None for a column of another kind
    than `_KEYS`.
    """
    if type(column) not in _KEYS:
        return None
    is_any = Func(
        F(column.name),
        Marker("keys"),
        template="%(expressions)s)",
        arg_joiner=" = ANY(",
        output_field=BooleanField(),
    )
    many = queryset.filter(is_any).annotate(**{_KEY: F(column.name)})
    return Plan(many.values_list(*names, _KEY))
