"""Throttles that count in a real Redis (Debian's redis-server), which comes and goes."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.rest.throttling import MemoryStore, RedisStore
from tests.running import free_port

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.packages,
    pytest.mark.timeout(30),
]


class Redis:
    """A redis-server on loopback that keeps nothing on disk."""

    def __init__(self, directory: Path) -> None:
        program = shutil.which("redis-server")
        assert program, "redis-server is not installed. On Debian: apt install redis-server."
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if b"Ready to accept connections" in line:
                return
        raise AssertionError("redis-server ended before it was ready")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.communicate(timeout=10)
            self.process = None


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def workers(redis: Redis) -> AsyncIterator[list[RedisStore]]:
    """Three workers' stores, as each container has its own."""
    stores = [RedisStore(redis.url, meanwhile=MemoryStore()) for _ in range(3)]
    yield stores
    for store in stores:
        await store.close()


async def hits(stores: list[RedisStore], count: int, *, limit: int, now: float) -> list[bool]:
    """`count` requests of one client that come together, over all workers in turn."""
    answers = await asyncio.gather(
        *(stores[number % len(stores)].hit("one", limit, 60, now) for number in range(count))
    )
    return [allowed for allowed, _ in answers]


async def test_workers_count_together_and_no_request_slips_through(
    workers: list[RedisStore],
) -> None:
    allowed = await hits(workers, 60, limit=10, now=1000.0)
    assert sum(allowed) == 10
    assert sum(await hits(workers, 30, limit=10, now=1059.9)) == 0
    assert sum(await hits(workers, 30, limit=10, now=1060.0)) == 10


async def test_what_is_told_of_the_limit_is_what_redis_knows(workers: list[RedisStore]) -> None:
    first, second, _ = workers
    await first.hit("one", 5, 60, 1000.0)
    allowed, history = await second.hit("one", 5, 60, 1010.0)
    assert (allowed, len(history), history[-1]) == (True, 2, 1000.0)


async def test_keys_end_with_their_window(workers: list[RedisStore]) -> None:
    await workers[0].hit("one", 5, 60, time.time())
    (key,) = await workers[0].client.keys("*")
    assert 55_000 < await workers[0].client.pttl(key) <= 60_000


async def test_redis_that_goes_and_comes_back_is_used_again(
    redis: Redis, workers: list[RedisStore], caplog: pytest.LogCaptureFixture
) -> None:
    (store, *_) = workers
    store.RETRY_SECONDS = 0.2  # type: ignore[misc]
    assert sum(await hits([store], 3, limit=5, now=1000.0)) == 3
    redis.stop()
    assert sum(await hits([store], 20, limit=5, now=1001.0)) == 5, "alone, it has its own count"
    started = time.perf_counter()
    await hits([store], 500, limit=5, now=1002.0)
    assert time.perf_counter() - started < 0.5, "no request waits for a Redis that is gone"
    redis.start()
    await asyncio.sleep(0.3)
    assert sum(await hits([store], 20, limit=5, now=1003.0)) == 5, "this Redis began anew"
    assert caplog.text.count("cannot be reached") == 1
    assert caplog.text.count("is back") == 1
