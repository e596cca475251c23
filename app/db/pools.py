"""The pool: connections that are opened when they are needed, and a bounded wait when all are in
use.

Rules:
- A pool belongs to the event loop that made it.
- A connection is handed to one taker and comes back by `release()`, which never waits: what has to
  be tidied (a cancelled query that the server still winds up, a transaction left open) is done in a
  task of the pool's own, and only a clean connection is handed out again. What can't be tidied is
  closed.
- Whoever stood in line first is served first: nobody who comes later takes what was made free for
  them.
- A statement that was prepared and then not executed keeps its tables locked (asyncpg does not tell
  the server that the exchange is over); its connection is tidied like one with an open transaction.
- Nothing is reset between takers: `app.db` itself changes no session state.
"""

import asyncio
from collections import deque

import asyncpg
from django.db import connections

from app.db import links, logs
from app.db.addresses import Limits, connect, database_entry, refusal, time_zone
from app.db.errors import UnreachableError
from app.db.links import CLIENT_ERRORS, Link, Result, hang_up, is_cancelling


def _give_up(waiter: "asyncio.Future[Link | None]") -> None:
    """Its time in line is over. (A timer by itself: `asyncio.timeout` asks for loop and task.)"""
    if not waiter.done():
        waiter.set_exception(TimeoutError())


class Pool:
    """Connections to the default database. `acquire()` and `release()` are the whole of it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.entry = database_entry()
        self.loop = asyncio.get_running_loop()
        self.server_version = 0
        self.is_closed = False
        self.waits = self.timeouts = self.opened = self.lost = 0
        self._idle: list[Link] = []
        self._size = 0
        self._taken: set[Link] = set()
        self._waiters: deque[asyncio.Future[Link | None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._tidying: set[asyncio.Task[None]] = set()

    def take(self) -> Link | None:
        """An idle connection if there is one: `acquire()` without waiting."""
        if self.is_closed or not self._idle:
            return None
        link = self._pop_idle()
        if link is not None:
            self._taken.add(link)
        return link

    async def acquire(self) -> Link:
        """An open connection. Raises UnreachableError when none is free in time or the server is
        gone.
        """
        if self.is_closed:
            raise UnreachableError(
                "The pool is closed. Call `await db.open()` before the first query."
            )
        link = self._pop_idle()
        if link is None:
            if self._size < self.limits.max_size:  # while there is room, nobody is in line
                self._size += 1
                link = await self._connect()
            else:
                link = await self._wait()
        self._taken.add(link)
        return link

    def release(self, link: Link) -> None:
        """Take a connection back. Never waits."""
        self._taken.discard(link)
        raw = link.raw
        if raw.is_closed() or self.is_closed:
            self._discard(link)
        elif link.is_unfinished or is_cancelling(raw) or raw.is_in_transaction():
            task = self.loop.create_task(self._tidy(link))
            self._tidying.add(task)
            task.add_done_callback(self._tidying.discard)
        else:
            self._give(link)

    async def close(self) -> None:
        """Close every connection; those in use when they come back."""
        self.is_closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        if self._tidying:
            await asyncio.gather(*self._tidying, return_exceptions=True)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(UnreachableError("The pool was closed."))
        idle, self._idle = self._idle, []
        self._size -= len(idle)
        await asyncio.gather(*(hang_up(link.raw) for link in idle))

    def statistics(self) -> dict[str, int]:
        return {
            "size": self._size,
            "in_use": len(self._taken),
            "idle": len(self._idle),
            "waiting": len(self._waiters),
            "max_size": self.limits.max_size,
            "waits": self.waits,
            "timeouts": self.timeouts,
            "opened": self.opened,
            "lost": self.lost,
            "queries": logs.counter.queries,
            "slow_queries": logs.counter.slow,
        }

    def _pop_idle(self) -> Link | None:
        while self._idle:
            link = self._idle.pop()
            if not link.raw.is_closed():
                return link
            self._discard(link)
        return None

    async def _connect(self) -> Link:
        """A new connection, in room that is counted already; it is freed when that fails."""
        try:
            raw = await connect(self.entry, self.limits)
        except BaseException as error:
            self._vacate()
            if isinstance(error, (asyncpg.PostgresError, *CLIENT_ERRORS)):
                raise refusal(error, self.entry, self.limits) from error
            raise
        self.opened += 1
        version = raw.get_server_version()
        self.server_version = version.major * 10000 + version.minor
        return Link(raw, 0 if self.limits.transaction_pooling else self.limits.statements, self)

    async def _wait(self) -> Link:
        """Stand in line for a connection, or for the room to open one."""
        self.waits += 1
        waiter: asyncio.Future[Link | None] = self.loop.create_future()
        self._waiters.append(waiter)
        timer = self.loop.call_later(self.limits.wait_seconds, _give_up, waiter)
        try:
            link = await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                self.timeouts += 1
                raise UnreachableError(
                    f"All {self.limits.max_size} database connections were in use for "
                    f"{self.limits.wait_seconds:g} s. Raise DATABASE_POOL['max_size']."
                ) from error
            raise
        finally:
            timer.cancel()
        if link is not None and link.raw.is_closed():  # lost on the way here: its room is left
            self.lost += 1
            link = None
        return link or await self._connect()

    def _pass_on(self, link: Link | None) -> None:
        if link is None:
            self._vacate()
        else:
            self._give(link)

    def _vacate(self) -> None:
        """There is room for one more connection: for the first in line, or for whoever comes."""
        if not self._wake(None):
            self._size -= 1

    def _give(self, link: Link) -> None:
        """Hand a clean connection to the first in line, or keep it."""
        if not self._wake(link):
            link.released_at = self.loop.time()
            self._idle.append(link)
            if self._reaper is None:
                self._reaper = self.loop.call_later(self.limits.idle_seconds, self._reap)

    def _wake(self, link: Link | None) -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(link)
                return True
        return False

    def _reap(self) -> None:
        """Close what was idle for long. The most recently used are taken first, so the rest age."""
        self._reaper = None
        limit = self.loop.time() - self.limits.idle_seconds
        while self._idle and self._idle[0].released_at <= limit:
            link = self._idle.pop(0)
            self._size -= 1
            link.raw.terminate()
        if self._idle:
            due = self._idle[0].released_at - limit
            self._reaper = self.loop.call_later(max(due, 0.01), self._reap)

    def _discard(self, link: Link) -> None:
        self.lost += 1
        link.statements.clear()
        if not link.raw.is_closed():
            link.raw.terminate()
        self._vacate()

    async def _tidy(self, link: Link) -> None:
        """Wait for the server to wind up a cancelled query, end an open transaction, then give it
        back.
        """
        try:
            async with asyncio.timeout(links.TIDY_SECONDS):
                # asyncpg turns jit off while it looks up the types of a table that is new to it.
                await link.command("ROLLBACK" if link.raw.is_in_transaction() else "RESET jit")
                if link.raw.is_in_transaction():  # it was BEGIN that was cancelled, too late
                    await link.command("ROLLBACK")
        except (asyncpg.PostgresError, *CLIENT_ERRORS):
            self._discard(link)
        except BaseException:
            self._discard(link)
            raise
        else:
            if link.raw.is_in_transaction() or link.raw.is_closed() or self.is_closed:
                self._discard(link)
            else:
                self._give(link)


__all__ = [
    "CLIENT_ERRORS",
    "Limits",
    "Link",
    "Pool",
    "Result",
    "connect",
    "connections",
    "database_entry",
    "hang_up",
    "refusal",
    "time_zone",
]
