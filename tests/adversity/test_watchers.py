"""Watchers of a real API process that is killed and stopped: each event once, in order, resumed."""

import asyncio
import random
import resource
import signal

import pytest
import pytest_asyncio

from app.accounts import services as accounts
from app.fleet import services as fleet
from app.fleet.models import Event
from tests.adversity.watchers import Watcher, following
from tests.agent.test_end_to_end import Server
from tests.servers import until

PATIENCE_SECONDS = 60.0
"""How long a thousand take to come back on a machine that is busy; on a quiet one, some seconds."""

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.packages,  # a thousand clients of a process that is started anew
    pytest.mark.timeout(180),
    pytest.mark.blocks("The server is another process; to guard the clients' steps costs seconds."),
]


@pytest_asyncio.fixture(loop_scope="session")
async def token(committed: None) -> str:
    user = await accounts.create_user(username="watchers")
    _, text = await accounts.create_token(user=user, name="watch", scopes=["read"])
    return text


@pytest.fixture(autouse=True)
def files() -> None:
    """A socket is a file; the server inherits the limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.mark.parametrize(
    ("number", "count"), [(signal.SIGKILL, 1000), (signal.SIGTERM, 200)], ids=["killed", "stopped"]
)
async def test_each_event_comes_once_and_in_order_across_a_restart(
    token: str, number: signal.Signals, count: int
) -> None:
    server = Server()
    await server.start()
    watchers = [Watcher(server.port, token, await last_position()) for _ in range(count)]
    try:
        async with following(watchers):
            await change("before", 5)
            await all_at_last(watchers)
            writing = asyncio.create_task(change("while", 20))
            await asyncio.sleep(0.1)
            await server.stop(number)
            await writing
            await server.start()
            await change("after", 5)
            await all_at_last(watchers)
    finally:
        await server.stop()
    told = [
        position
        async for position in Event.objects.order_by("position").values_list("position", flat=True)
    ]
    assert len(told) == 30
    assert all(one.seen == told for one in watchers)
    assert all(one.returns for one in watchers)


class Roaming(Watcher):
    """Comes back to another worker each time, as behind a balancer."""

    others: tuple[int, ...] = ()

    async def watch(self) -> None:
        self.port = random.choice(self.others)
        await super().watch()


async def test_each_event_comes_once_and_in_order_across_a_failover(token: str) -> None:
    """Two workers at once, killed in turn while events are written: whoever watched the one goes on
    at the other, which is as far, behind or ahead.
    """
    servers = [Server(), Server()]
    for server in servers:
        await server.start()
    ports = tuple(server.port for server in servers)
    watchers = [Roaming(ports[0], token, await last_position()) for _ in range(100)]
    for one in watchers:
        one.others = ports
    is_over = False

    async def write() -> int:
        count = 0
        while not is_over:
            await fleet.create_workload(name=f"w{count}", image="x")
            count += 1
            await asyncio.sleep(0.01)
        return count

    try:
        async with following(watchers):
            writing = asyncio.create_task(write())
            for number in (0, 1, 0):
                before = [one.position for one in watchers]
                await until(
                    lambda before=before: all(
                        one.position > was for one, was in zip(watchers, before, strict=True)
                    ),
                    PATIENCE_SECONDS,
                )
                await servers[number].stop(signal.SIGKILL)
                await asyncio.sleep(1.0)  # the other serves alone
                await servers[number].start()
            is_over = True
            count = await writing
            await all_at_last(watchers)
    finally:
        for server in servers:
            await server.stop()
    told = [
        position
        async for position in Event.objects.order_by("position").values_list("position", flat=True)
    ]
    assert len(told) >= count  # conditions, too
    assert all(one.seen == told for one in watchers)
    assert sum(one.returns for one in watchers) >= 100


async def last_position() -> int:
    newest = await Event.objects.order_by("-position").afirst()
    return newest.position or 0 if newest else 0


async def all_at_last(watchers: list[Watcher]) -> None:
    last = await last_position()
    await until(lambda: all(one.position == last for one in watchers), PATIENCE_SECONDS)


async def change(name: str, times: int) -> None:
    for number in range(times):
        await fleet.create_workload(name=f"{name}-{number}", image="x")
        await asyncio.sleep(0.02)
