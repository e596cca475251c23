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


async def test_lifespan_is_passed_through(slow: Slow) -> None:
    scopes = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope["type"])

    await Shedding(application, limit=0)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert scopes == ["lifespan"]
