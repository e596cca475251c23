"""Cancelling the work of clients that leave before they are answered.

A server may tell: where `receive` is a method of an object that has `on_disconnect`, that is called
when the connection is gone (`app.ops.cycles`). Any other has to be asked, by a task that awaits
`receive`. One timer serves all such requests of a loop: a timer for each cost as much as resolving
its URL. A request that is still running at the second tick after it came is watched; a quick one
never is.
"""

import asyncio
import contextvars
from typing import Any

from app.loops import current_task, running_loop
from app.rest.bodies import Body

TICK_SECONDS = 0.02


class Departure:
    """One request: `client_left` says why its task was cancelled. `teller`: what calls `leave`."""

    __slots__ = ("body", "client_left", "serving", "teller", "watching")

    def __init__(self, body: Body, serving: "asyncio.Task[None] | None") -> None:
        self.body = body
        self.serving = serving
        self.client_left = False
        self.teller: Any = None
        self.watching: asyncio.Task[None] | None = None

    def leave(self) -> None:
        if self.serving is not None:
            self.client_left = True
            self.serving.cancel()

    async def watch(self) -> None:
        if await self.body.wait_for_client_to_leave():
            self.leave()


class Departures:
    """The requests of one loop. `young` came since the last tick, `old` before it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.young: set[Departure] = set()
        self.old: set[Departure] = set()
        self.timer: asyncio.TimerHandle | None = None

    def begin(self, departure: Departure) -> None:
        self.young.add(departure)
        if self.timer is None:
            self.timer = self.loop.call_later(TICK_SECONDS, self._tick)

    def end(self, departure: Departure) -> None:
        self.young.discard(departure)
        self.old.discard(departure)
        if departure.watching is not None:
            departure.watching.cancel()

    def _tick(self) -> None:
        for departure in self.old:
            # In a context of its own: this one is some request's, and a watch may last for hours.
            departure.watching = self.loop.create_task(
                departure.watch(), context=contextvars.Context()
            )
        self.old, self.young = self.young, set()
        waits = bool(self.old)
        self.timer = self.loop.call_later(TICK_SECONDS, self._tick) if waits else None


_departures: Departures | None = None


def current() -> Departures:
    """Those of the running loop."""
    global _departures  # noqa: PLW0603 - a process serves on one loop; tests on one after another
    loop = running_loop()
    assert loop is not None
    if _departures is None or _departures.loop is not loop:
        _departures = Departures(loop)
    return _departures


def begin(body: Body) -> Departure:
    """Have the running task cancelled when the client leaves, until `end`."""
    departure = Departure(body, current_task())
    teller: Any = getattr(body.receive, "__self__", None)
    if hasattr(teller, "on_disconnect"):
        departure.teller = teller
        teller.on_disconnect = departure.leave
    else:
        current().begin(departure)
    return departure


def end(departure: Departure) -> None:
    if departure.teller is not None:
        departure.teller.on_disconnect = None
    else:
        current().end(departure)
