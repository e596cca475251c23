"""Server-side cursors: rows in chunks, for results too large to hold."""

from collections.abc import AsyncIterator, Sequence
from itertools import islice
from typing import Any

from django.db.models import prefetch_related_objects

from app.db import bridges
from app.db.codecs import load_rows
from app.db.connections import Cursor, DatabaseWrapper, translated
from app.db.placeholders import bind
from app.db.transactions import atomic, run


class ServerCursor(Cursor):
    """A portal on the server, read a chunk at a time. It lives in a transaction."""

    def __init__(self, db: DatabaseWrapper) -> None:
        super().__init__(db)
        self._portal: Any = None

    def _execute(self, sql: str, params: Sequence[Any] | None) -> None:
        assert self.db.connection is not None
        statement, arguments = bind(sql, params)
        with translated():
            prepared = bridges.wait(self.db.connection.prepare(statement))
            self._statement, self._loaders = prepared.raw, prepared.loaders
            self._portal = bridges.wait(_open(self._statement, arguments))

    def fetchmany(self, size: int | None = None) -> list[Any]:
        with translated():
            rows: list[Any] = bridges.wait(self._portal.fetch(size or self.arraysize))
        return load_rows(rows, self._loaders) if self._loaders else rows

    def fetchone(self) -> Any:
        return next(iter(self.fetchmany(1)), None)


async def _open(statement: Any, arguments: list[Any]) -> Any:
    return await statement.cursor(*arguments)


async def iterate(queryset: Any, chunk_size: int) -> AsyncIterator[Any]:
    """`QuerySet.aiterator()`: each row once, at most `chunk_size` of them in memory."""
    if chunk_size <= 0:
        raise ValueError("Chunk size must be strictly positive.")
    async with atomic(savepoint=False):
        rows = iter(queryset._iterable_class(queryset, chunked_fetch=True, chunk_size=chunk_size))
        while chunk := await run(lambda: list(islice(rows, chunk_size))):
            if queryset._prefetch_related_lookups:
                await run(prefetch_related_objects, chunk, *queryset._prefetch_related_lookups)
            for item in chunk:
                yield item
            if len(chunk) < chunk_size:
                break


__all__ = ["ServerCursor", "iterate"]
