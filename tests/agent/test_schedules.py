"""Ticks on a clock of the test's own: no drift, no pile-up."""

import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agent.schedules import Signal, next_tick, ticks


class Time:
    """A clock that only sleeping and working move."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds + 0.01  # sleeping is never exact


async def moments(work: list[float], interval: float = 5.0) -> list[float]:
    """When each tick came, if the body took so long each time."""
    time, seen = Time(), []
    async with aclosing(ticks(interval, clock=time.clock, sleep=time.sleep)) as source:
        for seconds in work:
            await anext(source)
            seen.append(round(time.now - 100, 1))
            time.now += seconds
    return seen


@pytest.mark.asyncio
async def test_ticks_do_not_drift_with_work_or_inexact_sleep():
    assert await moments([0.2] * 200) == [5.0 * number for number in range(200)]


@pytest.mark.asyncio
async def test_ticks_missed_during_long_work_fall_out_and_the_grid_stays():
    assert await moments([0, 12, 0, 0]) == [0, 5, 20, 25]


@given(last=st.floats(0, 1e6), interval=st.floats(0.1, 1e3), late=st.floats(-1e3, 1e5))
def test_next_tick_is_ahead_and_at_most_one_interval(last, interval, late):
    now = last + late
    due = next_tick(last, interval, now)
    assert due >= last + interval * 0.999
    if late >= 0:
        assert -1e-6 <= due - now <= interval * 1.001


@pytest.mark.asyncio
async def test_signal_set_often_is_taken_once():
    signal = Signal(0.0)
    for _ in range(5):
        signal.set()
    assert await signal.wait(1.0) is True
    assert await signal.wait(0.01) is False


@pytest.mark.asyncio
async def test_signal_set_while_it_settles_belongs_to_the_same_change():
    signal = Signal(0.05)
    waiting = asyncio.create_task(signal.wait(1.0))
    signal.set()
    await asyncio.sleep(0.02)
    signal.set()
    assert await waiting is True
    assert await signal.wait(0.01) is False
