"""Answers on the wire: byte for byte uvicorn's own, a whole one in a single write."""

import asyncio
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.ops import cycles
from app.ops.protocols import BoundedProtocol
from tests.servers import serving

pytestmark = pytest.mark.asyncio

LENGTH = (b"Content-Length", b"5")
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
START, BODY = "http.response.start", "http.response.body"


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": START, "status": status, "headers": list(headers)}


def body(content: bytes = b"hello", **more: bool) -> dict[str, Any]:
    return {"type": BODY, "body": content, **more}


WHOLE = [start((b"X-Frame-Options", b"DENY"), LENGTH), body()]
ANSWERS: dict[str, list[Any]] = {
    "whole": WHOLE,
    "many headers": [start(*[(b"X-%d" % n, b"\xe9 %d" % n) for n in range(40)], LENGTH), body()],
    "same header twice": [start((b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), LENGTH), body()],
    "no body": [start((b"content-length", b"0"), status=204), {"type": BODY}],
    "304": [start((b"etag", b'"1"'), status=304), {"type": BODY, "body": b""}],
    "an unknown status": [start(LENGTH, status=299), body()],
    "no length": [start(), body()],
    "in two pieces": [start((b"content-length", b"10")), body(more_body=True), body()],
    "chunked": [start((b"transfer-encoding", b"chunked")), body(more_body=True), body(b"")],
    "to be closed": [start(LENGTH, (b"Connection", b"close")), body()],
    "to be kept": [start(LENGTH, (b"Connection", b"keep-alive")), body()],
    "too short": [start((b"content-length", b"6")), body()],
    "too long": [start((b"content-length", b"4")), body()],
    "a length that is none": [start((b"content-length", b"many")), body()],
    "two lengths": [start(LENGTH, LENGTH), body()],
    "a name that is none": [start((b"X Y", b"1"), LENGTH), body()],
    "a value that is none": [start((b"X", b"1\r\nY: 2"), LENGTH), body()],
    "a fault before the head": [ZeroDivisionError()],
    "a fault before the body": [start(LENGTH), ZeroDivisionError()],
    "a fault in the body": [start((b"content-length", b"9")), body(more_body=True), OSError()],
    "no end": [start(LENGTH)],
    "no beginning": [],
    "two heads": [start(LENGTH), start(LENGTH), body()],
    "no head": [body()],
    "more than one answer": [*WHOLE, *WHOLE],
}
REQUESTS = {
    "GET": GET,
    "HEAD": GET.replace(b"GET", b"HEAD"),
    "HTTP/1.0": GET.replace(b"1.1", b"1.0"),
    "the last": GET.replace(b"Host", b"Connection: close\r\nHost"),
    "two at once": GET + GET,
    "100-continue": b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
}


async def answered(protocol: Any, answer: list[Any], request: bytes) -> bytes:
    """The bytes of a server that answers so, until it ends the connection or says no more."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        for message in answer:
            if isinstance(message, Exception):
                raise message
            await send(message)

    return await received_of(protocol, application, request)


async def received_of(protocol: Any, application: Any, request: bytes) -> bytes:
    received = b""
    async with serving(application, http=protocol, date_header=False) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        try:
            while chunk := await asyncio.wait_for(reader.read(2**16), 0.1 if received else 3):
                received += chunk
        except TimeoutError:
            received += b"<open>"
        except ConnectionResetError:
            received += b"<reset>"
        writer.close()
    return received


# What must differ: uvicorn has sent the head by then. Here nothing of the answer is out yet, so
# that the client is told of the fault.
TOLD = {"a fault before the body", "no end", "too long", "too short"}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("request_", REQUESTS)
async def test_answers_are_uvicorns_own(answer: str, request_: str) -> None:
    messages, request = ANSWERS[answer], REQUESTS[request_]
    ours = await answered(BoundedProtocol, messages, request)
    theirs = await answered(HttpToolsProtocol, messages, request)
    if answer in TOLD and ours != theirs:
        assert ours.startswith((b"HTTP/1.1 500 ", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 "))
    else:
        assert ours == theirs


async def test_whole_answer_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    complete = cycles.Cycle._complete

    def noting(cycle: Any, whole: bytes) -> None:
        written.append(whole)
        complete(cycle, whole)

    monkeypatch.setattr(cycles.Cycle, "_complete", noting)
    received = await answered(BoundedProtocol, WHOLE, GET + GET)
    assert len(written) == 2
    assert received == b"".join(written) + b"<open>"


async def test_lines_that_are_remembered_are_bounded() -> None:
    for number in range(cycles.MOST_LINES + 10):
        cycles._line(b"x-%d" % number, b"x-%d" % number, b"1")
    assert max(len(cycles._lines), len(cycles._names)) <= cycles.MOST_LINES
    before = len(cycles._lines)
    cycles._line(b"etag", b"etag", b"1")
    assert len(cycles._lines) == before


def pairs(*more: tuple[str, str]) -> list[tuple[str, str]]:
    return [("Content-Type", "text/plain"), *more, ("Content-Length", "5")]


AT_ONCE: dict[str, tuple[int, list[tuple[str, str]], bytes]] = {
    "whole": (200, pairs(("X-Frame-Options", "DENY"), ("RateLimit", '"user";r=1;t=2')), b"hello"),
    "many headers": (200, pairs(*[(f"X-{n}", f"\xe9 {n}") for n in range(40)]), b"hello"),
    "same header twice": (200, pairs(("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")), b"hello"),
    "an unknown status": (299, pairs(), b"hello"),
    "204": (204, [("ETag", '"1"')], b""),
    "204 with a length": (204, [("Content-Length", "0")], b""),
    "304": (304, [("ETag", '"1"')], b""),
    "304 with a length": (304, [("Content-Length", "0")], b""),
    "no length": (200, [("ETag", '"1"')], b"hello"),
    "two lengths": (200, pairs(("Content-Length", "5")), b"hello"),
    "a length in another case": (200, [("content-length", "5")], b"hello"),
    "chunked": (200, [("Transfer-Encoding", "chunked")], b"hello"),
    "to be closed": (200, pairs(("Connection", "close")), b"hello"),
    "to be kept": (200, pairs(("Connection", "keep-alive")), b"hello"),
    "a name that is none": (200, pairs(("X Y", "1")), b"hello"),
    "a value that is none": (200, pairs(("X", "1\r\nY: 2")), b"hello"),
}
SENT_AT_ONCE = {
    "whole", "many headers", "same header twice", "an unknown status", "204", "304",
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "request_"),
    [*((answer, "GET") for answer in AT_ONCE), *(("whole", request) for request in REQUESTS)],
)
async def test_answers_at_once_are_uvicorns_own(answer: str, request_: str) -> None:
    status, given, content = AT_ONCE[answer]
    was_sent: list[bool] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        at_once = getattr(send.__self__, "answer_at_once", None)
        if at_once is not None:
            was_sent.append(at_once(status, given, content))
        if at_once is None or not was_sent[-1]:
            headers = [(name.encode("latin1"), value.encode("latin1")) for name, value in given]
            await send(start(*headers, status=status))
            await send(body(content))

    request = REQUESTS[request_]
    ours = await received_of(BoundedProtocol, application, request)
    assert was_sent
    is_whole = answer in SENT_AT_ONCE
    if request_ in {"GET", "two at once", "100-continue"}:
        assert was_sent == [is_whole] * len(was_sent)
    else:
        assert not any(was_sent)
    assert ours == await received_of(HttpToolsProtocol, application, request)


async def test_what_latin1_can_not_say_is_not_sent_at_once() -> None:
    refused: list[bool] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        refused.append(send.__self__.answer_at_once(200, pairs(("X", "\u20ac")), b"hello"))
        refused.append(send.__self__.answer_at_once(200, pairs(("\u20ac", "x")), b"hello"))
        await send(WHOLE[0])
        await send(WHOLE[1])

    received = await received_of(BoundedProtocol, application, GET)
    assert refused == [False, False]
    assert received.endswith(b"hello<open>")


async def test_the_servers_own_headers_change_with_the_moment() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        send.__self__.default_headers = [(b"date", scope["path"].encode())]
        assert send.__self__.answer_at_once(200, pairs(), b"hello")

    received = await received_of(
        BoundedProtocol, application, GET + GET.replace(b"/ HTTP", b"/b HTTP")
    )
    assert received.index(b"date: /\r\n") < received.index(b"date: /b\r\n")
