"""`manage.py density` as people run it: a process on a terminal, once and live, until Ctrl-C."""

import asyncio
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.fleet.models import Host
from settings import env
from tests.agent.test_end_to_end import database_url
from tests.running import ROOT
from tests.servers import until

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.programs,  # whole processes
    pytest.mark.usefixtures("committed"),
    pytest.mark.timeout(40),  # a process that loads Django, on a busy machine
    pytest.mark.blocks("A process is started on a terminal of its own."),
]


class Run:
    """The process, and what its terminal has shown so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.shown = ""

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 20)


@asynccontextmanager
async def density(*words: str) -> AsyncIterator[Run]:
    ours, theirs = pty.openpty()
    variables = {"DATABASE_URL": database_url(), "COLUMNS": "140", "TERM": "xterm"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "manage.py", "density", *words),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env=env.inherited(**variables),
    )
    os.close(theirs)
    run, loop = Run(process), asyncio.get_running_loop()

    def read() -> None:
        try:
            run.shown += os.read(ours, 65_536).decode(errors="replace")
        except OSError:  # the other end is closed
            loop.remove_reader(ours)

    loop.add_reader(ours, read)
    try:
        yield run
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def add_host(name: str) -> None:
    await Host.objects.acreate(name=name, cpus=4.0, memory_bytes=2**34)


async def test_it_prints_the_fleet_and_ends() -> None:
    await add_host("alpha")
    async with density() as run:
        assert await run.ended() == 0
        await until(lambda: "alpha" in run.shown)
        assert "memory" in run.shown


async def test_live_shows_what_changes_until_ctrl_c() -> None:
    await add_host("alpha")
    async with density("--live", "0.2") as run:
        await until(lambda: "alpha" in run.shown, 20)
        assert "beta" not in run.shown
        await add_host("beta")
        await until(lambda: "beta" in run.shown, 20)
        run.process.send_signal(signal.SIGINT)
        assert await run.ended() == 0
        assert "Traceback" not in run.shown


async def test_one_host_is_asked_for_and_what_makes_no_sense_is_refused() -> None:
    await add_host("alpha")
    await add_host("beta")
    async with density("--host", "beta") as run:
        assert await run.ended() == 0
        await until(lambda: "beta" in run.shown)
        assert "alpha" not in run.shown
    async with density("--live", "-1") as run:
        assert await run.ended() == 1
        await until(lambda: "seconds above 0" in run.shown)
