"""Clients that take their time, by real sockets: with a head they may not, with a body they may."""

import asyncio
import json
import time
from typing import Any

import pytest

import asgi
from app.rest.test import APIClient
from tests.ops.test_protocols import GET, POST, parse
from tests.servers import serving

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

#: The setting, as a test can wait for it.
SECONDS = 0.25


@pytest.fixture(autouse=True)
def limit(settings: Any) -> None:
    settings.REQUEST_HEAD_SECONDS = SECONDS


async def converse(
    port: int, *pieces: bytes | float
) -> tuple[list[tuple[int, dict[str, str], bytes]], float]:
    """Send each piece of bytes, wait where there is a number; the answers and how long it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    received = asyncio.create_task(reader.read())
    try:
        for piece in pieces:
            if received.done():
                break
            if isinstance(piece, bytes):
                writer.write(piece)
            else:
                await asyncio.wait([received], timeout=piece)
        try:
            answers = parse(await asyncio.wait_for(received, 3))
        except ConnectionError:
            answers = []
        return answers, time.monotonic() - began
    finally:
        writer.close()


def dripped(text: bytes, pause: float = 0.02) -> list[bytes | float]:
    return [piece for byte in text for piece in (bytes([byte]), pause)]


CLOSE = b"Connection: close\r\n"
LATE: list[list[bytes | float]] = [
    dripped(GET + b"X: " + b"a" * 200),
    [GET],
    [b"G"],
    [b"\r\n"],
    [GET + b"\r\n", 0.02, GET],
    [GET + b"\r\n", 0.02, *dripped(GET)],
    [POST + b"Content-Length: 2\r\n\r\n", 0.02, b"{}", 0.02, GET],  # its 401 came before its body
]


@pytest.mark.parametrize("pieces", LATE)
async def test_head_that_is_late_is_408_and_the_connection_ends(
    pieces: list[bytes | float],
) -> None:
    async with serving(asgi.application) as (_, port):
        answers, seconds = await converse(port, *pieces)
    statuses = [status for status, _, _ in answers]
    assert statuses[-1] == 408
    assert set(statuses[:-1]) <= {200, 401}
    _, headers, body = answers[-1]
    assert (headers["connection"], headers["content-type"]) == ("close", "application/json")
    assert json.loads(body)["detail"].endswith("what takes its time belongs in the body.")
    assert SECONDS * 0.9 < seconds < SECONDS + 2


async def test_connection_that_sends_nothing_is_closed_without_a_word() -> None:
    async with serving(asgi.application) as (_, port):
        answers, seconds = await converse(port)
    assert answers == []
    assert SECONDS * 0.9 < seconds < SECONDS + 2


async def test_no_bound_is_kept_where_none_is_set(settings: Any) -> None:
    settings.REQUEST_HEAD_SECONDS = 0
    async with serving(asgi.application) as (_, port):
        answers, _ = await converse(port, SECONDS * 2, GET, SECONDS * 2, CLOSE + b"\r\n")
    assert [status for status, _, _ in answers] == [200]


async def test_idle_connection_is_kept_alive_by_uvicorns_own_clock() -> None:
    async with serving(asgi.application) as (_, port):
        answers, _ = await converse(
            port, GET + b"\r\n", SECONDS * 2, GET + b"\r\n", SECONDS * 2, GET + CLOSE + b"\r\n"
        )
        assert [status for status, _, _ in answers] == [200] * 3
    async with serving(asgi.application, timeout_keep_alive=0.1) as (_, port):
        answers, seconds = await converse(port, GET + b"\r\n")
    assert [status for status, _, _ in answers] == [200]
    assert seconds < SECONDS


async def test_idle_time_counts_from_the_last_answer_and_the_last_that_came() -> None:
    async with serving(asgi.application, timeout_keep_alive=0.2) as (_, port):
        often: list[bytes | float] = [GET + b"\r\n", 0.12] * 4
        answers, seconds = await converse(port, *often, 3.0)
    assert [status for status, _, _ in answers] == [200] * 4
    assert 0.36 + 0.2 * 0.9 < seconds < 0.36 + 0.2 + 1
    # Nor is a connection forgotten that sent an empty line before a request whose head is known.
    async with serving(asgi.application, timeout_keep_alive=0.2) as (_, port):
        request = GET + b"\r\n"
        answers, seconds = await converse(port, request, 0.05, b"\r\n", 0.05, request, 3.0)
    assert [status for status, _, _ in answers] == [200] * 2
    assert seconds < 2
    # Refused before its body came, which goes on coming.
    upload: list[bytes | float] = [POST + b"Content-Length: 6\r\n\r\n", *[b"1", 0.12] * 5, b"1"]
    async with serving(asgi.application, timeout_keep_alive=0.2) as (_, port):
        answers, _ = await converse(port, *upload, GET + CLOSE + b"\r\n")
    assert [status for status, _, _ in answers] == [401, 200]


async def test_connection_that_is_gone_leaves_no_timer() -> None:
    async with serving(asgi.application, timeout_keep_alive=600) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + b"\r\n")
        while not server.server_state.total_requests:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)
        (connection,) = server.server_state.connections
        timer = connection.timeout_keep_alive_task
        assert not timer.cancelled()
        writer.close()
        while server.server_state.connections:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert timer.cancelled()


async def test_head_in_pieces_within_the_time_is_read() -> None:
    async with serving(asgi.application) as (_, port):
        head = GET + CLOSE + b"\r\n"
        answers, _ = await converse(port, head[:5], 0.01, head[5:30], 0.01, head[30:])
    assert [status for status, _, _ in answers] == [200]


PAUSE = SECONDS * 1.5


@pytest.mark.parametrize(
    "body",
    [
        [b"Content-Length: 2\r\n\r\n", PAUSE, b"{", PAUSE, b"}"],
        [b"Transfer-Encoding: chunked\r\n\r\n", PAUSE, b"2\r", PAUSE, b"\n{}\r\n0\r\n\r\n"],
        [b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", PAUSE, b"\r\n"],
    ],
)
async def test_body_may_take_its_time(writer: APIClient, body: list[bytes | float]) -> None:
    head = POST + CLOSE + b"Authorization: " + writer._credentials["HTTP_AUTHORIZATION"].encode()
    async with serving(asgi.application) as (_, port):
        answers, _ = await converse(port, head + b"\r\n", *body)
    assert [status for status, _, _ in answers] == [400]
    assert b"This field is required." in answers[0][2]


async def test_answer_may_take_its_time_whatever_is_sent_meanwhile() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(SECONDS * 3)
        await send({"type": "http.response.start", "status": 200,
                    "headers": [(b"content-length", b"0")]})  # fmt: skip
        await send({"type": "http.response.body", "body": b""})

    async with serving(application) as (_, port):
        answers, _ = await converse(port, GET + b"\r\n", 0.02, b"\r\n" + GET)
    assert [status for status, _, _ in answers] == [200, 408]
