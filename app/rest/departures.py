"""Cancelling the work of clients that leave before they are answered.

One timer serves all requests of a loop: a timer for each request cost as much as resolving its URL.
A request that is still running at the second tick after it came is watched; a quick one never is.
"""

import asyncio

from app.rest.bodies import Body

TICK_SECONDS = 0.02


class Departure:
    """One request: `client_left` says why its task was cancelled."""

    __slots__ = ("body", "client_left", "serving", "watching")

    def __init__(self, body: Body, serving: "asyncio.Task[None] | None") -> None:
        self.body = body
        self.serving = serving
        self.client_left = False
        self.watching: asyncio.Task[None] | None = None

    async def watch(self) -> None:
        if await self.body.wait_for_client_to_leave() and self.serving is not None:
            self.client_left = True
            self.serving.cancel()


class Departures:
    """The requests of one loop. `young` came since the last tick, `old` before it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.young: set[Departure] = set()
        self.old: set[Departure] = set()
        self.timer: asyncio.TimerHandle | None = None

    def begin(self, body: Body) -> Departure:
        departure = Departure(body, asyncio.current_task(self.loop))
        self.young.add(departure)
        if self.timer is None:
            self.timer = self.loop.call_later(TICK_SECONDS, self._tick)
        return departure

    def end(self, departure: Departure) -> None:
        self.young.discard(departure)
        self.old.discard(departure)
        if departure.watching is not None:
            departure.watching.cancel()

    def _tick(self) -> None:
        for departure in self.old:
            departure.watching = self.loop.create_task(departure.watch())
        self.old, self.young = self.young, set()
        waits = bool(self.old)
        self.timer = self.loop.call_later(TICK_SECONDS, self._tick) if waits else None


_departures: Departures | None = None


def current() -> Departures:
    """Those of the running loop."""
    global _departures  # noqa: PLW0603 - a process serves on one loop; tests on one after another
    loop = asyncio.get_running_loop()
    if _departures is None or _departures.loop is not loop:
        _departures = Departures(loop)
    return _departures
