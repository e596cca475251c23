"""Watchers of samples of a real API process that is killed again and again while agents send: each
sample that is stored is told once, in the same order to all, resumed by Last-Event-ID.
"""

import asyncio
import signal
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio

from app.accounts import services as accounts
from app.fleet import services as fleet
from app.fleet import usage_journal
from app.fleet.models import Usage
from tests.adversity.watchers import Watcher, following
from tests.agent.test_end_to_end import Server
from tests.fleet.samples import container, report
from tests.servers import until

WATCHERS, SENDERS, CONTAINERS, KILLS = 20, 3, 50, 3
BEGAN_AT = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
PATIENCE_SECONDS = 60.0

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.packages,  # clients of a process that is started anew
    pytest.mark.timeout(180),
    pytest.mark.blocks("The server is another process; to guard the clients' steps costs seconds."),
]


@pytest_asyncio.fixture(loop_scope="session")
async def token(committed: None) -> str:
    user = await accounts.create_user(username="watchers", is_superuser=True)
    _, text = await accounts.create_token(user=user, name="all", scopes=["read", "agent"])
    return text


@pytest_asyncio.fixture(loop_scope="session")
async def ids(token: str) -> list[list[int]]:
    """Containers of a host for each sender."""
    found = []
    for number in range(SENDERS):
        ones = [container(f"{number}-{one}") for one in range(CONTAINERS)]
        body = report(*ones, name=f"h{number}", observed_at=BEGAN_AT)
        found.append(list((await fleet.observe_host(**body)).containers.values()))
    return found


class Sender:
    """As an agent does, it sends a batch again until it is acknowledged."""

    def __init__(self, url: str, token: str, ids: list[int]) -> None:
        self.url = f"{url}/api/v1/usage/"
        self.headers = {"Authorization": f"Bearer {token}", "Host": "127.0.0.1"}
        self.ids = ids
        self.sent = 0
        self.repeated = 0
        self.is_over = False

    async def run(self) -> None:
        async with httpx.AsyncClient(headers=self.headers, timeout=20) as http:
            while not self.is_over:
                at = (BEGAN_AT + timedelta(seconds=self.sent)).isoformat()
                await self._send(http, at)
                self.sent += 1
                await asyncio.sleep(0.1)

    async def _send(self, http: httpx.AsyncClient, at: str) -> None:
        body = [
            {"container": pk, "at": at, "cpu_cores": pk % 8, "memory_bytes": pk} for pk in self.ids
        ]
        while True:
            try:
                answer = await http.post(self.url, json=body)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code < 300:
                return
            assert answer is None or answer.status_code == 503, answer.text
            self.repeated += 1
            await asyncio.sleep(0.05)


async def test_each_sample_is_told_once_across_kills(token: str, ids: list[list[int]]) -> None:
    server = Server()
    await server.start()
    start = await usage_journal.last_position()
    watchers = [Watcher(server.port, token, start, path="usage/") for _ in range(WATCHERS)]
    senders = [Sender(server.url, token, each) for each in ids]
    try:
        async with following(watchers), asyncio.TaskGroup() as tasks:
            for sender in senders:
                tasks.create_task(sender.run())
            for _ in range(KILLS):
                before = [len(one.told) for one in watchers]
                await until(
                    lambda before=before: all(
                        len(one.told) > count for one, count in zip(watchers, before, strict=True)
                    ),
                    PATIENCE_SECONDS,
                )
                await server.stop(signal.SIGKILL)
                await server.start()
            counts = [sender.sent for sender in senders]
            await until(
                lambda: all(
                    one.sent > count + 3 for one, count in zip(senders, counts, strict=True)
                ),
                PATIENCE_SECONDS,
            )
            for sender in senders:
                sender.is_over = True
        stored = sorted([(one.container_id, one.at) async for one in Usage.objects.all()])
        async with following(watchers):
            await until(
                lambda: all(len(one.told) >= len(stored) for one in watchers), PATIENCE_SECONDS
            )
    finally:
        await server.stop()
    assert len(stored) == sum(sender.sent for sender in senders) * CONTAINERS
    for one in watchers:
        told = [(each["container"], datetime.fromisoformat(each["at"])) for each in one.told]
        assert sorted(told) == stored
        assert one.seen == watchers[0].seen == sorted(set(one.seen))
        assert one.returns >= KILLS
    assert all(sender.repeated for sender in senders)
