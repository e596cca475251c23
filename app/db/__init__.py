"""Django's ORM on asyncpg: the names that a project uses beside `app.db.models`."""

from collections.abc import Iterable
from typing import Any

from app.db.transactions import atomic, on_commit


def objects(model: Any) -> Any:
    """A QuerySet on asyncpg of any model, a third party's included."""
    from app.db.models import QuerySet

    return QuerySet(model)


async def open() -> None:  # noqa: A001 - reads as `db.open()`
    """Open the pool."""


async def close() -> None:
    """Close the pool."""


def statistics() -> dict[str, Any]:
    return {}


async def fetch(sql: str, *params: Any) -> list[dict[str, Any]]:
    raise NotImplementedError


async def execute(sql: str, *params: Any) -> int:
    raise NotImplementedError


async def copy_in(target: Any, *, columns: list[str], records: Iterable[tuple[Any, ...]]) -> int:
    raise NotImplementedError


__all__ = ["atomic", "close", "copy_in", "execute", "fetch", "objects", "on_commit", "open", "statistics"]
