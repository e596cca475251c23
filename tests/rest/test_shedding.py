"""What a worker does with more requests than it takes at once."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.rest.shedding import Counts, Shedding

pytestmark = pytest.mark.asyncio


class Slow:
    """An application that answers when it is told to, and streams on until it is told again."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.ends = asyncio.Event()
        self.ends.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fails":
            raise RuntimeError("A fault.")
        if scope["path"] != "/healthz":
            await self.answers.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.ends.wait()
        await send({"type": "http.response.body", "body": b"ok"})


Ask = Callable[..., Awaitable[list[Any]]]


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def shedding(slow: Slow) -> Shedding:
    return Shedding(slow, limit=2, exempt={"/healthz"}, counts=Counts())


async def ask(application: Shedding, path: str = "/") -> list[Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("Nothing is read of a request that is refused.")

    async def send(message: Any) -> None:
        sent.append(message)

    await application({"type": "http", "path": path}, receive, send)
    return sent


async def test_request_above_the_limit_is_refused_at_once_with_retry_after(
    slow: Slow, shedding: Shedding
) -> None:
    async with asyncio.TaskGroup() as group:
        served = [group.create_task(ask(shedding)) for _ in range(2)]
        await asyncio.sleep(0)
        head, body = await ask(shedding)
        slow.answers.set()
    assert head["status"] == 503
    assert dict(head["headers"])[b"retry-after"] == b"1"
    assert "again" in json.loads(body["body"])["detail"]
    assert [task.result()[0]["status"] for task in served] == [200, 200]
    assert (shedding.counts.under_way, shedding.counts.shed) == (0, 1)


async def test_health_probe_is_let_in_when_all_places_are_taken(
    slow: Slow, shedding: Shedding
) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(ask(shedding))
        await asyncio.sleep(0)
        assert (await ask(shedding, "/healthz"))[0]["status"] == 200
        slow.answers.set()


async def test_stream_gives_its_place_back_when_it_begins(slow: Slow, shedding: Shedding) -> None:
    slow.answers.set()
    slow.ends.clear()
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(ask(shedding))
            await asyncio.sleep(0)
        assert (shedding.counts.under_way, shedding.counts.shed) == (0, 0)
        slow.ends.set()


async def test_failed_and_cancelled_requests_give_their_places_back(
    slow: Slow, shedding: Shedding
) -> None:
    with pytest.raises(RuntimeError):
        await ask(shedding, "/fails")
    task = asyncio.create_task(ask(shedding))
    await asyncio.sleep(0)
    assert shedding.counts.under_way == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert shedding.counts.under_way == 0


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class House:
    """Counts of 500 places, whose clock and whose loop's turns are told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.counts = Counts(self.clock)
        self.counts.bound(500)

    def come(self, number: int) -> int:
        """How many of them are let in."""
        let_in = 0
        for _ in range(number):
            if not self.counts.are_full():
                self.counts.enter()
                let_in += 1
        return let_in

    def go(self, number: int) -> None:
        for _ in range(number):
            self.counts.leave()

    async def turn(self, seconds: float) -> None:
        self.clock.now += seconds
        await asyncio.sleep(0)


async def test_crowd_that_comes_at_once_is_let_in() -> None:
    house = House()
    assert house.come(600) == 500
    for _ in range(10):
        await house.turn(0.009)
        house.go(50)
    assert house.counts.under_way == 0
    await house.turn(1)
    assert house.come(600) == 500


async def stay(house: House, turn_seconds: float, turns: int = 50) -> list[int]:
    """How many were under way after each turn, in which ten are answered and thirty come."""
    seen = []
    for _ in range(turns):
        house.go(min(10, house.counts.under_way))
        house.come(30)
        await house.turn(turn_seconds)
        seen.append(house.counts.under_way)
    return seen


async def test_of_crowd_that_stays_few_are_let_in_until_there_is_room() -> None:
    house = House()
    seen = await stay(house, 0.02)
    assert max(seen) > 100  # at first
    assert set(seen[-10:]) == {house.counts.few} == {62}
    for _ in range(12):  # nobody is refused
        house.go(30)
        assert house.come(30) == 30
        await house.turn(0.01)
    assert house.come(600) == 438


async def test_crowd_of_which_hardly_one_is_refused_is_none() -> None:
    house = House()
    assert (await stay(house, 0.02))[-1] == 62
    for _ in range(12):
        house.go(30)
        house.come(31)
        await house.turn(0.01)
    house.come(600)
    assert house.counts.under_way == 500


async def test_many_that_wait_for_something_else_are_no_crowd() -> None:
    house = House()
    assert max(await stay(house, 0.004)) == 500


async def test_crowd_is_let_in_again_once_the_loop_is_quick() -> None:
    house = House()
    assert (await stay(house, 0.02))[-1] == 62
    assert set(await stay(house, 0.002, turns=200)) == {62}
    assert (await stay(house, 0.0009, turns=300))[-1] == 500


@pytest.mark.parametrize(("limit", "few"), [(1, 1), (2, 2), (32, 32), (100, 32), (1000, 125)])
async def test_small_house_has_no_fewer_places_for_crowds(limit: int, few: int) -> None:
    counts = Counts()
    counts.bound(limit)
    assert counts.few == few


async def test_lifespan_is_passed_through(slow: Slow) -> None:
    scopes = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope["type"])

    await Shedding(application, limit=0, counts=Counts())({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert scopes == ["lifespan"]
