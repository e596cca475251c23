"""What will have happened at some time, for who waits for it."""

import asyncio

__all__ = ["Moment"]


class Moment:
    """An asyncio.Event that costs nothing (of it, a deque of 760 bytes) until somebody waits."""

    __slots__ = ("_event", "_has_come")

    def __init__(self) -> None:
        self._has_come = False
        self._event: asyncio.Event | None = None

    def is_set(self) -> bool:
        return self._has_come

    def set(self) -> None:
        self._has_come = True
        if self._event is not None:
            self._event.set()

    def clear(self) -> None:
        self._has_come = False
        if self._event is not None:
            self._event.clear()

    async def wait(self) -> None:
        if not self._has_come:
            if self._event is None:
                self._event = asyncio.Event()
            await self._event.wait()
