"""The process source: on a table of the test's own, and on this very machine."""

import asyncio
import os
import subprocess
import sys
import time
from contextlib import aclosing

import pytest
import pytest_asyncio

from app.agent.processes import Processes, Table
from app.agent.programs import OTHER, Key, Process

MIB = 2**20


class FixedTable:
    """A process table that the test writes."""

    def __init__(self) -> None:
        self.processes: list[Process] = []

    def add(self, pid: int, program: str, cpu: float = 0.0, memory: int = 32 * MIB) -> None:
        self.processes.append(Process(Key(pid, 1.0), program, cpu, memory, 0, memory))

    def read(self) -> list[Process]:
        return list(self.processes)

    def memory_bytes(self) -> int:
        return 2**34


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest_asyncio.fixture
async def table():
    return FixedTable()


@pytest_asyncio.fixture
async def clock():
    return Clock()


@pytest_asyncio.fixture
async def source(table, clock):
    source = Processes(host_name="vm", table=table, clock=clock)
    yield source
    await source.close()


def states(observation):
    return {each.name: each.state for each in observation.containers}


@pytest.mark.asyncio
async def test_programs_are_containers_and_small_ones_are_gathered(source, table, clock):
    table.add(1, "postgres", cpu=1.0)
    table.add(2, "postgres", cpu=1.0)
    table.add(3, "cron", memory=MIB)
    observation = await source.observe(full=True)
    assert states(observation) == {"postgres": "running", OTHER: "running"}
    assert observation.host.engine == "processes"
    assert await source.sample() == []
    clock.now = 5.0
    table.processes.clear()
    table.add(1, "postgres", cpu=3.5)
    table.add(2, "postgres", cpu=1.0)
    table.add(3, "cron", memory=MIB)
    samples = {sample.engine_id: sample for sample in await source.sample()}
    ids = {each.name: each.engine_id for each in observation.containers}
    assert samples[ids["postgres"]].cpu_cores == 0.5
    assert samples[ids["postgres"]].memory_bytes == 64 * MIB
    assert samples[ids[OTHER]].memory_bytes == MIB


@pytest.mark.asyncio
async def test_program_that_becomes_large_asks_to_be_observed_and_keeps_its_name(
    source, table, clock
):
    table.add(1, "build", memory=MIB)
    await source.observe(full=True)
    await source.sample()
    async with aclosing(source.changes()) as changes:
        waiting = asyncio.ensure_future(anext(changes))
        clock.now = 5.0
        table.processes.clear()
        table.add(1, "build", cpu=10.0, memory=MIB)
        await source.sample()
        await asyncio.wait_for(waiting, 1)
    assert states(await source.observe(full=False)) == {"build": "running"}
    clock.now = 10.0
    assert [sample.cpu_cores for sample in await source.sample()] == [0.0]
    assert states(await source.observe(full=False)) == {"build": "running"}


@pytest.mark.asyncio
async def test_program_that_ended_is_listed_as_exited_for_a_while(source, table, clock):
    table.add(1, "postgres")
    table.add(2, "redis")
    started = (await source.observe(full=True)).containers
    table.processes.pop()
    observation = await source.observe(full=False)
    assert states(observation) == {"postgres": "running", "redis": "exited"}
    exited = observation.containers[1]
    assert exited.engine_id == started[1].engine_id
    assert exited.finished_at is not None
    clock.now = 601.0
    assert states(await source.observe(full=False)) == {"postgres": "running"}


@pytest.mark.asyncio
async def test_program_that_comes_back_runs_again_under_the_same_id(source, table):
    table.add(1, "postgres")
    first = (await source.observe(full=True)).containers[0]
    table.processes.clear()
    await source.observe(full=False)
    table.add(7, "postgres")
    observation = await source.observe(full=False)
    assert states(observation) == {"postgres": "running"}
    assert observation.containers[0].engine_id == first.engine_id


@pytest.mark.asyncio
async def test_busy_process_of_this_machine_is_seen_with_its_cpu_and_memory():
    # Ends by itself as well: a test run that is killed leaves nothing behind that burns a core.
    burn = "import time; x = bytearray(64 << 20)\nwhile time.process_time() < 20: pass"
    script = "import sys; exec(sys.argv[1])"
    busy = await asyncio.create_subprocess_exec(sys.executable, "-c", script, burn)
    source = Processes(host_name="vm")
    try:
        await asyncio.sleep(0.3)
        await source.observe(full=True)
        await source.sample()
        await asyncio.sleep(1.0)
        samples = await source.sample()
        observation = await source.observe(full=False)
    finally:
        busy.kill()
        await busy.wait()
        await source.close()
    names = {each.engine_id: each.name for each in observation.containers}
    used = {names[sample.engine_id]: sample for sample in samples if sample.engine_id in names}
    assert used["python"].cpu_cores > 0.1  # other tests may share its core
    assert used["python"].memory_bytes > 64 * MIB
    assert all(sample.cpu_cores <= (os.cpu_count() or 1) * 1.1 for sample in samples)


@pytest.mark.asyncio
async def test_kernel_threads_are_left_out_and_memory_is_less_than_a_sum_of_rss():
    table = Table()
    processes = table.read()
    assert {process.key.pid for process in processes} >= {os.getpid()}
    assert 2 not in {process.key.pid for process in processes} or os.getpid() < 100
    read = [process for process in processes if process.pss_bytes is not None]
    assert sum(each.pss_bytes or 0 for each in read) <= sum(each.rss_bytes for each in read)


def test_reading_the_table_again_is_quick():
    table = Table()
    processes = table.read()
    began = time.thread_time()
    table.read()
    assert time.thread_time() - began < 0.05 + 0.000_3 * len(processes)


def test_neither_arguments_nor_environment_of_a_process_are_told():
    secret = "hunter2secret"
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(30)", f"--password={secret}"],
        env={**os.environ, "PASSWORD": secret},
    )
    try:
        time.sleep(0.1)
        assert secret not in repr(Table().read())
    finally:
        sleeper.kill()
        sleeper.wait()
