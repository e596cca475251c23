"""SQL that the ORM cannot say, and COPY, in the current transaction if there is one."""

import re
from collections.abc import AsyncIterable, Iterable, Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from app.db import bridges
from app.db.connections import DatabaseWrapper
from app.db.cursors import Cursor
from app.db.errors import translated
from app.db.transactions import run


async def fetch(sql: str, *params: Any) -> list[dict[str, Any]]:
    """The rows of `sql` as dicts. Placeholders are `$1` (PostgreSQL's) or `%s` (Django's)."""
    return await run(_fetch, sql, params)


async def execute(sql: str, *params: Any) -> int:
    """Run `sql`; the number of rows that it touched, -1 where that has no meaning."""
    return await run(_execute, sql, params)


def _fetch(sql: str, params: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dict(row.items()) for row in _cursor(sql, params).fetchall()]


def _execute(sql: str, params: tuple[Any, ...]) -> int:
    return _cursor(sql, params).rowcount


def _cursor(sql: str, params: tuple[Any, ...]) -> Cursor:
    cursor: Cursor = _wrapper().cursor()
    cursor.execute(*_django_style(sql, params))
    return cursor


def _django_style(sql: str, params: tuple[Any, ...]) -> tuple[str, Sequence[Any] | None]:
    """`$n` is turned into `%s`, with the parameters in the order of their use."""
    if not params:
        return sql, None
    if "$1" not in sql:
        return sql, params
    used: list[Any] = []

    def replace(match: re.Match[str]) -> str:
        used.append(params[int(match.group(1)) - 1])
        return "%s"

    return re.sub(r"\$(\d+)", replace, sql.replace("%", "%%")), used


def _wrapper() -> DatabaseWrapper:
    """The one that `run()` has put in place of Django's."""
    return connections[DEFAULT_DB_ALIAS]  # type: ignore[return-value]


async def copy_in(
    target: Any,
    *,
    columns: Sequence[str],
    records: Iterable[Sequence[Any]] | AsyncIterable[Sequence[Any]],
) -> int:
    """COPY `records` into a model's table (or the named one); the number of rows. All are stored,
    or none.
    """
    return await run(_copy_in, target, columns, records)


def _copy_in(target: Any, columns: Sequence[str], records: Any) -> int:
    wrapper = _wrapper()
    wrapper.ensure_connection()
    assert wrapper.connection is not None
    if isinstance(target, str):
        schema, _, table = target.rpartition(".")
        names = list(columns)
    else:
        schema, table = "", target._meta.db_table
        names = [target._meta.get_field(name).column for name in columns]
    with translated():
        status = bridges.wait(
            wrapper.connection.raw.copy_records_to_table(
                table, schema_name=schema or None, columns=names, records=records
            )
        )
    return int(status.rpartition(" ")[2])


__all__ = ["copy_in", "execute", "fetch"]
