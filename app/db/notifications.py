"""LISTEN and NOTIFY: messages between processes, through the database.

`listen()` has a connection of its own, outside the pool, and makes a new one when it is lost. What
was sent in between is lost too, so the listener is told: it gets a notification with `is_gap`, and
reads anew what it follows.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
from django.db import NotSupportedError

from app.db import links, pools
from app.db.statements import fetch

LONGEST_PAUSE_SECONDS = 10.0
HEARTBEAT_SECONDS = 30.0
FAILURES = (asyncpg.PostgresError, *pools.CLIENT_ERRORS)


@dataclass(frozen=True)
class Notification:
    """One message; `is_gap`: the connection was lost, and messages may be missing before this."""

    channel: str
    payload: str
    is_gap: bool = False


Inbox = asyncio.Queue[Notification | None]


async def notify(channel: str, payload: str = "") -> None:
    """Send a message to all who listen on `channel`; when the transaction commits, if in one."""
    await fetch("SELECT pg_notify(%s, %s)", channel, payload)


async def listen(
    *channels: str,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    on_ready: Callable[[], None] | None = None,
) -> AsyncIterator[Notification]:
    """Messages on `channels`, for as long as it is iterated. Survives a lost connection.

    `on_ready` is called once it listens: what was sent before is not heard, so whoever follows
    something reads it then. When nothing was heard for `heartbeat_seconds` the server is asked
    whether it is still there. Raises UnreachableError when it isn't at the start.
    """
    entry, limits = pools.database_entry(), pools.Limits.from_settings()
    if limits.transaction_pooling:
        raise NotSupportedError(
            "LISTEN belongs to a session, and through a pooler of transactions there is none. "
            "Listen in a process whose DATABASE_URL names the server itself."
        )
    try:
        raw, inbox = await _subscribe(channels)
    except FAILURES as error:
        raise pools.refusal(error, entry, limits) from error
    try:
        if on_ready is not None:
            on_ready()
        while True:
            notification = await _next(raw, inbox, heartbeat_seconds)
            if notification is None:
                raw.terminate()
                raw, inbox = await _resubscribe(channels)
                notification = Notification("", "", is_gap=True)
            yield notification
    finally:
        await pools.hang_up(raw)


async def _next(raw: Any, inbox: Inbox, heartbeat_seconds: float) -> Notification | None:
    """The next message, or None when the connection is lost and none is left."""
    while True:
        try:
            async with asyncio.timeout(heartbeat_seconds):
                return await inbox.get()
        except TimeoutError:
            if not await _is_alive(raw):
                return None


async def _is_alive(raw: Any) -> bool:
    try:
        async with asyncio.timeout(links.TIDY_SECONDS):
            await raw.execute("SELECT 1")
    except FAILURES:
        return False
    return True


async def _subscribe(channels: tuple[str, ...]) -> tuple[Any, Inbox]:
    """A connection that listens, and where its messages come in; None is its end."""
    raw = await pools.connect(pools.database_entry(), pools.Limits.from_settings())
    inbox: Inbox = asyncio.Queue()
    try:
        raw.add_termination_listener(lambda _: inbox.put_nowait(None))
        for channel in channels:
            await raw.add_listener(
                channel, lambda _, __, name, payload: inbox.put_nowait(Notification(name, payload))
            )
    except BaseException:
        raw.terminate()
        raise
    return raw, inbox


async def _resubscribe(channels: tuple[str, ...]) -> tuple[Any, Inbox]:
    """Connect again, with growing, random pauses, for as long as it takes."""
    pause = 0.05
    while True:
        try:
            return await _subscribe(channels)
        except FAILURES:
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - jitter
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


__all__ = ["Notification", "listen", "notify"]
