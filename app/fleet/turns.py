"""Long computations in turns, so that the event loop serves others meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")


async def in_turns(
    items: Iterable[T], *, turn_seconds: float = 0.005, rest_seconds: float = 0.0
) -> AsyncIterator[T]:
    """The items, computed as they are asked for; the loop gets a turn first, and then after each
    `turn_seconds`, for `rest_seconds` at the least: what nobody waits for leaves the loop free.

    A turn ends between two items: an item must take well below `turn_seconds` by itself.
    """
    await asyncio.sleep(0)
    started = perf_counter()
    for item in items:
        yield item
        if perf_counter() - started >= turn_seconds:
            await asyncio.sleep(rest_seconds)
            started = perf_counter()


async def last_of(items: Iterable[T | None]) -> T:
    """The last of the items, which is the result; those before it are None."""
    last: T | None = None
    async for item in in_turns(items):
        last = item
    assert last is not None
    return last
