"""Clients that stop reading, on a real API process whose memory is looked at from outside."""

import asyncio
import socket

import pytest
import pytest_asyncio

from app import db
from app.accounts import services as accounts
from load.memory import pss_bytes
from tests.adversity.watchers import Watcher, following
from tests.agent.test_end_to_end import Server
from tests.servers import until

SLOW = 20
EVENTS, BYTES = 150, 40_000
MOST_BYTES_EACH = 1_000_000
"""256 KiB that wait for a client, 64 KiB of the transport's, and what Python needs beside them."""

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.packages,  # a process of the API, and what it holds
    pytest.mark.timeout(120),
    pytest.mark.blocks("The server is another process; its memory is read from files."),
]


@pytest_asyncio.fixture(loop_scope="session")
async def token(committed: None) -> str:
    user = await accounts.create_user(username="watchers")
    _, text = await accounts.create_token(user=user, name="watch", scopes=["read"])
    return text


async def stalled(port: int, token: str) -> socket.socket:
    """A connection that asks for events, and reads none."""
    loop = asyncio.get_running_loop()
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await loop.sock_connect(raw, ("127.0.0.1", port))
    lines = ["GET /api/v1/events/?watch=true HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"Authorization: Bearer {token}", "Accept: text/event-stream", "", ""]
    await loop.sock_sendall(raw, "\r\n".join(lines).encode())
    return raw


async def is_cut_off(raw: socket.socket) -> bool:
    """Reads on: True when the connection was reset, with nothing of what the server had to send."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(5):
            while await loop.sock_recv(raw, 65536):
                pass
    except ConnectionResetError:
        return True
    return False


async def test_clients_that_stop_reading_cost_bounded_memory_and_are_dropped(token: str) -> None:
    server = Server()
    await server.start()
    assert server.process is not None
    pid = server.process.pid
    quick = Watcher(server.port, token, 0)
    try:
        async with following([quick]):
            await happen(1)
            await until(lambda: len(quick.seen) == 1, 20)
            await happen(5)  # what sending a large event needs is there before
            await until(lambda: len(quick.seen) == 6, 20)
            slow = [await stalled(server.port, token) for _ in range(SLOW)]
            await asyncio.sleep(1)
            before, most = pss_bytes(pid), 0
            for turn in range(EVENTS // 5):
                await happen(5)
                await until(lambda turn=turn: len(quick.seen) == 11 + 5 * turn, 20)
                most = max(most, pss_bytes(pid))
            assert most - before < SLOW * MOST_BYTES_EACH
            assert [await is_cut_off(raw) for raw in slow] == [True] * SLOW
            for raw in slow:
                raw.close()
            assert not quick.returns
    finally:
        await server.stop()


async def happen(count: int) -> None:
    await db.execute(
        "INSERT INTO fleet_event (kind, object_type, object_id, data) SELECT 'host.updated',"
        " 'host', n, jsonb_build_object('text', repeat('x', %s)) FROM generate_series(1, %s) n",
        BYTES,
        count,
    )
