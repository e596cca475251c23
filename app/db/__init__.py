"""Django's ORM on asyncpg: the names that a project uses beside `app.db.models`."""

from typing import Any

from app.db.connections import close_pool as close
from app.db.connections import existing_pool, let_go, open_pool
from app.db.copying import copy_in, copy_out
from app.db.lookups import Lookup
from app.db.notifications import Notification, listen, notify
from app.db.plans import Marker, Plan, PlanCache
from app.db.querysets import QuerySet
from app.db.rehearsals import rehearsal
from app.db.statements import execute, fetch
from app.db.transactions import atomic, on_commit, retry, run


def objects(model: Any) -> Any:
    """A QuerySet on asyncpg of any model, a third party's included."""
    return QuerySet(model)


async def open() -> None:  # noqa: A001 - reads as `db.open()`
    """Make the pool of this loop. Connections are opened when they are first needed."""
    open_pool()


def statistics() -> dict[str, int]:
    """Numbers of the pool, for metrics; empty while there is none."""
    pool = existing_pool()
    return pool.statistics() if pool is not None else {}


__all__ = [
    "Lookup",
    "Marker",
    "Notification",
    "Plan",
    "PlanCache",
    "atomic",
    "close",
    "copy_in",
    "copy_out",
    "execute",
    "fetch",
    "let_go",
    "listen",
    "notify",
    "objects",
    "on_commit",
    "open",
    "rehearsal",
    "retry",
    "run",
    "statistics",
]
