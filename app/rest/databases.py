"""What app.rest asks of a database beyond QuerySets: a transaction, and SQL in it.

`settings.REQUEST_DATABASE` names a module (or an object) that has the three of `Database`: `app.db`
for this project. Without it Django's own connection does, in the request's thread, where stock
Django's async ORM runs too.
"""

import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string


class Database(Protocol):
    def atomic(self) -> AbstractAsyncContextManager[Any]:
        """All that is written inside is committed, or none."""

    async def fetch(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        """The rows of `sql`, whose placeholders are `%s`."""

    async def execute(self, sql: str, *params: Any) -> int:
        """Run `sql`; the number of rows that it touched."""


class StockDatabase:
    """Django's connection of the request's thread."""

    @contextlib.asynccontextmanager
    async def atomic(self) -> AsyncIterator[None]:
        block = transaction.atomic()
        await sync_to_async(block.__enter__)()
        try:
            yield
        except BaseException:
            await sync_to_async(block.__exit__)(*sys.exc_info())
            raise
        await sync_to_async(block.__exit__)(None, None, None)

    async def fetch(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        return await sync_to_async(_fetch)(sql, params)

    async def execute(self, sql: str, *params: Any) -> int:
        return await sync_to_async(_execute)(sql, params)


def _fetch(sql: str, params: tuple[Any, ...]) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _execute(sql: str, params: tuple[Any, ...]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return int(cursor.rowcount)


def current_database() -> Database:
    """The one that the settings name."""
    return _load(getattr(settings, "REQUEST_DATABASE", None))


@lru_cache(maxsize=8)
def _load(name: str | None) -> Any:
    if name is None:
        return StockDatabase()
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return import_string(name)
