"""Long computations give the loop its turns."""

import asyncio
from time import perf_counter

import pytest

from app.fleet.turns import in_turns

pytestmark = pytest.mark.asyncio


def busy(count, seconds):
    for number in range(count):
        until = perf_counter() + seconds
        while perf_counter() < until:
            pass
        yield number


async def test_items_come_in_order():
    assert [item async for item in in_turns(range(5))] == [0, 1, 2, 3, 4]


async def test_nothing_is_computed_before_it_is_asked_for():
    taken = []
    turns = in_turns(taken.append(number) or number for number in range(5))

    await anext(turns)
    await turns.aclose()

    assert taken == [0]


async def test_others_run_between_turns():
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(tick())
    async for _ in in_turns(busy(20, 0.001), turn_seconds=0.002):
        pass
    other.cancel()

    assert ticks >= 5


async def test_quick_items_share_a_turn():
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(tick())
    async for _ in in_turns(range(1000), turn_seconds=60):
        pass
    other.cancel()

    assert ticks <= 2
