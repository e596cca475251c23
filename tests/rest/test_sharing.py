"""Work that many want at once is done once."""

import asyncio

import pytest

from app.rest.sharing import Rounds, Shared

pytestmark = pytest.mark.asyncio


class Work:
    """Counts how often it is begun, and ends when it may."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        await self.may_end.wait()
        if self.begun < 0:
            raise LookupError("it failed")
        return self.begun


async def begun(shared: Shared[int], work: Work, count: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(shared.get("key", work)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_those_who_want_it_at_once_get_the_same_and_later_ones_get_it_anew() -> None:
    shared, work = Shared[int](), Work()
    tasks = await begun(shared, work, 3)
    other = asyncio.create_task(shared.get("another key", work))
    work.may_end.set()
    assert await asyncio.gather(*tasks) == [2, 2, 2]  # begun for both keys by then
    assert await other == 2
    assert await shared.get("key", work) == 3


async def test_another_goes_on_when_the_first_leaves() -> None:
    shared, work = Shared[int](), Work()
    first, second, third = await begun(shared, work, 3)
    second.cancel()
    first.cancel()
    await asyncio.wait([first, second])
    work.may_end.set()
    assert await third == 2
    assert not shared._under_way


async def test_what_it_raises_all_get() -> None:
    shared, work = Shared[int](), Work()
    tasks = await begun(shared, work, 2)
    work.begun = -1
    work.may_end.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [LookupError, LookupError]
    assert not shared._under_way


async def test_who_comes_while_a_round_is_under_way_gets_the_next_together() -> None:
    rounds, work = Rounds[int](), Work()
    first, *others = [asyncio.create_task(rounds.get("key", work)) for _ in range(4)]
    await asyncio.sleep(0)
    late = asyncio.create_task(rounds.get("key", work))
    work.may_end.set()
    assert await first == 1
    assert await asyncio.gather(*others, late) == [2, 2, 2, 2]
    assert work.begun == 2
    assert not rounds._lines


async def test_rounds_of_different_keys_do_not_wait_for_each_other() -> None:
    rounds, work = Rounds[int](), Work()
    tasks = [asyncio.create_task(rounds.get(key, work)) for key in "ab"]
    await asyncio.sleep(0)
    assert work.begun == 2
    work.may_end.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("begins_first", [True, False])
async def test_round_goes_on_when_those_who_would_do_it_leave(begins_first: bool) -> None:
    rounds, work = Rounds[int](), Work()
    first, second, third = [asyncio.create_task(rounds.get("key", work)) for _ in range(3)]
    await asyncio.sleep(0)
    leaving = [second, first] if begins_first else [first, second]
    for one in leaving:
        one.cancel()
        await asyncio.wait([one])
    work.may_end.set()
    assert await third == work.begun
    assert not rounds._lines


async def test_what_a_round_raises_all_of_it_get_and_the_next_is_done() -> None:
    rounds, work = Rounds[int](), Work()
    tasks = [asyncio.create_task(rounds.get("key", work)) for _ in range(3)]
    await asyncio.sleep(0)
    work.begun = -5
    work.may_end.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [LookupError] * 3
    work.begun = 0
    assert await rounds.get("key", work) == 1
