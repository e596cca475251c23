"""The Docker source on a real engine, and what the agent itself costs there.

Run by `make test-container`. Each test removes what it started, and nothing else.
"""

import asyncio
import os
import secrets
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio

from app.agent.containers import Containers
from app.agent.engines import Engine
from app.agent.observations import Container
from settings import env
from tests.agent.apis import Api, until

pytestmark = [pytest.mark.container, pytest.mark.asyncio, pytest.mark.timeout(120)]

ENGINE = env.text("DOCKER_HOST", "unix:///var/run/docker.sock")
IMAGE = "busybox:stable"
LABEL = f"stowage.test={secrets.token_hex(4)}"
MIB = 2**20

COST_CONTAINERS = 50
COST_SECONDS = 15
COST_ROUNDS = 3
MOST_CORES = 0.01
MOST_OWN_BYTES = 30_000_000


async def docker(*arguments: str) -> str:
    """The docker command's output. Fails with what it said."""
    process = await asyncio.create_subprocess_exec(
        *("docker", *arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode().strip()


async def start(*command: str, options: tuple[str, ...] = ()) -> str:
    """A container that runs the command; its id."""
    return await docker("run", "-d", "--label", LABEL, *options, IMAGE, *command)


@pytest_asyncio.fixture
async def source() -> AsyncIterator[Containers]:
    source = Containers(Engine(ENGINE))
    yield source
    await source.close()
    if left := (await docker("ps", "-aq", "--filter", f"label={LABEL}")).split():
        await docker("rm", "-f", *left)


async def observed(source: Containers, engine_id: str) -> Container | None:
    containers = (await source.observe(full=False)).containers
    return next((each for each in containers if each.engine_id == engine_id), None)


async def test_engine_is_observed_with_its_capacity_images_and_limits(source):
    engine_id = await start(
        *("sleep", "600"),
        options=(
            *("--memory", "64m", "--memory-reservation", "32m", "--cpus", "0.5"),
            *("--label", "com.docker.compose.service=web"),
        ),
    )
    observation = await source.observe(full=True)
    assert observation.host.cpus == os.cpu_count()
    assert observation.host.memory_bytes > 2**29
    assert IMAGE in {image.reference for image in observation.images}
    found = next(each for each in observation.containers if each.engine_id == engine_id)
    assert (found.state, found.image) == ("running", IMAGE)
    assert (found.cpu_limit, found.cpu_reservation) == (0.5, None)
    assert found.memory_limit_bytes == 64 * MIB
    assert found.memory_reservation_bytes == 32 * MIB
    assert found.labels["com.docker.compose.service"] == "web"
    assert (found.image, found.image_digest) in {
        (image.reference, image.digest) for image in observation.images
    }


async def test_usage_of_containers_of_known_behaviour_is_what_is_known(source):
    busy = await start("sh", "-c", "while :; do :; done", options=("--cpus", "0.5"))
    idle = await start("sleep", "600")
    fill = "dd if=/dev/zero of=/memory/held bs=1M count=48; sleep 600"
    full = await start("sh", "-c", fill, options=("--tmpfs", "/memory"))
    await asyncio.sleep(1)
    await source.observe(full=True)
    await source.sample()
    await asyncio.sleep(4)
    samples = {sample.engine_id: sample for sample in await source.sample()}
    assert samples[busy].cpu_cores == pytest.approx(0.5, abs=0.15)
    assert samples[idle].cpu_cores < 0.01
    assert samples[idle].memory_bytes < 4 * MIB
    assert 48 * MIB <= samples[full].memory_bytes < 56 * MIB


async def test_container_that_needs_more_memory_than_its_limit_is_told_as_killed(source):
    engine_id = await start("tail", "/dev/zero", options=("--memory", "16m"))
    await docker("wait", engine_id)
    found = await observed(source, engine_id)
    assert found is not None
    assert (found.state, found.oom_killed, found.exit_code) == ("exited", True, 137)
    assert found.finished_at is not None


async def test_engine_tells_of_starts_updates_and_removals(source):
    async with aclosing(source.changes()) as changes:
        await anext(changes)
        await source.observe(full=True)
        engine_id = await start("sleep", "600", options=("--memory", "32m"))
        await asyncio.wait_for(anext(changes), 10)
        await asyncio.sleep(0.5)
        found = await observed(source, engine_id)
        assert found is not None
        assert found.state == "running"
        limits = ("--memory", "64m", "--memory-swap", "128m")
        await docker("update", *limits, engine_id)
        await until_told(changes)
        found = await observed(source, engine_id)
        assert found is not None
        assert found.memory_limit_bytes == 64 * MIB
        await docker("rm", "-f", engine_id)
        await until_told(changes)
        assert await observed(source, engine_id) is None


async def until_told(changes) -> None:
    """Takes all that the engine has to tell for the moment."""
    await asyncio.wait_for(anext(changes), 10)
    await asyncio.sleep(0.5)


async def test_restarted_container_gives_no_sample_across_its_restart(source):
    engine_id = await start("sh", "-c", "while :; do :; done", options=("--cpus", "0.3"))
    await source.observe(full=True)
    await source.sample()
    await asyncio.sleep(2)
    await docker("restart", "-t", "0", engine_id)
    await source.observe(full=True)
    assert engine_id not in {sample.engine_id for sample in await source.sample()}
    await asyncio.sleep(2)
    assert engine_id in {sample.engine_id for sample in await source.sample()}


async def test_cost_with_fifty_containers(source, capsys):
    """CPU and memory of `python -m app.agent` beside 50 containers, sampled every 5 seconds."""
    for _ in range(COST_CONTAINERS):
        await start("sleep", "600")
    api = Api()
    await api.start()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.agent"),
        env={
            **env.inherited(),
            "AGENT_SOURCE": "docker",
            "STOWAGE_URL": api.url,
            "STOWAGE_TOKEN": "stw_ab_secret",
            "SSL_CERT_FILE": "/dev/null",  # as the compose file has it: no TLS, no certificates
        },
    )
    try:
        await until(lambda: len(api.usage) >= 4 * COST_CONTAINERS, 60)
        rounds = []
        stored = len(api.usage)
        for _ in range(COST_ROUNDS):
            before = cpu_seconds(process.pid)
            await asyncio.sleep(COST_SECONDS)
            rounds.append((cpu_seconds(process.pid) - before) / COST_SECONDS)
        cores = statistics.median(rounds)  # one round in which the machine was busy says little
        own, rss = memory_bytes(process.pid)
        samples = len(api.usage) - stored
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await api.stop()
    with capsys.disabled():
        print(
            f"\nagent, {COST_CONTAINERS} containers: {cores:.2%} of a core, "
            f"RSS {rss / MIB:.1f} MiB, of which its own {own / MIB:.1f} MiB"
        )
    assert samples >= COST_CONTAINERS * (COST_ROUNDS * COST_SECONDS // 5 - 1)
    assert 0 < cores < MOST_CORES
    assert own < MOST_OWN_BYTES


def cpu_seconds(pid: int) -> float:
    """To the nanosecond where the kernel tells it: a tick of /proc/PID/stat is a fifteenth of what
    a round may take. Threads that have ended are told of by the ticks alone, so the more counts.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    times = [task.read_text().split()[0] for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return max(ticks, sum(map(int, times)) / 1e9)


def memory_bytes(pid: int) -> tuple[int, int]:
    """What no other process shares (this test's own Python is another), and RSS, which is all."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    fields = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
    return fields["Private_Clean:"] + fields["Private_Dirty:"], fields["Rss:"]
