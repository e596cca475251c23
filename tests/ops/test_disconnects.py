"""A client that leaves, told by the server itself: no task waits for it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from django.urls import path

from app.rest import departures, views
from app.rest.handlers import ASGIHandler
from app.rest.response import Response
from tests.servers import serving, until

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.ops.test_disconnects")]

begun: list[str] = []
ended: list[str] = []


class SlowView(views.APIView):
    authentication_classes: Any = []
    permission_classes: Any = []
    throttle_classes: Any = []

    async def get(self, request: Any) -> Response:
        begun.append("get")
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return Response({})

    async def post(self, request: Any) -> Response:
        begun.append("post")
        return Response({"got": request.data})


urlpatterns = [path("slow/", SlowView.as_view())]
GET = b"GET /slow/ HTTP/1.1\r\nHost: testserver\r\n\r\n"
POST = (
    b"POST /slow/ HTTP/1.1\r\nHost: testserver\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n"
)


@pytest_asyncio.fixture(loop_scope="session")
async def port() -> AsyncIterator[int]:
    begun.clear()
    ended.clear()
    async with serving(ASGIHandler()) as (_, port):
        yield port


async def test_client_that_leaves_cancels_its_request_at_once(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    await until(lambda: begun)
    await asyncio.sleep(4 * departures.TICK_SECONDS)
    watch = departures.current()
    assert not watch.young
    assert not watch.old
    waiting = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}  # type: ignore[union-attr]
    assert "Departure.watch" not in waiting
    writer.close()
    await until(lambda: ended == ["cancelled"])


async def test_client_that_stays_is_answered_though_another_left(port: int) -> None:
    _, leaving = await asyncio.open_connection("127.0.0.1", port)
    reader, staying = await asyncio.open_connection("127.0.0.1", port)
    leaving.write(GET)
    await until(lambda: begun)
    body = b'{"a": 1}'
    staying.write(POST % len(body) + body[:3])
    leaving.close()
    await until(lambda: ended == ["cancelled"])
    staying.write(body[3:])
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 3)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert await reader.readexactly(15) == b'{"got":{"a":1}}'
    staying.close()


async def test_client_that_leaves_in_the_middle_of_its_body_is_not_served(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(POST % 10 + b"{")
    await asyncio.sleep(0.05)
    writer.close()
    await asyncio.sleep(0.1)
    assert not begun


async def test_connection_serves_on_after_an_answer(port: int) -> None:
    """What would cancel the last request is forgotten with it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(POST % 2 + b"{}")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(10) == b'{"got":{}}'
    writer.close()
    await asyncio.sleep(0.05)
    assert begun == ["post"] * 3
