"""What watchers and idle connections cost one worker, and how quickly an event reaches all.

    python -m load.watch
    python -m load.watch --watchers 200 --idle 500

Starts a PostgreSQL under var/watch/ and one worker on loopback, and stops both. Memory is the
worker's proportional set (PSS), before and after, over the number of connections; each kind meets a
worker of its own, so that none moves into memory that another has left.
"""

import argparse
import asyncio
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg

from app.ops import embedded
from load.memory import pss_bytes
from settings import env

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var" / "watch" / "postgres"
EVENTS = 10


async def connect(port: int, head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
    writer.write(head.encode())
    return reader, writer


def client_of(port: int, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}/api/v1",
        headers={"Authorization": f"Bearer {token}", "Host": "localhost"},
        timeout=60,
    )


def head_of(path: str, token: str) -> str:
    return (
        f"GET /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    )


async def measure_watchers(port: int, pid: int, token: str, watchers: int) -> None:
    watch = head_of("events/?format=sse", token)
    async with client_of(port, token) as client:
        for _ in range(200):
            await client.get("/hosts/")
        open_ones = []
        before = pss_bytes(pid)
        for _ in range(watchers):
            reader, writer = await connect(port, watch)
            await reader.readuntil(b'data: {"position"')
            open_ones.append((reader, writer))
        await asyncio.sleep(1)
        each = (pss_bytes(pid) - before) / watchers / 1000
        print(f"{watchers} watchers: {each:.1f} KB each", flush=True)
        delays = []
        for number in range(EVENTS):
            mark = f'"load-{number}"'.encode()
            waiting = [asyncio.create_task(one.readuntil(mark)) for one, _ in open_ones]
            await asyncio.sleep(0.2)
            await client.post("/workloads/", json={"name": f"load-{number}", "image": "x"})
            answered_at = time.perf_counter()
            await asyncio.gather(*waiting)
            delays.append(max(0.0, time.perf_counter() - answered_at) * 1000)
        print(
            f"an event has reached all of them {sorted(delays)[EVENTS // 2]:.0f} ms after its"
            f" writer was answered (median of {EVENTS}; worst {max(delays):.0f} ms)",
            flush=True,
        )
        for _, writer in open_ones:
            writer.close()


async def measure_idle(port: int, pid: int, token: str, idle: int) -> None:
    async with client_of(port, token) as client:
        for _ in range(200):
            await client.get("/hosts/")
    before = pss_bytes(pid)
    kept = []
    for _ in range(idle):
        reader, writer = await connect(port, head_of("hosts/", token))
        await reader.readuntil(b'"results":[]}')
        kept.append((reader, writer))
    await asyncio.sleep(1)
    each = (pss_bytes(pid) - before) / idle / 1000
    print(f"{idle} idle keep-alive connections: {each:.1f} KB each", flush=True)
    for _, writer in kept:
        writer.close()


@contextmanager
def worker(environment: dict[str, str]) -> Iterator[tuple[int, int]]:
    """One worker, alone: its port and process."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "asgi:application", "--fd", str(listener.fileno()),
         "--loop", "uvloop", "--http", "app.ops.protocols:BoundedProtocol",
         "--log-level", "warning",
         "--timeout-keep-alive", "600", "--timeout-graceful-shutdown", "5"],
        cwd=ROOT, env=environment, pass_fds=[listener.fileno()],
    )  # fmt: skip
    try:
        port = listener.getsockname()[1]
        wait_until_ready(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(30)
        listener.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, default=2000)
    parser.add_argument("--idle", type=int, default=5000)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    url = embedded.start(VAR)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    environment = env.inherited(
        DATABASE_URL=url,
        DJANGO_SETTINGS_MODULE="settings.production",
        SECRET_KEY="a-secret-key-for-a-load-run-" + "0123456789" * 4,
        ALLOWED_HOSTS="localhost,127.0.0.1",
        SECURE_SSL_REDIRECT="0",
        DRAIN_SECONDS="0",
    )

    def manage(*words: str) -> str:
        command = [sys.executable, "manage.py", *words]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.strip()

    manage("migrate", "-v0")
    manage("create_administrator")
    token = manage("create_token", "--user", "admin", "--scope", "read", "--scope", "write")
    try:
        with worker(environment) as (port, pid):
            asyncio.run(measure_watchers(port, pid, token, options.watchers))
        with worker(environment) as (port, pid):
            asyncio.run(measure_idle(port, pid, token, options.idle))
    finally:
        embedded.stop(VAR)
    return 0


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError("The worker is not ready.")


if __name__ == "__main__":
    sys.exit(main())
