"""The whole agent: a source, an API over HTTP, and what becomes of them while it runs."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from app.agent.agents import Agent, Pace
from app.agent.clients import Client
from app.agent.containers import Containers
from app.agent.engines import Engine
from app.agent.observations import Container, Host, Observation, Sample
from app.agent.sources import Source, SourceUnavailableError
from tests.agent.apis import Api, until
from tests.agent.engines import FakeEngine

PACE = Pace(interval=0.05, first_sample=0.01, settle=0.02, source_backoff=0.1, flush=2.0)


class Machine:
    """A source of the test's own: containers by name, a counter for time."""

    def __init__(self) -> None:
        self.names = ["a", "b"]
        self.is_gone = False
        self.taken = 0
        self.observed: list[bool] = []
        self.changed = asyncio.Event()

    async def observe(self, *, full: bool) -> Observation:
        self._check()
        self.observed.append(full)
        host = Host(name="vm", cpus=2.0, memory_bytes=2**30, engine="docker", engine_version="20")
        containers = [Container(engine_id=each, name=each, state="running") for each in self.names]
        at = "2026-11-23T20:00:00.000+00:00"
        return Observation(host=host, observed_at=at, images=[], containers=containers)

    async def sample(self) -> list[Sample]:
        self._check()
        self.taken += 1
        return [Sample(name, f"{self.taken:06d}", 0.1, 1) for name in self.names]

    async def changes(self) -> AsyncGenerator[None, None]:
        while True:
            await self.changed.wait()
            self.changed.clear()
            self._check()
            yield

    async def close(self) -> None:
        pass

    def _check(self) -> None:
        if self.is_gone:
            raise SourceUnavailableError("the machine is out")


def agent_tasks() -> list[str]:
    """The tasks of agents that run; the API's server has tasks of its own."""
    names = [str(task.get_coro()) for task in asyncio.all_tasks()]
    return [name for name in names if "Agent." in name or "Delivery." in name]


@asynccontextmanager
async def running(source: Source, api: Api, pace: Pace = PACE) -> AsyncGenerator[Agent, None]:
    """An agent that runs during the block, and is told to stop at its end."""
    client = Client(api.url, "stw_ab_secret")
    agent = Agent(
        source=source,
        reporter=client,
        pace=pace,
        buffer_samples=1_000,
        source_name="engine",
        draw=lambda: 0.01,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(agent.run(stop))
    try:
        yield agent
    finally:
        stop.set()
        await asyncio.wait_for(task, 4)
        await client.close()
        await source.close()


@pytest_asyncio.fixture
async def api():
    api = Api()
    await api.start()
    yield api
    await api.stop()


@pytest.mark.asyncio
async def test_what_is_measured_is_stored_and_on_stop_nothing_is_left(api):
    machine = Machine()
    async with running(machine, api) as agent:
        await until(lambda: len(api.usage) >= 10)
    assert len(api.usage) == 2 * machine.taken
    assert (len(agent.outbox), agent.outbox.dropped) == (0, 0)


@pytest.mark.asyncio
async def test_api_that_stops_and_starts_again_has_lost_nothing(api, caplog):
    machine = Machine()
    with caplog.at_level(logging.INFO, "app.agent"):
        async with running(machine, api):
            await until(lambda: len(api.usage) >= 4)
            await api.stop()
            taken = machine.taken
            await until(lambda: machine.taken >= taken + 5)
            await api.start()
            await until(lambda: len(api.usage) >= 2 * machine.taken - 2)
    assert len(api.usage) == 2 * machine.taken
    told = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith("API not available") for line in told) <= 2
    assert sum(line.startswith("API back after") for line in told) == 1


@pytest.mark.asyncio
async def test_change_leads_to_an_observation_and_the_new_containers_samples(api):
    machine = Machine()
    async with running(machine, api):
        await until(lambda: api.usage)
        machine.names.append("late")
        machine.changed.set()
        await until(lambda: "late" in api.ids)
        await until(lambda: any(each == api.ids["late"] for each, _ in api.usage))
    assert machine.observed[:2] == [True, False]
    assert len(machine.observed) == 2


@pytest.mark.asyncio
async def test_full_list_is_made_again_as_time_goes_by(api):
    machine = Machine()
    pace = Pace(interval=0.05, first_sample=0.01, relist=0.05)
    async with running(machine, api, pace):
        await until(lambda: len(api.observations) >= 3)
    assert set(machine.observed) == {True}


@pytest.mark.asyncio
async def test_changes_without_end_do_not_put_off_the_full_list(api):
    machine = Machine()
    pace = Pace(interval=0.05, first_sample=0.01, settle=0.01, relist=0.1)
    async with running(machine, api, pace):
        async with asyncio.timeout(4):
            while machine.observed.count(True) < 3:
                machine.changed.set()
                await asyncio.sleep(0.005)
    assert machine.observed.count(False) > 2


@pytest.mark.asyncio
async def test_source_that_is_gone_is_told_once_and_found_again(api, caplog):
    machine = Machine()
    with caplog.at_level(logging.INFO, "app.agent"):
        async with running(machine, api):
            await until(lambda: api.usage)
            machine.is_gone = True
            machine.changed.set()
            await asyncio.sleep(0.5)
            machine.is_gone = False
            count = len(api.usage)
            await until(lambda: len(api.usage) > count and len(api.observations) >= 2)
    told = [record.getMessage() for record in caplog.records if "engine" in record.getMessage()]
    assert [line.partition(":")[0] for line in told] == [
        "engine connected",
        "engine not available",
        told[2].partition(":")[0],
    ]
    assert told[2].startswith("engine back after")


@pytest.mark.asyncio
async def test_error_that_nobody_foresaw_ends_the_agent_and_all_its_tasks(api):
    class Broken(Machine):
        async def sample(self) -> list[Sample]:
            raise ZeroDivisionError

    client = Client(api.url, "stw_ab_secret")
    agent = Agent(source=Broken(), reporter=client, pace=PACE, buffer_samples=10)
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(agent.run(asyncio.Event()), 4)
    await client.close()
    assert caught.group_contains(ZeroDivisionError)
    assert agent_tasks() == []


@pytest.mark.asyncio
async def test_cancelled_agent_is_cancelled_and_leaves_no_task(api):
    client = Client(api.url, "stw_ab_secret")
    machine = Machine()
    agent = Agent(source=machine, reporter=client, pace=PACE, buffer_samples=10)
    task = asyncio.create_task(agent.run(asyncio.Event()))
    await until(lambda: machine.taken > 2)
    assert len(agent_tasks()) == 5
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await client.close()
    assert agent_tasks() == []


@pytest.mark.asyncio
async def test_engine_that_restarts_is_listed_anew_with_what_changed_meanwhile(api, tmp_path):
    engine = FakeEngine(tmp_path / "docker.sock")
    await engine.start()
    engine.run("a")
    try:
        async with running(Containers(Engine(engine.url)), api):
            await until(lambda: api.usage)
            await engine.stop()
            engine.run("b")
            del engine.containers["a"]
            await asyncio.sleep(0.2)
            await engine.start()
            await until(lambda: "b" in api.ids)
            await until(lambda: any(each == api.ids["b"] for each, _ in api.usage))
        assert [each["engine_id"] for each in api.observations[-1]["containers"]] == ["b"]
    finally:
        await engine.stop()
