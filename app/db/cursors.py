"""DB-API cursors over asyncpg, as much of them as Django uses.

They wait through the bridge, so they work inside `bridges.run()` only.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import InterfaceError, NotSupportedError

from app.db import bridges, logs
from app.db.codecs import load_rows
from app.db.errors import translated
from app.db.placeholders import bind

if TYPE_CHECKING:
    from app.db.connections import DatabaseWrapper


class Column(NamedTuple):
    """DB-API's description of a column; PostgreSQL's extended protocol gives no sizes."""

    name: str
    type_code: int
    display_size: None = None
    internal_size: None = None
    precision: None = None
    scale: None = None
    null_ok: None = None


class Cursor:
    """DB-API's cursor, as much of it as Django uses. Each call that waits does so through the
    bridge.
    """

    arraysize = 100
    lastrowid = None

    def __init__(self, db: "DatabaseWrapper") -> None:
        self.db = db
        self.rowcount = -1
        self._rows: Iterator[Any] = iter(())
        self._statement: Any = None
        self._is_closed = False

    def __enter__(self) -> "Cursor":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def close(self) -> None:
        self._is_closed = True

    @property
    def description(self) -> list[Column] | None:
        """Each column's name and type; None when the statement returns no rows."""
        if self._statement is None or not (attributes := self._statement.get_attributes()):
            return None
        return [Column(attribute.name, attribute.type.oid) for attribute in attributes]

    def execute(self, sql: str, params: Sequence[Any] | None = None) -> None:
        if self.db.execute_wrappers:
            run: Any = lambda sql, params, many, context: self._execute(sql, params)  # noqa: E731
            for wrapper in reversed(self.db.execute_wrappers):
                run = _wrapped(wrapper, run)
            run(sql, params, False, {"connection": self.db, "cursor": self})
        else:
            self._execute(sql, params)

    def executemany(self, sql: str, param_list: Sequence[Sequence[Any]]) -> None:
        total = 0
        for params in param_list:
            self.execute(sql, params)
            total += max(self.rowcount, 0)
        self.rowcount = total

    def _execute(self, sql: str, params: Sequence[Any] | None) -> None:
        db = self.db
        if self._is_closed:
            raise InterfaceError("the cursor is closed")
        if db.needs_rollback:
            db.validate_no_broken_transaction()
        result = db.perform(str(sql), params)
        self._statement = result.statement
        self._rows = iter(result.rows)
        count = result.status.rpartition(" ")[2]
        self.rowcount = int(count) if count.isdigit() else -1

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        return list(islice(self._rows, size or self.arraysize))

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def callproc(self, name: str, params: Any = None, kparams: Any = None) -> Any:
        if kparams is not None:
            raise NotSupportedError("Keyword parameters for callproc are not supported.")
        marks = ", ".join(["%s"] * len(params or ()))
        function = self.db.ops.quote_name(name)
        self.execute(f"SELECT * FROM {function}({marks})", params or ())  # noqa: S608 - quoted
        return params


def _wrapped(wrapper: Any, run: Any) -> Any:
    return lambda sql, params, many, context: wrapper(run, sql, params, many, context)


class ServerCursor(Cursor):
    """A portal on the server, read a chunk at a time. It lives in a transaction."""

    def __init__(self, db: "DatabaseWrapper") -> None:
        super().__init__(db)
        self._portal: Any = None
        self._sql = ""

    def _execute(self, sql: str, params: Sequence[Any] | None) -> None:
        assert self.db.connection is not None
        self._sql = sql
        with self.db.observed(sql, params):
            statement, arguments = bind(sql, params)
            prepared = bridges.wait(self.db.connection.prepare(statement))
            self._statement, self._loaders = prepared.raw, prepared.loaders
            self._portal = bridges.wait(_open(self._statement, arguments))

    def fetchmany(self, size: int | None = None) -> list[Any]:
        start = time.monotonic()
        with translated():
            rows: list[Any] = bridges.wait(self._portal.fetch(size or self.arraysize))
        logs.note_if_slow(self._sql, time.monotonic() - start)
        return load_rows(rows, self._loaders) if self._loaders else rows

    def fetchone(self) -> Any:
        return next(iter(self.fetchmany(1)), None)


async def _open(statement: Any, arguments: list[Any]) -> Any:
    return await statement.cursor(*arguments)


__all__ = ["Cursor", "ServerCursor"]
