"""What many want at the same moment is done once.

readings = Shared()
page = await readings.get(key, read_page)       whoever asks while it is read gets the same

rounds = Rounds()
report = await rounds.get(key, make_report)     nobody gets what was begun before they asked
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Work by key, done by whoever comes first. When they are cancelled the next one does it; what
    it raises, all get.
    """

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Future[T]] = {}

    async def get(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """What `work()` returns, begun by this call or by one before it."""
        while (other := self._under_way.get(key)) is not None:
            await asyncio.wait({other})
            if not other.cancelled():
                return other.result()
        mine: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._under_way[key] = mine
        try:
            result = await work()
        except Exception as error:
            mine.set_exception(error)
            mine.exception()  # it is raised here, whether others wait for it or not
            raise
        else:
            mine.set_result(result)
            return result
        finally:
            mine.cancel()  # unless it is done
            del self._under_way[key]


@dataclass(slots=True)
class _Line:
    """Those who wait for one thing."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    begun: int = 0
    """Rounds."""
    users: int = 0


class Rounds(Generic[T]):
    """Work by key, one round after the other. Whoever comes while a round is under way gets the
    next one, together with all who come until that begins: so nobody is told what was read before
    they asked, and however many ask there is one round at a time.
    """

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}
        self._shared: Shared[T] = Shared()

    async def get(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """What `work()` returns, begun by this call or by another after this one came."""
        line = self._lines.setdefault(key, _Line())
        line.users += 1
        try:
            return await self._shared.get((key, line.begun), partial(self._run, line, work))
        finally:
            line.users -= 1
            if not line.users:
                del self._lines[key]

    @staticmethod
    async def _run(line: _Line, work: Callable[[], Awaitable[T]]) -> T:
        async with line.lock:
            line.begun += 1
            return await work()
