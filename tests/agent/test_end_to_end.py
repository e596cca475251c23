"""The agent and the real API: uvicorn as a process, PostgreSQL, tokens, everything stored once."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from django.db import connections

from app.accounts import services as accounts
from app.accounts.models import User
from app.agent.agents import Agent, Pace
from app.agent.clients import Client
from app.agent.observations import Container, Host, Image, Observation, Sample, moment
from app.agent.processes import Processes
from app.agent.sources import Source
from app.fleet import models
from settings import env
from tests.agent.apis import until
from tests.running import ROOT, free_port

PACE = Pace(interval=0.1, first_sample=0.05, settle=0.05, source_backoff=0.2, flush=5.0)

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(40)]


class Fleet:
    """A source of known behaviour: every sample that it gave is remembered."""

    def __init__(self, host_name: str = "dock-1") -> None:
        self.host_name = host_name
        self.names = ["web", "db"]
        self.given: list[Sample] = []
        self.changed = asyncio.Event()

    def engine_id(self, name: str) -> str:
        return f"id-of-{name}" if self.host_name == "dock-1" else f"{self.host_name}-{name}"

    async def observe(self, *, full: bool) -> Observation:
        host = Host(
            name=self.host_name,
            cpus=4.0,
            memory_bytes=2**33,
            engine="docker",
            engine_version="29.0",
            labels={"rack": "r7"},
        )
        image = Image(reference="web:1", digest="sha256:" + "a" * 64, size_bytes=1_000)
        containers = [
            Container(
                engine_id=self.engine_id(name),
                name=name,
                state="running",
                image=image.reference,
                image_digest=image.digest,
                cpu_limit=0.5,
                memory_reservation_bytes=2**26,
                memory_limit_bytes=2**27,
                started_at=moment(),
            )
            for name in self.names
        ]
        return Observation(host=host, observed_at=moment(), images=[image], containers=containers)

    async def sample(self) -> list[Sample]:
        at = moment()
        samples = [Sample(self.engine_id(name), at, 0.25, 2**25) for name in self.names]
        self.given += samples
        return samples

    async def changes(self) -> Any:
        while True:
            await self.changed.wait()
            self.changed.clear()
            yield

    async def close(self) -> None:
        pass


class Server:
    """The API under uvicorn, which can be stopped, killed and started again on its port."""

    def __init__(self, database: str = "") -> None:
        """On the tests' database, or another by its URL."""
        self.database = database
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = ["-m", "uvicorn", "asgi:application", "--port", str(self.port)]
        quiet = ["--log-level", "warning", "--no-access-log"]
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, *command, *quiet),
            cwd=ROOT,
            env={**env.inherited(), "DATABASE_URL": self.database or database_url()},
        )
        await until_listening(self.port)

    async def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            await asyncio.wait_for(self.process.wait(), 15)
            self.process = None


def database_url() -> str:
    """The test database's address, for another process."""
    settings = connections["default"].settings_dict
    host, port = quote(settings["HOST"], safe=""), settings["PORT"]
    address = f"?host={host}" + (f"&port={port}" if port else "")
    login = settings["USER"] + (f":{quote(settings['PASSWORD'])}" if settings["PASSWORD"] else "")
    return f"postgresql://{login}@/{settings['NAME']}{address}"


async def until_listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(database: None) -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def token(committed: None) -> str:
    user = await accounts.create_user(username="agents", is_superuser=True)
    _, text = await accounts.create_token(user=user, name="dock-1", scopes=["agent"])
    return text


class Runner:
    """Starts an agent against the server, and ends it."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self._ends: list[Callable[[], Awaitable[None]]] = []

    def start(self, source: Source, token: str = "") -> Agent:
        client = Client(self.url, token or self.token)
        agent = Agent(
            source=source, reporter=client, pace=PACE, buffer_samples=10_000, draw=lambda: 0.05
        )
        stop = asyncio.Event()
        task = asyncio.create_task(agent.run(stop))

        async def end() -> None:
            stop.set()
            await asyncio.wait_for(task, 10)
            await client.close()
            await source.close()

        self._ends.append(end)
        return agent

    async def stop(self) -> None:
        while self._ends:
            await self._ends.pop()()


@pytest_asyncio.fixture(loop_scope="session")
async def run(server: Server, token: str, committed: None) -> AsyncIterator[Runner]:
    runner = Runner(server.url, token)
    yield runner
    await runner.stop()


async def stored() -> set[tuple[str, str, float, int]]:
    return {
        (usage.container.engine_id, moment(usage.at), usage.cpu_cores, usage.memory_bytes)
        async for usage in models.Usage.objects.select_related("container")
    }


async def test_what_the_agent_reports_is_what_the_database_holds(run):
    fleet = Fleet()
    agent = run.start(fleet)
    await until(lambda: agent.outbox.acknowledged >= 6, 10)
    await run.stop()
    host = await models.Host.objects.aget()
    assert (host.name, host.cpus, host.engine, host.labels) == (
        *("dock-1", 4.0, "docker"),
        {"rack": "r7"},
    )
    web = await models.Container.objects.select_related("image").aget(name="web")
    assert (web.state, web.cpu_limit, web.memory_limit_bytes) == ("running", 0.5, 2**27)
    assert web.image is not None
    assert web.image.reference == "web:1"
    assert await stored() == set(fleet.given)
    assert agent.outbox.dropped == 0


async def test_sending_again_stores_nothing_twice(run, server, token):
    fleet = Fleet()
    agent = run.start(fleet)
    await until(lambda: agent.outbox.acknowledged >= 4, 10)
    await run.stop()
    client = Client(server.url, token)
    ids = {each.engine_id: each.pk async for each in models.Container.objects.all()}
    again = [(ids[sample.engine_id], sample) for sample in fleet.given]
    answer = await client.record(again)
    await client.close()
    assert (answer.body["stored"], answer.body["duplicates"]) == (0, len(fleet.given))
    assert await models.Usage.objects.acount() == len(fleet.given)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_api_that_goes_and_comes_back_has_lost_nothing(run, server, number):
    fleet = Fleet()
    agent = run.start(fleet)
    await until(lambda: agent.outbox.acknowledged >= 4, 10)
    await server.stop(number)
    given = len(fleet.given)
    await until(lambda: len(fleet.given) >= given + 10, 10)
    fleet.names.append("late")
    fleet.changed.set()
    await until(lambda: sum(each.engine_id == "id-of-late" for each in fleet.given) >= 3, 10)
    fleet.names.remove("late")
    fleet.changed.set()
    await asyncio.sleep(0.3)
    await server.start()
    await until(lambda: agent.outbox.acknowledged >= len(fleet.given) - 2, 20)
    await run.stop()
    assert agent.outbox.dropped == 0
    assert await stored() == set(fleet.given)
    late = await models.Container.objects.aget(name="late")
    assert late.state == "removed"


async def test_several_agents_share_one_api_that_goes_and_comes_back(run, server):
    fleets = [Fleet(f"dock-{number}") for number in range(2, 7)]
    user = await User.objects.aget(username="agents")
    tokens = [
        (
            await accounts.create_token(
                user=user, name=fleet.host_name, scopes=["agent"], host_name=fleet.host_name
            )
        )[1]
        for fleet in fleets
    ]
    agents = [run.start(fleet, token) for fleet, token in zip(fleets, tokens, strict=True)]
    await until(lambda: all(agent.outbox.acknowledged >= 4 for agent in agents), 15)
    await server.stop(signal.SIGKILL)
    await asyncio.sleep(1.0)
    await server.start()
    given = sum(len(fleet.given) for fleet in fleets)
    await until(lambda: sum(agent.outbox.acknowledged for agent in agents) >= given, 20)
    await run.stop()
    skews = [host.clock_skew_seconds async for host in models.Host.objects.all()]
    assert len(skews) == 5
    assert all(skew is not None and abs(skew) < 5 for skew in skews), skews
    assert [agent.outbox.dropped for agent in agents] == [0] * 5
    assert await stored() == {sample for fleet in fleets for sample in fleet.given}


async def test_container_deleted_at_the_api_is_reported_anew(run):
    fleet = Fleet()
    agent = run.start(fleet)
    await until(lambda: agent.outbox.acknowledged >= 4, 10)
    await models.Usage.objects.all().adelete()
    await models.Container.objects.filter(name="web").adelete()
    seen = agent.outbox.acknowledged
    await until(lambda: agent.outbox.acknowledged >= seen + 6, 10)
    await run.stop()
    assert agent.outbox.dropped == 0
    assert await models.Usage.objects.filter(container__name="web").aexists()


async def test_sample_that_is_too_old_is_dropped_and_counted_and_holds_up_nothing(run):
    fleet = Fleet()
    agent = run.start(fleet)
    await until(lambda: agent.outbox.acknowledged >= 4, 10)
    agent.delivery.accept([Sample("id-of-web", "2020-01-01T00:00:00.000+00:00", 0.1, 1)])
    seen = agent.outbox.acknowledged
    await until(lambda: agent.outbox.acknowledged >= seen + 4, 10)
    await run.stop()
    assert agent.outbox.dropped == 1
    assert await stored() == set(fleet.given)


async def test_token_without_the_scope_stores_nothing_and_loses_nothing(run, token):
    user = await accounts.create_user(username="reader", is_superuser=True)
    _, text = await accounts.create_token(user=user, name="reader", scopes=["read"])
    fleet = Fleet()
    agent = run.start(fleet, token=text)
    await until(lambda: agent.delivery.link.is_up is False and len(fleet.given) > 4, 10)
    assert (agent.outbox.dropped, len(agent.outbox)) == (0, len(fleet.given))
    assert await models.Host.objects.acount() == 0


async def test_processes_of_this_machine_are_a_fleet(run):
    agent = run.start(Processes(host_name="this-machine"))
    await until(lambda: agent.outbox.acknowledged >= 6, 10)
    await run.stop()
    host = await models.Host.objects.aget()
    assert (host.name, host.engine) == ("this-machine", "processes")
    assert await models.Container.objects.filter(state="running").acount() >= 1
    assert await models.Usage.objects.filter(memory_bytes__gt=0).aexists()
    assert agent.outbox.dropped == 0
