"""Watchers of a real API process that is killed and stopped: each event once, in order, resumed."""

import asyncio
import contextlib
import re
import signal
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from app.accounts import services as accounts
from app.fleet import services as fleet
from app.fleet.models import Event
from tests.agent.test_end_to_end import Server
from tests.servers import until

WATCHERS = 100

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.timeout(90),  # a process starts three times, and a hundred clients come back
]


@dataclass
class Watcher:
    """A client of server-sent events on a bare socket, which comes back as EventSource does."""

    port: int
    token: str
    position: int
    seen: list[int] = field(default_factory=list)
    returns: int = 0

    async def run(self) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self.watch()
            self.returns += 1
            await asyncio.sleep(0.1)

    async def watch(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(
                f"GET /api/v1/events/?watch=true HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Authorization: Bearer {self.token}\r\nAccept: text/event-stream\r\n"
                f"Last-Event-ID: {self.position}\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n")[0]:
                return  # it starts, or goes: 503
            while True:
                block = (await reader.readuntil(b"\n\n")).decode()
                number = re.search(r"^id: (\d+)$", block, re.MULTILINE)
                if number and "event: " not in block:
                    self.position = int(number[1])
                    self.seen.append(self.position)
        finally:
            writer.close()


@pytest_asyncio.fixture(loop_scope="session")
async def token(committed: None) -> str:
    user = await accounts.create_user(username="watchers")
    _, text = await accounts.create_token(user=user, name="watch", scopes=["read"])
    return text


async def test_each_event_comes_once_and_in_order_across_kill_and_stop(token: str) -> None:
    server = Server()
    await server.start()
    watchers = [Watcher(server.port, token, await last_position()) for _ in range(WATCHERS)]
    tasks = [asyncio.create_task(one.run()) for one in watchers]
    try:
        for round_, number in enumerate((signal.SIGKILL, signal.SIGTERM)):
            await change(f"before-{round_}", 5)
            await until(lambda: any(one.seen for one in watchers), 20)
            writing = asyncio.create_task(change(f"while-{round_}", 20))
            await server.stop(number)
            await writing
            await server.start()
        await change("after", 5)
        last = await last_position()
        await until(lambda: all(one.position == last for one in watchers), 40)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.stop()
    told = [
        position
        async for position in Event.objects.order_by("position").values_list("position", flat=True)
    ]
    assert len(told) == 55
    assert [one.seen for one in watchers] == [told] * WATCHERS
    assert min(one.returns for one in watchers) >= 2


async def last_position() -> int:
    newest = await Event.objects.order_by("-position").afirst()
    return newest.position or 0 if newest else 0


async def change(name: str, times: int) -> None:
    for number in range(times):
        await fleet.create_workload(name=f"{name}-{number}", image="x")
        await asyncio.sleep(0.02)
