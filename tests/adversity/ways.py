"""Ways from app.db to a server, and a witness who looks at the server from beside it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from django.db import connections
from django.test import override_settings

from app import db
from app.db import pools
from app.db.connections import current_pool


@contextlib.asynccontextmanager
async def reaching(entry: dict[str, Any] | None = None, /, **limits: Any) -> AsyncIterator[None]:
    """app.db with a pool of its own: `entry` differs from DATABASES["default"], `limits` from
    DATABASE_POOL.
    """
    before = connections.settings["default"]
    await db.close()
    connections.settings["default"] = before | (entry or {})
    try:
        with override_settings(DATABASE_POOL=limits):
            await db.open()
            yield
            await db.close()
    finally:
        await db.close()
        connections.settings["default"] = before
        await db.open()


async def until(true: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait for `true()`, a condition or an awaitable one, to be true."""
    async with asyncio.timeout(seconds):
        while True:
            answer = true()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.005)


def is_settled() -> bool:
    """No connection is taken, none is being tidied, nobody waits."""
    now = db.statistics()
    return now["in_use"] == now["waiting"] == 0 and now["size"] == now["idle"]


async def fill(witness: "Witness") -> None:
    """Two publishers with three books each, and no more, committed."""
    await witness.raw.execute("""
        DELETE FROM conformance_book; DELETE FROM conformance_publisher;
        INSERT INTO conformance_publisher (id, name, country)
            SELECT n, 'P' || n, 'NL' FROM generate_series(1, 2) n;
        INSERT INTO conformance_book
                (id, title, publisher_id, price, pages, published, tags, details)
            SELECT n, 'B' || n, n % 2 + 1, 1, n, '2000-01-01', '{}', '{}'
            FROM generate_series(1, 6) n;
        SELECT setval(pg_get_serial_sequence('conformance_' || name, 'id'), 100)
            FROM unnest('{book,publisher}'::text[]) name;
    """)


#: Settings that PgBouncer itself keeps for each of its clients.
POOLERS = {"TimeZone", "application_name", "client_encoding", "DateStyle"}


class Witness:
    """A connection of the test's own to the server that app.db uses."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    async def value(self, sql: str, *arguments: Any) -> Any:
        return await self.raw.fetchval(sql, *arguments)

    async def rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self.raw.fetch(sql, *arguments)]

    async def others(self) -> list[tuple[Any, ...]]:
        """What the other clients of this database do, unless it is nothing."""
        return await self.rows(
            "SELECT pid, state, query FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            " AND (state <> 'idle' OR xact_start IS NOT NULL)"
        )

    async def is_quiet(self) -> bool:
        return not await self.others()

    async def is_running(self, text: str) -> bool:
        return any(state == "active" and text in query for _, state, query in await self.others())

    async def pids(self, text: str) -> list[int]:
        return [pid for pid, _, query in await self.others() if text in query]

    async def terminate(self, pid: int) -> None:
        await self.value("SELECT pg_terminate_backend($1, 5000)", pid)


@contextlib.asynccontextmanager
async def witness_of(entry: dict[str, Any] | None = None) -> AsyncIterator[Witness]:
    raw = await pools.connect(connections.settings["default"] | (entry or {}), pools.Limits())
    try:
        yield Witness(raw)
    finally:
        await raw.close()


async def assert_sound(witness: Witness) -> None:
    """No connection has leaked, none is poisoned, the server runs nothing of ours, and the next
    queries are answered right, on every connection that the pool keeps.
    """
    await until(is_settled)
    try:
        await until(witness.is_quiet)
    except TimeoutError:
        raise AssertionError(f"The server still works for us: {await witness.others()}") from None
    kept = db.statistics()["size"]
    pool = current_pool()
    links = [await pool.acquire() for _ in range(kept)]
    try:
        for link in links:
            assert not link.raw.is_in_transaction()
            assert await link.fetch("SELECT 41 + $1::int AS n", [1]) == [(42,)]
            changed = await link.fetch(
                "SELECT name, setting FROM pg_settings"
                " WHERE source = 'session' AND setting <> reset_val",
                [],
            )
            allowed = POOLERS if pool.limits.transaction_pooling else set()
            assert {name for name, _ in changed} <= allowed
            assert await link.fetch("SELECT pg_current_xact_id_if_assigned()::text", []) == [
                (None,)
            ]
    finally:
        for link in links:
            pool.release(link)
    assert [row["n"] for row in await db.fetch("SELECT %s::int AS n", 7)] == [7]
    assert is_settled()
