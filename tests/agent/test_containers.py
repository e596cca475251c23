"""The Docker source against a small engine over a real socket."""

import asyncio
from contextlib import aclosing

import pytest
import pytest_asyncio

from app.agent.containers import Containers, gather_bounded
from app.agent.engines import Engine
from app.agent.sources import SourceUnavailableError
from tests.agent.apis import Api
from tests.agent.engines import FakeEngine


@pytest_asyncio.fixture
async def engine(tmp_path):
    engine = FakeEngine(tmp_path / "docker.sock")
    await engine.start()
    yield engine
    await engine.stop()


@pytest_asyncio.fixture
async def source(engine):
    source = Containers(Engine(engine.url))
    yield source
    await source.close()


@pytest.mark.asyncio
async def test_engine_that_refuses_old_clients_is_asked_in_its_own_version(engine, source):
    assert (await source.observe(full=True)).host.name == "vm"
    engine.version, engine.minimum = "1.60", "1.55"  # upgraded: the version agreed on is too old
    with pytest.raises(SourceUnavailableError, match="too old"):
        await source.observe(full=True)
    assert (await source.observe(full=True)).host.name == "vm"


@pytest.mark.asyncio
async def test_each_container_is_sampled_from_the_second_time_on(engine, source):
    for name in ("a", "b", "c"):
        engine.run(name)
    engine.run("done", Status="exited", Running=False)
    await source.observe(full=True)
    assert await source.sample() == []
    samples = await source.sample()
    assert [sample.engine_id for sample in samples] == ["a", "b", "c"]
    assert {sample.at for sample in samples} == {samples[0].at}
    assert all(sample.cpu_cores == pytest.approx(0.8) for sample in samples)
    assert all(sample.memory_bytes == 45531136 - 15314944 for sample in samples)


@pytest.mark.asyncio
async def test_container_that_goes_while_sampled_costs_no_other_its_sample(engine, source):
    engine.run("a")
    engine.run("b")
    engine.run("c")
    await source.observe(full=True)
    await source.sample()
    engine.remove("a")
    engine.failing_stats.add("b")
    assert [sample.engine_id for sample in await source.sample()] == ["c"]


@pytest.mark.asyncio
async def test_engine_that_refuses_each_sample_is_not_gone(engine, source):
    engine.run("a")
    await source.observe(full=True)
    engine.failing_stats.add("a")
    assert await source.sample() == []
    await engine.stop()
    with pytest.raises(SourceUnavailableError, match="no engine"):
        await source.sample()


@pytest.mark.asyncio
async def test_only_what_changed_is_inspected_again(engine, source):
    engine.run("a")
    engine.run("b")
    await source.observe(full=True)
    engine.inspections.clear()
    engine.run("c")
    engine.containers["b"]["State"] |= {"Status": "exited", "Running": False}
    observation = await source.observe(full=False)
    assert engine.inspections == ["b", "c"]
    assert [each.state for each in observation.containers] == ["running", "exited", "running"]
    engine.inspections.clear()
    await source.observe(full=True)
    assert engine.inspections == ["a", "b", "c"]


@pytest.mark.asyncio
async def test_event_makes_its_container_inspected_again(engine, source):
    engine.run("a")
    engine.run("b")
    await source.observe(full=True)
    async with aclosing(source.changes()) as changes:
        await anext(changes)  # connected: everything is to be read anew
        await source.observe(full=False)
        engine.inspections.clear()
        engine.containers["b"]["HostConfig"]["NanoCpus"] = 2_000_000_000
        engine.tell("container", "update", "b")
        await anext(changes)
        observation = await source.observe(full=False)
    assert engine.inspections == ["b"]
    assert [each.cpu_limit for each in observation.containers] == [0.5, 2.0]


@pytest.mark.asyncio
async def test_new_connection_asks_for_events_since_the_last_and_reads_everything(engine, source):
    engine.run("a")
    await source.observe(full=True)
    async with aclosing(source.changes()) as changes:
        await anext(changes)
        engine.tell("container", "pause", "a")
        await anext(changes)
    await source.observe(full=False)
    await engine.stop()
    with pytest.raises(SourceUnavailableError, match="no engine"):
        await anext(source.changes())
    await engine.start()
    engine.inspections.clear()
    async with aclosing(source.changes()) as changes:
        await anext(changes)
        await source.observe(full=False)
    assert "since" not in engine.event_queries[0]
    assert engine.event_queries[1]["since"].startswith("1795467189.00000000")
    assert engine.inspections == ["a"]
    assert "exec_create" not in engine.event_queries[0]["filters"]


@pytest.mark.asyncio
async def test_failed_observation_leaves_everything_to_be_read(engine, source):
    engine.run("a")
    await engine.stop()
    with pytest.raises(SourceUnavailableError):
        await source.observe(full=False)
    await engine.start()
    assert len((await source.observe(full=False)).containers) == 1


@pytest.mark.asyncio
async def test_socket_without_permission_and_one_that_is_missing_are_told_apart(tmp_path):
    missing = Engine(f"unix://{tmp_path}/none.sock")
    with pytest.raises(SourceUnavailableError, match="its socket does not exist"):
        await missing.get("info")
    await missing.close()
    refused = Engine("tcp://127.0.0.1:9")
    with pytest.raises(SourceUnavailableError, match="no answer from the engine at tcp"):
        await refused.get("info")
    await refused.close()


@pytest.mark.asyncio
async def test_what_is_no_engine_is_told_as_such():
    api = Api()
    await api.start()
    engine = Engine(api.url.replace("http", "tcp"))
    with pytest.raises(SourceUnavailableError, match="is no Docker engine"):
        await engine.get("info")
    await engine.close()
    await api.stop()


@pytest.mark.asyncio
async def test_no_more_questions_at_once_than_allowed():
    now, most = 0, 0

    async def ask(key: str) -> str:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        if key == "7":
            raise SourceUnavailableError("seven")
        return key * 2

    answers, errors = await gather_bounded([str(number) for number in range(20)], ask, 4)
    assert most == 4
    assert answers[:3] == ["00", "11", "22"]
    assert (answers[7], [str(error) for error in errors]) == (None, ["seven"])
