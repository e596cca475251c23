"""What only a socket can send: heads without end, conflicting lengths, bytes that are no HTTP."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

import asgi
from app.ops.protocols import MAX_HEAD_BYTES
from app.rest.test import APIClient
from tests.servers import serving

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]


@pytest_asyncio.fixture(loop_scope="session")
async def port(transaction: None) -> AsyncIterator[int]:
    async with serving(asgi.application) as (_, port):
        yield port


async def exchange(port: int, *pieces: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Send the pieces; the answers until the server closes, or 0.3 s pass without a byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)
        async with asyncio.timeout(4):
            while chunk := await asyncio.wait_for(reader.read(2**16), 0.3 if received else 3):
                received += chunk
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return parse(received)


def parse(received: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    answers = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
        length = int(headers.get("content-length", len(received)))
        body, received = received[:length], received[length:]
        answers.append((int(first.split()[1]), headers, body))
    return answers


GET = b"GET /api/v1/ HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /api/v1/hosts/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LARGE = b"a" * MAX_HEAD_BYTES
HEADS = [
    [GET + b"X: " + LARGE + b"\r\n\r\n"],
    [GET + b"X: ", *[b"a" * 4096] * 20],  # it never ends
    [GET, *[b"X-%d: a\r\n" % number * 100 for number in range(100)]],
    [b"GET /?" + LARGE + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    [GET + LARGE],
    [GET + b"Cookie: a=" + LARGE + b"\r\n\r\n", b"rest"],
]


@pytest.mark.parametrize("pieces", HEADS)
async def test_head_without_end_is_431_and_the_connection_ends(
    port: int, pieces: list[bytes]
) -> None:
    answers = await exchange(port, *pieces)
    assert answers, "the connection was reset before the answer came"
    status, headers, body = answers[0]
    assert (status, headers["connection"], len(answers)) == (431, "close", 1)
    assert "64" in json.loads(body)["detail"] or "65536" in json.loads(body)["detail"]


async def test_trailers_without_end_end_the_connection(port: int) -> None:
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: "
    answers = await exchange(port, head, *[b"a" * 4096] * 20)
    assert {status for status, _, _ in answers} <= {401, 431}


async def test_head_just_below_the_limit_is_read(port: int) -> None:
    pieces = [GET + b"X: " + LARGE[: -len(GET) - 100], b"\r\n\r\n"]
    assert [status for status, _, _ in await exchange(port, *pieces)] == [200]


async def test_long_body_behind_a_short_head_is_no_head(port: int) -> None:
    body = b"[" + b" " * 300_000 + b"]"
    head = POST + b"Content-Length: %d\r\n\r\n" % len(body)
    assert [status for status, _, _ in await exchange(port, head + body)] == [401]


BROKEN = [
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],  # TLS to a port without
    [b"nonsense\r\n\r\n"],
    [b"FOO / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    [b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n"],
    [b"GET \xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    [GET + b"A B: c\r\n\r\n"],
    [GET + b": c\r\n\r\n"],
    [GET + b"X: a\x00b\r\n\r\n"],
    [GET + b"X: a\r\n folded\r\n\r\n"],
    [POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    [POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n"],
    [POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"],
    [POST + b"Content-Length: -1\r\n\r\n{}"],
    [POST + b"Content-Length: +2\r\n\r\n{}"],
    [POST + b"Content-Length: abc\r\n\r\n{}"],
    [POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}"],
    [POST + b"Transfer-Encoding: gzip\r\n\r\n"],
    [POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"],
]


@pytest.mark.parametrize("pieces", BROKEN)
async def test_what_is_no_http_is_400_and_the_connection_ends(
    port: int, pieces: list[bytes]
) -> None:
    status, headers, body = (await exchange(port, *pieces))[-1]
    assert (status, headers["connection"]) == (400, "close")
    assert json.loads(body)["detail"]


@pytest.mark.parametrize("size", [b"zz", b"-1", b"ffffffffffffffffff"])
async def test_chunk_of_no_size_is_refused(port: int, size: bytes) -> None:
    answers = await exchange(port, POST + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n")
    assert {status for status, _, _ in answers} <= {400, 401}
    assert answers


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GET + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 200),
        (b"GET /api/v1/%ff/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /api/v1/%00/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /api/v1/?%ff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /api/v1/?a=\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET //api//v1/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET http://localhost/api/v1/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET /api/v1/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"TRACE /api/v1/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /api/v1/ HTTP/1.1\r\n\r\n", 200),
        (b"GET /api/v1/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /api/v1/ HTTP/1.0\r\n\r\n", 200),
        (GET + b"Range: bytes=a-b\r\nExpect: nonsense\r\nX: \xff\xfe\r\n\r\n", 200),
        (POST + b"Content-Length: 0\r\nExpect: 100-continue\r\n\r\n", 401),
    ],
)  # fmt: skip
async def test_odd_request_has_a_proper_answer(port: int, request_: bytes, status: int) -> None:
    assert (await exchange(port, request_))[-1][0] == status


async def test_bomb_is_refused_unread(port: int, writer: APIClient) -> None:
    bomb = gzip.compress(b" " * 2**22)
    head = POST + b"Authorization: " + writer._credentials["HTTP_AUTHORIZATION"].encode()
    head += b"\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    status, headers, body = (await exchange(port, head + bomb))[0]
    assert (status, headers["accept-encoding"]) == (415, "identity")
    assert b"Content-Encoding" in body


async def test_websocket_is_refused_where_a_server_offers_it() -> None:
    sent = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, str]) -> None:
        sent.append(message)

    await asgi.application({"type": "websocket", "path": "/"}, receive, send)
    assert sent == [{"type": "websocket.close"}]
