"""Heads that were read before: a request whose headers are known says what it says when parsed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.ops import known_heads
from app.ops.protocols import BoundedProtocol
from app.rest.shedding import LET_IN
from tests.servers import serving, until

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\n"
HEADERS = b"Host: a\r\nAccept: */*\r\nX-Two: 1\r\nX-Two: \xe9\r\n\r\n"
PLAIN = [
    "/",
    "/a/b/?x=1&y=%20",
    "/a%2Fb%C3%A9?q",
    "/?",
    "/a?b?c",
    "/~a/.;=,:@!$&'()*+-_",
    "/%",
    "/%zz",
]
ODD = ["//a/b", "/a#b", "/a?b#c", "http://h/x", "/a[1]", "/a?b=[1]", "/a|b", "/a\\b"]


@pytest.fixture(autouse=True)
def _nothing_is_known() -> Iterator[None]:
    heads = known_heads._heads, known_heads._heads_with_body
    for one in heads:
        one.clear()
    yield
    for one in heads:
        one.clear()


async def answer(send: Any) -> None:
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


class Application:
    """Answers at once, or when told to; keeps what it was asked."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.messages: list[Any] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.messages.append(await receive())
        await self.may_answer.wait()
        await answer(send)


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.005)

    async def answers(self, seconds: float = 0.1) -> int:
        """How many come before it is quiet."""
        received = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while chunk := await asyncio.wait_for(self.reader.read(2**16), seconds):
                received += chunk
        return received.count(OK)

    async def ask(self, request: bytes) -> None:
        self.writer.write(request)
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 2)
        assert head.startswith(OK), head
        await self.reader.readexactly(2)


@contextlib.asynccontextmanager
async def connected(
    application: Application, **options: Any
) -> AsyncIterator[tuple[Connection, list[bytes]]]:
    """A connection, and the paths of requests that were not parsed."""
    begun: list[bytes] = []
    begin = BoundedProtocol._begin

    def noting(self: Any, known: known_heads.Known) -> None:
        begun.append(known[1])
        begin(self, known)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BoundedProtocol, "_begin", noting)
        async with serving(application, **options) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                yield Connection(reader, writer), begun
            finally:
                writer.close()


async def begun_behind(first: bytes, *others: bytes) -> list[bytes]:
    """The paths of those that were not parsed of what comes behind a first request."""
    async with connected(Application()) as (connection, begun):
        await connection.ask(first)
        await connection.send(*others)
        await connection.answers()
    return begun


def get(target: str, headers: bytes = HEADERS) -> bytes:
    return f"GET {target} HTTP/1.1\r\n".encode() + headers


def post(
    target: str, body: bytes, name: bytes = b"Content-Length", method: bytes = b"POST"
) -> bytes:
    length = b"%b: %d\r\nX-Last: 1\r\n\r\n" % (name, len(body))
    return b"%b %b HTTP/1.1\r\nHost: a\r\n%b%b" % (method, target.encode(), length, body)


def told(scope: Any) -> Any:
    return {name: value for name, value in scope.items() if name not in {LET_IN, "client"}}


@pytest.mark.parametrize("root_path", ["", "/api"])
@pytest.mark.parametrize("target", PLAIN)
async def test_a_request_says_what_it_says_when_parsed(target: str, root_path: str) -> None:
    ours, theirs = Application(), Application()
    async with connected(ours, root_path=root_path) as (connection, begun):
        for _ in range(3):
            await connection.ask(get(target))
    assert len(begun) == 2
    async with connected(theirs, root_path=root_path, http=HttpToolsProtocol) as (connection, _):
        await connection.ask(get(target))
    expected = told(theirs.scopes[0]) | {"server": ours.scopes[0]["server"]}
    assert [told(scope) for scope in ours.scopes] == [expected] * 3
    assert ours.messages == [{"type": "http.request", "body": b"", "more_body": False}] * 3


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length"])
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH"])
async def test_a_request_with_a_body_says_what_it_says_when_parsed(
    method: bytes, name: bytes
) -> None:
    bodies = [b"12", b"12", b"", b"a" * 2000, b"b" * 40_000, get("/x"), post("/x", b"1")]
    requests = [post("/a?b=1", body, name, method) for body in bodies]
    ours, theirs = Application(), Application()
    async with connected(ours) as (connection, begun):
        for request in requests:
            await connection.ask(request)
    assert begun == [b"/a"] * (len(bodies) - 1)
    async with connected(theirs, http=HttpToolsProtocol) as (connection, _):
        for request in requests:
            await connection.ask(request)
    there = {"server": ours.scopes[0]["server"]}
    assert [told(scope) for scope in ours.scopes] == [
        told(scope) | there for scope in theirs.scopes
    ]
    assert ours.messages == theirs.messages
    assert [message["body"] for message in ours.messages] == bodies


@pytest.mark.parametrize(
    "request_",
    [
        post("/", b"12") + b"3",
        post("/", b"12")[:-1],
        post("/", b"12").replace(b": 2", b": 02 "),
        post("/", b"12").replace(b": 2", b": +2"),
        post("/", b"12").replace(b": 2", b": 2, 2"),
        post("/", b"12").replace(b": 2", b":2"),
        post("/", b"12").replace(b": 2", b": "),
        post("/", b"12").replace(b"X-Last: 1", b"Content-Length: 2"),
        post("/", b"12").replace(b"X-Last: 1", b"Content-Length: 1"),
        post("/", b"12").replace(b"X-Last: 1", b"X-Last: 2"),
        post("/", b"12").replace(b"Host: a\r\n", b""),
        post("/", b"12").replace(b"Host: a", b"Host: a\r\nTransfer-Encoding: chunked"),
        post("/", b"12", method=b"GET"),
        post("/", b"12", method=b"DELETE"),
        post("/", b"12", b"CONTENT-LENGTH"),
        post("/", b"a" * (known_heads.LONGEST_BODY + 1)),
        post("/", b"12") + post("/", b"12"),
        b"POST / HTTP/1.1\r\nHost: a\r\nX-Last: 1\r\n\r\n",
    ],
)
async def test_a_body_of_which_anything_is_odd_is_parsed(request_: bytes) -> None:
    assert await begun_behind(post("/", b"12"), request_) == []


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n1",
        b"Content-Length: 1\r\nConnection: close\r\n\r\n1",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 1\r\nX: " + b"a" * known_heads.LONGEST + b"\r\n\r\n1",
        b"X: Content-Length: 1\r\n\r\n",
        b"\r\n",
    ],
)
async def test_what_says_more_of_a_body_is_not_kept(headers: bytes) -> None:
    request = b"POST / HTTP/1.1\r\nHost: a\r\n" + headers
    for _ in range(2):
        async with connected(Application()) as (connection, begun):
            await connection.send(request)
            await connection.answers()
    assert begun == []
    assert known_heads._heads_with_body == {}


async def test_a_body_in_pieces_is_neither_kept_nor_known() -> None:
    application = Application()
    async with connected(application) as (connection, begun):
        await connection.send(post("/a", b"12")[:-1], post("/a", b"12")[-1:])
        assert await connection.answers() == 1
        assert known_heads._heads_with_body == {}
        await connection.ask(post("/b", b"12"))
        await connection.send(post("/c", b"12")[:-2], post("/c", b"12")[-2:])
        assert await connection.answers() == 1
    assert begun == []
    assert [scope["path"] for scope in application.scopes] == ["/a", "/b", "/c"]


@pytest.mark.parametrize("target", ODD)
async def test_a_target_that_is_not_plain_is_parsed(target: str) -> None:
    assert await begun_behind(get("/"), get(target)) == []


@pytest.mark.parametrize(
    "request_",
    [
        get("/").replace(b"GET", b"HEAD"),
        get("/").replace(b"GET", b"DELETE"),
        get("/").replace(b"GET", b"get"),
        get("/").replace(b"1.1", b"1.0"),
        get("/").replace(b" HTTP", b"  HTTP"),
        get("/").replace(b"GET ", b"GET  "),
        get("/").replace(b"1.1\r\n", b"1.1\n"),
        get("/").replace(b"1.1\r\n", b"1.1 \r\n"),
        get("/") + get("/"),
        get("/") + b"\r\n",
        b"\r\n" + get("/"),
        get("/").replace(b"Accept", b"accept"),
        get("/\xe9"),
    ],
)
async def test_what_differs_by_a_byte_is_parsed(request_: bytes) -> None:
    assert await begun_behind(get("/"), request_) == []


@pytest.mark.parametrize(
    "headers",
    [
        b"Host: a\r\nConnection: keep-alive\r\n\r\n",
        b"Host: a\r\nContent-Length: 0\r\n\r\n",
        b"Host: a\r\nExpect: 100-continue\r\n\r\n",
        b"Host: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nX: " + b"a" * known_heads.LONGEST + b"\r\n\r\n",
    ],
)
async def test_what_says_more_of_the_connection_is_not_kept(headers: bytes) -> None:
    async with connected(Application()) as (connection, begun):
        for _ in range(2):
            await connection.send(get("/", headers))
            await connection.answers()
    assert begun == []
    assert known_heads._heads == {}


async def test_a_request_in_pieces_is_neither_kept_nor_known() -> None:
    application = Application()
    async with connected(application) as (connection, begun):
        await connection.send(get("/a")[:30], get("/a")[30:])
        assert await connection.answers() == 1
        assert known_heads._heads == {}
        await connection.ask(get("/b"))
        for cut in (5, 25, len(get("/c")) - 1):
            await connection.send(get("/c")[:cut], get("/c")[cut:])
            assert await connection.answers() == 1
    assert begun == []
    assert [scope["path"] for scope in application.scopes] == ["/a", "/b", "/c", "/c", "/c"]


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    application = Application()
    async with connected(application) as (connection, begun):
        await connection.ask(get("/0"))
        application.may_answer.clear()
        await connection.send(get("/1"), get("/2"))
        await until(lambda: len(application.scopes) == 2)
        application.may_answer.set()
        assert await connection.answers() == 2
    assert [scope["path"] for scope in application.scopes] == ["/0", "/1", "/2"]
    assert begun == [b"/1"]


async def test_a_body_that_reads_like_a_known_request_is_a_body() -> None:
    """Sent after the answer, which did not wait for it."""
    paths: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])
        await answer(send)

    body = get("/stolen")
    async with connected(application) as (connection, begun):  # type: ignore[arg-type]
        await connection.ask(get("/first"))
        await connection.ask(b"POST /post HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
        await connection.send(body)
        assert await connection.answers() == 0
        await connection.ask(get("/last"))
    assert paths == ["/first", "/post", "/last"]
    assert begun == [b"/last"]


async def test_after_an_upgrade_that_was_asked_for_nothing_is_known() -> None:
    upgrade = b"Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert await begun_behind(get("/"), get("/", upgrade), get("/")) == []


async def test_each_request_has_headers_of_its_own() -> None:
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(list(scope["headers"]))
        scope["headers"].append((b"x-added", b"1"))
        scope["headers"].pop(0)
        scope["state"]["added"] = True
        await answer(send)

    async with connected(application) as (connection, begun):  # type: ignore[arg-type]
        for _ in range(4):
            await connection.ask(get("/"))
    assert len(begun) == 3
    assert all(one == seen[0] for one in seen)


async def test_who_waits_for_the_client_to_leave_is_told() -> None:
    messages: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        messages.append((await receive())["type"])
        if scope["path"] == "/wait":
            messages.append((await receive())["type"])
            return
        await answer(send)
        messages.append((await receive())["type"])

    async with connected(application) as (connection, begun):  # type: ignore[arg-type]
        for _ in range(2):
            await connection.ask(get("/"))
        await connection.send(get("/wait"))
        await asyncio.sleep(0.05)
        assert messages[-1] == "http.request"
        connection.writer.close()
        await until(lambda: messages[-1] == "http.disconnect")
    assert len(begun) == 2
    assert messages == ["http.request", "http.disconnect"] * 3


async def test_heads_that_are_kept_are_bounded_and_the_oldest_goes_first() -> None:
    requests = [
        get("/", b"Host: a\r\nX: %d\r\n\r\n" % number) for number in range(known_heads.MOST + 10)
    ]
    for number, request in enumerate(requests):
        known_heads.remember(request, [(b"host", b"a"), (b"x", b"%d" % number)])
    assert len(known_heads._heads) == known_heads.MOST
    assert known_heads.recall(requests[0]) is None
    assert known_heads.recall(requests[-1]) is not None


async def test_what_the_parser_folded_or_left_out_is_not_kept() -> None:
    """As many lines as headers, or it was no plain head."""
    folded = get("/", b"Host: a\r\nX: b\r\n c\r\n\r\n")
    known_heads.remember(folded, [(b"host", b"a"), (b"x", b"b c")])
    assert known_heads._heads == {}
