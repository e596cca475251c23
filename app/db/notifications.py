"""LISTEN and NOTIFY: messages between processes, through the database.

`listen()` has a connection of its own, outside the pool, and makes a new one when it is lost. What
was sent in between is lost too, so the listener is told: it gets a notification with `is_gap`, and
reads anew what it follows.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg

from app.db import pools
from app.db.errors import translated
from app.db.statements import fetch

LONGEST_PAUSE_SECONDS = 10.0


@dataclass(frozen=True)
class Notification:
    """One message; `is_gap`: the connection was lost, and messages may be missing before this."""

    channel: str
    payload: str
    is_gap: bool = False


async def notify(channel: str, payload: str = "") -> None:
    """Send a message to all who listen on `channel`; when the transaction commits, if in one."""
    await fetch("SELECT pg_notify(%s, %s)", channel, payload)


async def listen(*channels: str) -> AsyncIterator[Notification]:
    """Messages on `channels`, for as long as it is iterated. Survives a lost connection."""
    inbox: asyncio.Queue[Notification] = asyncio.Queue()
    lost = asyncio.Event()
    with translated():
        raw = await _subscribe(channels, inbox, lost)
    try:
        while True:
            notification = await _next(inbox, lost)
            if notification is not None:
                yield notification
                continue
            raw.terminate()
            lost.clear()
            raw = await _resubscribe(channels, inbox, lost)
            yield Notification("", "", is_gap=True)
    finally:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await raw.close(timeout=2)


async def _next(inbox: asyncio.Queue[Notification], lost: asyncio.Event) -> Notification | None:
    """The next message, or None when the connection is lost and none is left."""
    if not inbox.empty():
        return inbox.get_nowait()
    waiting = {asyncio.ensure_future(inbox.get()), asyncio.ensure_future(lost.wait())}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        done = [task.result() for task in waiting if task.done()]
    finally:
        for task in waiting:
            task.cancel()
    return next((item for item in done if isinstance(item, Notification)), None)


async def _subscribe(
    channels: tuple[str, ...], inbox: asyncio.Queue[Notification], lost: asyncio.Event
) -> Any:
    raw = await pools.connect(pools.database_entry(), pools.Limits.from_settings())
    raw.add_termination_listener(lambda _: lost.set())
    for channel in channels:
        await raw.add_listener(
            channel, lambda _, __, name, payload: inbox.put_nowait(Notification(name, payload))
        )
    return raw


async def _resubscribe(
    channels: tuple[str, ...], inbox: asyncio.Queue[Notification], lost: asyncio.Event
) -> Any:
    """Connect again, with growing, random pauses, for as long as it takes."""
    pause = 0.05
    while True:
        try:
            return await _subscribe(channels, inbox, lost)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - jitter
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


__all__ = ["Notification", "listen", "notify"]
