"""More requests than a worker takes, by real sockets: which are refused before the application."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from app.ops import known_heads
from app.rest import shedding
from app.rest.shedding import Shedding
from tests.ops.test_protocols import parse
from tests.servers import serving, until

pytestmark = pytest.mark.asyncio

GET = b"GET /hosts/?page=2 HTTP/1.1\r\nHost: a\r\n\r\n"
PLACES = 2


class Application:
    """Answers when it is told to; `came`: the requests that reached it, or were refused in it."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.came: list[str] = []
        self.shedding = Shedding(self.serve, limit=PLACES, exempt={"/healthz"})

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.came.append(f"{scope['method']} {scope['path']}")
        await self.shedding(scope, receive, send)

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/healthz":
            await self.answers.wait()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


class Full:
    """A server all of whose places are taken."""

    def __init__(self, application: Application, port: int) -> None:
        self.application = application
        self.port = port
        self.before = shedding.counts.shed

    @property
    def shed(self) -> int:
        return shedding.counts.shed - self.before

    async def ask(self, *requests: bytes) -> list[tuple[int, dict[str, str], bytes]]:
        """Over one connection, all at once; what is answered within a moment."""
        async with self.connected() as (reader, writer):
            writer.write(b"".join(requests))
            return await read(reader)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()


async def read(reader: asyncio.StreamReader) -> list[tuple[int, dict[str, str], bytes]]:
    received = b""
    with contextlib.suppress(TimeoutError):
        while chunk := await asyncio.wait_for(reader.read(2**16), 0.1):
            received += chunk
    return parse(received)


@pytest_asyncio.fixture(loop_scope="session")
async def full() -> AsyncIterator[Full]:
    before = shedding.counts.limit, shedding.counts.exempt
    known_heads._heads.clear()
    known_heads._heads_with_body.clear()
    application = Application()
    async with serving(application, server_header=False) as (_, port):
        server = Full(application, port)
        taking = [asyncio.create_task(server.ask(GET)) for _ in range(PLACES)]
        await until(lambda: shedding.counts.under_way == PLACES)
        application.came.clear()
        try:
            yield server
        finally:
            application.answers.set()
            await asyncio.gather(*taking)
    await until(lambda: shedding.counts.under_way == 0)
    shedding.counts.bound(*before)


async def test_plain_request_is_refused_before_the_application(full: Full) -> None:
    ((status, headers, body),) = await full.ask(GET)
    assert (status, headers["retry-after"], full.application.came) == (503, "1", [])
    assert "again" in json.loads(body)["detail"]
    assert (headers["content-type"], full.shed) == ("application/json", 1)
    assert "date" in headers


async def test_connection_is_kept_and_served_once_there_is_room(full: Full) -> None:
    async with full.connected() as (reader, writer):
        writer.write(GET)
        assert [status for status, _, _ in await read(reader)] == [503]
        full.application.answers.set()
        await until(lambda: shedding.counts.under_way == 0)
        writer.write(GET)
        assert [status for status, _, _ in await read(reader)] == [200]


async def test_several_on_one_connection_are_each_refused_in_order(full: Full) -> None:
    answers = await full.ask(GET, GET, GET)
    assert [status for status, _, _ in answers] == [503] * 3
    assert full.shed == 3


async def test_probe_is_let_in(full: Full) -> None:
    ((status, _, body),) = await full.ask(GET.replace(b"/hosts/?page=2", b"/healthz?x=1"))
    assert (status, body, full.application.came) == (200, b"ok", ["GET /healthz"])


async def test_probe_behind_a_refusal_is_answered_second(full: Full) -> None:
    probe = GET.replace(b"/hosts/?page=2", b"/healthz")
    assert [status for status, _, _ in await full.ask(GET, probe, GET)] == [503, 200, 503]


@pytest.mark.parametrize("cut", [1, 6, 20, len(GET) - 1])
async def test_one_that_comes_in_pieces_is_refused_once_it_is_whole(full: Full, cut: int) -> None:
    async with full.connected() as (reader, writer):
        writer.write(GET[:cut])
        await writer.drain()
        assert await read(reader) == []
        writer.write(GET[cut:] + GET)
        assert [status for status, _, _ in await read(reader)] == [503, 503]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", {400, 503}),
        (b"GET / HTTP/1.1\r\nHost a\r\n\r\n", {400, 503}),
        (b"GET /a\r\n HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
        (b"GET / HTTP/2.7\r\nHost: a\r\n\r\n", {400}),
        (b"GET /" + b"x" * 2**16 + b" HTTP/1.1\r\nHost: a\r\n\r\n", {431}),
        (b"GET http://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n", {200, 503}),
        (b"GET / HTTP/1.1\nHost: a\n\n", {503, 400}),
        (b"GET / HTTP/1.1\r\nHost: a\rContent-Length: 2\r\n\r\n", {400}),
        (b"GET / HTTP/1.1\r\nHost: a\r\n Content-Length: 2\r\n\r\n", {400, 503}),
    ],
)
async def test_odd_ones_are_answered_as_ever(full: Full, request_: bytes, status: set[int]) -> None:
    assert (await full.ask(request_))[0][0] in status


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        GET.replace(b"1.1", b"1.0"),
        b"GET / HTTP/1.1\r\nHost: a\r\nCONTENT-LENGTH : 2\r\n\r\n{}".replace(b" :", b":"),
        b"GET / HTTP/1.1\r\nconnection: Close\r\nHost: a\r\n\r\n",
    ],
)
async def test_others_are_refused_by_the_application(full: Full, request_: bytes) -> None:
    ((status, headers, _),) = await full.ask(request_)
    assert (status, headers["retry-after"], full.shed) == (503, "1", 1)
    assert len(full.application.came) == 1


POST = b"POST /hosts/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"


async def test_known_heads_are_refused_before_the_application_with_their_bodies(full: Full) -> None:
    async with full.connected() as (reader, writer):
        for request, status, came in (
            (GET.replace(b"/hosts/?page=2", b"/healthz"), 200, 1),
            (GET, 503, 1),  # of the same headers
            (GET.replace(b"/hosts/?page=2", b"/healthz"), 200, 2),
            (POST % (2, b"{}"), 503, 3),
            (POST % (8, b'{"a": 1}'), 503, 3),
            (POST.replace(b"/hosts/", b"/healthz") % (2, b"{}"), 200, 4),
        ):
            writer.write(request)
            ((found, headers, _),) = await read(reader)
            assert (found, len(full.application.came)) == (status, came)
            assert found == 200 or headers["retry-after"] == "1"
        # What is more or less than one request is read as ever.
        writer.write(POST % (2, b"{}") + GET)
        assert [status for status, _, _ in await read(reader)] == [503, 503]
        writer.write(POST % (3, b"{}"))
        assert [status for status, _, _ in await read(reader)] == [503]
        writer.write(b" " + GET)
        assert [status for status, _, _ in await read(reader)] == [503]
    assert full.shed == 7


async def test_head_is_refused_without_a_body(full: Full) -> None:
    async with full.connected() as (reader, writer):
        writer.write(GET.replace(b"GET", b"HEAD"))
        received = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
        assert received.startswith(b"HTTP/1.1 503 ")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
