"""Requests that arrive when they arrive, whether or not earlier ones were answered (an open loop).

A generator that waits for an answer before it asks again sends less when the server is slow, and so
measures its best moments (coordinated omission). Here each request has a moment at which it is due,
and its latency counts from there, also while it waits for a free connection.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

TICK_SECONDS = 0.0005
DRAIN_SECONDS = 10.0


@dataclass
class Arrivals:
    """What came of the requests: latencies in seconds by status, in the order of the answers."""

    seconds: float
    due: int = 0
    latencies: dict[int, list[float]] = field(default_factory=dict)
    answered_in_time: dict[int, int] = field(default_factory=dict)
    """Answers within `seconds`, the time from when the load had settled to the last arrival."""
    without_retry_after: int = 0
    broken: int = 0

    def per_second(self, *statuses: int) -> float:
        """Answers in time of these statuses; of all, when none is named."""
        found = self.answered_in_time
        return sum(found[status] for status in statuses or found if status in found) / self.seconds

    def percentile_ms(self, share: float, status: int = 200) -> float:
        found = sorted(self.latencies.get(status, []))
        return found[min(len(found) - 1, int(len(found) * share))] * 1e3 if found else float("nan")


def moments(rate: float, seconds: float, *, is_random: bool) -> Iterator[float]:
    """When requests are due, in seconds from the start: at even distances, or as strangers come
    (a Poisson process).
    """
    chance, at = random.Random(11), 0.0
    while True:
        at += chance.expovariate(rate) if is_random else 1 / rate
        if at >= seconds:
            return
        yield at


async def send(
    port: int,
    requests: Sequence[bytes],
    due: Iterator[float],
    seconds: float,
    connections: int,
    *,
    settle_seconds: float = 0.0,
) -> Arrivals:
    """Send the requests in turn, each when it is due, over at most so many connections. What is
    counted by the second is counted once `settle_seconds` of them are over.
    """
    loop = asyncio.get_running_loop()
    result = Arrivals(seconds - settle_seconds)
    waiting: deque[tuple[float, bytes]] = deque()
    idle: list[_Connection] = []
    for _ in range(connections):
        _, connection = await loop.create_connection(
            lambda: _Connection(result, waiting, idle), "127.0.0.1", port
        )
        idle.append(connection)
    opened = list(idle)
    started = time.perf_counter()
    for one in opened:
        one.since, one.until = started + settle_seconds, started + seconds
    for number, moment in enumerate(due):
        delay = started + moment - time.perf_counter()
        if delay > TICK_SECONDS:
            await asyncio.sleep(delay)
        result.due += 1
        waiting.append((started + moment, requests[number % len(requests)]))
        if idle:
            idle.pop().ask()
        elif number % 64 == 0:
            await asyncio.sleep(0)
    deadline = time.perf_counter() + DRAIN_SECONDS
    while len(idle) < len(opened) and time.perf_counter() < deadline:
        await asyncio.sleep(0.01)
        opened = [one for one in opened if not one.is_lost]
    result.broken += len(waiting) + len(opened) - len(idle)
    for one in opened:
        one.transport.close()
    await asyncio.sleep(0)
    return result


class _Connection(asyncio.Protocol):
    """One request at a time; takes the next that is due as soon as it has its answer."""

    transport: asyncio.Transport

    def __init__(
        self,
        result: Arrivals,
        waiting: deque[tuple[float, bytes]],
        idle: list["_Connection"],
    ) -> None:
        self.result, self.waiting, self.idle = result, waiting, idle
        self.since = self.until = 0.0
        self.due = 0.0
        self.request = self.buffer = b""
        self.is_busy = self.is_lost = self.has_served = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self) -> None:
        self.due, self.request = self.waiting.popleft()
        self.is_busy = True
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        _, _, after = head.partition(b"content-length: ")
        length = int(after.split(b"\r\n", 1)[0] or 0)
        if len(self.buffer) < end + 4 + length:
            return
        self.buffer = b""
        self._note(int(head[9:12]), head)
        self.is_busy, self.has_served = False, True
        if self.waiting:
            self.ask()
        else:
            self.idle.append(self)

    def _note(self, status: int, head: bytes) -> None:
        now, result = time.perf_counter(), self.result
        result.latencies.setdefault(status, []).append(now - self.due)
        if self.since <= now < self.until:
            result.answered_in_time[status] = result.answered_in_time.get(status, 0) + 1
        if status == 503 and b"\r\nretry-after: " not in head:
            result.without_retry_after += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self.is_busy and self.has_served and not self.buffer:
            # Closed as idle while the request was on its way: HTTP clients send it again (RFC 9112,
            # 9.3.1).
            self.waiting.appendleft((self.due, self.request))
            if self.idle:
                self.idle.pop().ask()
        elif self.is_busy:
            self.result.broken += 1
        elif self in self.idle:
            self.idle.remove(self)
