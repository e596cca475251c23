"""What many calls at once leave behind when they are over, however they end: nothing."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from app.db import bridges

pytestmark = pytest.mark.asyncio

CALLS = 3 * bridges.IDLE_BRIDGES


class Load:
    """Something that only its call holds."""


def stacks() -> list[bridges.Bridge]:
    """Those that are not kept for the next call: of other threads, or never to end."""
    return [
        one
        for one in gc.get_objects()
        if type(one) is bridges.Bridge and one not in bridges._idle.bridges
    ]


async def call(kept: "weakref.WeakSet[Load]", end: str) -> Any:
    """A function that waits, on a stack of its own, and ends so."""

    def work(load: Load) -> Load:
        bridges.wait(asyncio.sleep(30 if end == "cancelled" else 0.01))
        if end == "raised":
            raise ValueError(load)
        return load

    load = Load()
    kept.add(load)
    return await bridges.run(work, load)


@pytest.mark.parametrize("end", ["returned", "raised", "cancelled"])
async def test_nothing_is_left_of_calls_that_are_over(end: str) -> None:
    others = stacks()
    kept: weakref.WeakSet[Load] = weakref.WeakSet()
    tasks = [asyncio.create_task(call(kept, end)) for _ in range(CALLS)]
    await asyncio.sleep(0.005)
    assert len(kept) == CALLS
    if end == "cancelled":
        while not all(task.cancelling() for task in tasks):
            next(task for task in tasks if not task.cancelling()).cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    expected = {"returned": Load, "raised": ValueError, "cancelled": asyncio.CancelledError}[end]
    assert {type(one) for one in results} == {expected}
    tasks.clear()
    results.clear()
    await asyncio.sleep(0)
    gc.collect()
    assert len(kept) == 0
    assert [one for one in stacks() if one not in others] == []
    assert len(bridges._idle.bridges) <= bridges.IDLE_BRIDGES
