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
