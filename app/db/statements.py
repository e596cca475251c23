"""SQL that the ORM cannot say, in the current transaction if there is one."""

import re
from collections.abc import Sequence
from typing import Any

from app.db.connections import current_wrapper
from app.db.cursors import Cursor
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
    cursor: Cursor = current_wrapper().cursor()
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


__all__ = ["execute", "fetch"]
