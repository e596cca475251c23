"""The live end of the outbox, read once in each worker for all who watch.

Theory of operation.

- The tail runs while somebody watches. One connection of its own listens for NOTIFY, which wakes
  it; it reads what is new once, with a connection that it borrows, and hands it to every group. A
  look now and then makes up for messages that were lost, and is the only way behind a pooler of
  transactions.
- `position` is how far the groups have been told. It moves under `lock`, together with the telling.
- A watcher comes with the position that it knows. It reads pages from the database up to where the
  tail is; then, under the lock, there is nothing between the two and it joins its group. So nothing
  is left out and nothing told twice.
- A group with a filter begins by asking which objects match. Whoever joins it has read the events
  up to that moment by itself (`known_from`): later ones find the members known.
- While the database is out of reach, watchers wait with heartbeats; the tail tries again.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import django.db

from app import db
from app.errors import Unavailable
from app.fleet.outbox import PAGE, last_position, read_events
from app.fleet.past import Past, read_page
from app.fleet.predicates import Predicate
from app.fleet.topics import Change, Selection, Topic
from app.rest.breathing import Breather
from app.rest.sse import HEARTBEAT, ServerSentEvent
from app.rest.streams import Channel, Hub

logger = logging.getLogger(__name__)

CHANNEL = "fleet_event"
LOOK_SECONDS = 5.0
LOOK_SECONDS_ALONE = 0.5
"""How often to look where nobody can be told: behind a pooler of transactions."""
REST_SECONDS = 0.01
"""The least time between two readings: what commits in between is read together."""
LONGEST_PAUSE_SECONDS = 5.0

FAILURES = (django.db.Error, Unavailable, OSError)


class Group(Hub, Selection):
    """The watchers of one list with the same filters. Heartbeats are bookmarks where the tail has
    moved on and nothing was for them.
    """

    def __init__(self, tail: "Tail", key: object, topic: Topic, matches: Predicate | None) -> None:
        Hub.__init__(self)
        Selection.__init__(self, topic, matches)
        self.tail = tail
        self.key = key
        self.users = 0
        self.told = 0
        self.known_from: int | None = None if matches else 0
        self.beginning = asyncio.Lock()
        self.past = Past(partial(read_page, self))

    async def begin(self, ids: AsyncIterator[int]) -> None:
        """Learn which objects match, unless that is known. `ids` are those of the whole list."""
        async with self.beginning, aclosing(ids):  # type: ignore[type-var]
            if self.known_from is None:
                self.members |= {pk async for pk in ids}
                self.known_from = await last_position()

    def tell(self, changes: Sequence[Change]) -> None:
        block = self.select(changes)
        if block:
            self.told = changes[-1].position
            self.publish(block)

    def heartbeat(self) -> bytes:
        if self.tail.position <= self.told:
            return HEARTBEAT
        self.told = self.tail.position
        return bookmark(self.told)


def bookmark(position: int) -> bytes:
    """Says how far everything has been told."""
    text = str(position)
    return ServerSentEvent('{"position":' + text + "}", name="bookmark", id=text).encode()


class Tail:
    """See the module. It runs from the first `enter()` to the last `leave()`."""

    def __init__(self) -> None:
        self.position = 0
        self.users = 0
        self.groups: dict[object, Group] = {}
        self.lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: list[asyncio.Task[None]] = []
        self._woken = asyncio.Event()
        self._look_seconds = LOOK_SECONDS

    async def enter(self) -> None:
        """For as long as somebody watches. Whoever calls this calls `leave()`, even if it fails."""
        self.users += 1
        async with self.lock:
            if not self._running:
                self.position = await self.newest()
                self._running = [self._start(self._listen()), self._start(self._follow())]

    def leave(self) -> None:
        self.users -= 1
        if not self.users:
            for task in self._running:
                task.cancel()
            self._running = []

    def enter_group(self, key: object, topic: Any, matches: Any) -> Group:
        """The group of that key, made for the first. Whoever calls this calls `leave_group()`."""
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = self.make_group(key, topic, matches)
        group.users += 1
        return group

    def make_group(self, key: object, topic: Any, matches: Any) -> Group:
        return Group(self, key, topic, matches)

    async def newest(self) -> int:
        """The position to begin at."""
        return await last_position()

    def leave_group(self, group: Group) -> None:
        group.users -= 1
        if not group.users:
            del self.groups[group.key]

    async def join(self, group: Group, cursor: int) -> Channel | None:
        """What comes after `cursor`, from now on; None when more has been told by now: `target()`
        is how far to read first.
        """
        while self.position < cursor:  # the watcher has heard of it before the tail
            self._woken.set()
            await asyncio.sleep(REST_SECONDS)
        async with self.lock:
            if cursor < self.target(group):
                return None
            channel = Channel()
            group.add(channel)
            return channel

    def target(self, group: Group) -> int:
        assert group.known_from is not None
        return max(self.position, group.known_from)

    # The tasks

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # until it has ended, which a cancelled one does after a while
        task.add_done_callback(self._tasks.discard)
        return task

    async def _listen(self) -> None:
        """Wake the tail when the server says that there is something."""
        self._look_seconds = LOOK_SECONDS
        while True:
            try:
                # What was committed before it listens told nobody: it is read at once.
                listening = db.listen(CHANNEL, on_ready=self._woken.set)
                async with aclosing(listening) as messages:  # type: ignore[type-var]
                    async for _ in messages:
                        self._woken.set()
            except django.db.NotSupportedError:
                self._look_seconds = LOOK_SECONDS_ALONE
                return
            except FAILURES:
                await asyncio.sleep(random.uniform(0.5, 1.0) * LOOK_SECONDS)  # noqa: S311 - jitter

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_seconds):
                    await self._woken.wait()
            self._woken.clear()
            try:
                while await self._step():
                    pass
            except FAILURES:
                logger.warning("Events could not be read; watchers wait.", exc_info=True)
                await asyncio.sleep(random.uniform(0.1, 1.0))  # noqa: S311 - jitter
                self._woken.set()
            except Exception:
                logger.exception("Events could not be told; watchers are sent away.")
                self._send_away()
                await asyncio.sleep(LOOK_SECONDS)
            else:
                await asyncio.sleep(REST_SECONDS)

    async def _step(self) -> bool:
        """Tell every group of the next page of events; whether there may be another."""
        async with self.lock:
            events = await read_events(self.position)
            if events:
                changes = {
                    topic: await topic.changes(events)
                    for topic in {group.topic for group in self.groups.values()}
                }
                breather = Breather()
                for group in list(self.groups.values()):
                    if group.topic in changes:  # else it has begun meanwhile, and reads by itself
                        group.tell(changes[group.topic])
                        await breather.breathe()
                self.position = events[-1].position or self.position
            return len(events) == PAGE

    def _send_away(self) -> None:
        for group in self.groups.values():
            for channel in list(group.channels):
                channel.send_away()


tail = Tail()
