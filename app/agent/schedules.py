"""When to do what: ticks that neither drift nor pile up, a signal that gathers."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


def next_tick(last: float, interval: float, now: float) -> float:
    """The first moment after `now` on the grid `last + n * interval`, n >= 1."""
    return last + interval * max(1, math.floor((now - last) / interval) + 1)


async def ticks(
    interval: float, *, clock: Clock = time.monotonic, sleep: Sleep = asyncio.sleep
) -> AsyncGenerator[None, None]:
    """Yields now and at each tick. While the body takes its time, ticks fall out."""
    due = clock()
    while True:
        yield
        due = next_tick(due, interval, clock())
        await sleep(max(0.0, due - clock()))


class Signal:
    """Set by many, awaited by one, who takes what comes within `settle` seconds as one."""

    def __init__(self, settle: float = 0.0, *, sleep: Sleep = asyncio.sleep) -> None:
        self._event = asyncio.Event()
        self._settle = settle
        self._sleep = sleep

    def set(self) -> None:
        self._event.set()

    async def wait(self, seconds: float | None = None) -> bool:
        """Whether it was set within that time. Taking it clears it."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        await self._sleep(self._settle)
        self._event.clear()
        return True
