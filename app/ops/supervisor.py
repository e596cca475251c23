"""Runs a few processes as one: starts them, prefixes their lines, restarts what dies, stops all.

Rules. Each child leads a session of its own, so Ctrl-C reaches only the supervisor, which stops the
children in the order it is told. A child is told to end when its parent dies (Linux), so a killed
supervisor leaves nothing behind. A child that dies is started again after a pause that doubles; one
that never stays up ends the whole run, with its last lines as the reason.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LAST_LINES = 15
STEADY_SECONDS = 20.0
MOST_QUICK_DEATHS = 4
PR_SET_PDEATHSIG = 1


class ChildError(Exception):
    """A child keeps dying; the message says which, how, and its last lines."""


@dataclass
class Child:
    """One program under supervision. `name` is what its lines are prefixed with.

    `start_after` holds the first start back until something else is there.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stop_seconds: float = 15.0
    start_after: asyncio.Event | None = None
    process: asyncio.subprocess.Process | None = None
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))

    async def run(self) -> None:
        """Keep the program running until cancelled. Raises ChildError when it won't stay up."""
        if self.start_after is not None:
            await self.start_after.wait()
        quick_deaths = 0
        while True:
            started_at = asyncio.get_running_loop().time()
            status = await self.run_once()
            lived = asyncio.get_running_loop().time() - started_at
            quick_deaths = quick_deaths + 1 if lived < STEADY_SECONDS else 1
            if quick_deaths >= MOST_QUICK_DEATHS:
                raise ChildError(
                    "\n".join(
                        [f"{self.name} ended with {status}, again and again:", *self.last_lines]
                    )
                )
            self.say(f"ended with {status}; starting it again")
            await asyncio.sleep(0.25 * 2**quick_deaths)

    async def run_once(self) -> int:
        """Run the program to its end. Returns its exit status, negative for a signal."""
        self.process = await asyncio.create_subprocess_exec(
            *self.command,
            env=dict(self.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            text = line.decode(errors="replace").rstrip()
            self.last_lines.append(text)
            self.say(text)
        return await self.process.wait()

    async def stop(self) -> bool:
        """Ask it to end, and after `stop_seconds` make it. True when it ended by itself, with 0."""
        process = self.process
        if process is None or process.returncode is not None:
            return True
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            return await asyncio.wait_for(process.wait(), self.stop_seconds) == 0
        except TimeoutError:
            self.say(f"did not stop within {self.stop_seconds:g} seconds; killed")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            return False

    def say(self, text: str) -> None:
        print(f"{self.name:<6}| {text}", flush=True)


class Supervisor:
    """Runs children until told to stop. Stops them in the order in which they are given."""

    def __init__(self, children: Sequence[Child]) -> None:
        self.children = children
        self.stopping = asyncio.Event()

    def listen_for_signals(self) -> None:
        """SIGINT, SIGTERM and SIGHUP stop the run; a second one is ignored while it stops."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stopping.set)

    async def run(self) -> None:
        """Run until told to stop, and stop them. Raises ChildError when one won't stay up."""
        runs = {asyncio.create_task(child.run(), name=child.name) for child in self.children}
        stop = asyncio.create_task(self.stopping.wait(), name="stop")
        try:
            done, _ = await asyncio.wait({*runs, stop}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            stop.cancel()
            await self.stop_children(runs)

    async def stop_children(self, runs: set[asyncio.Task[None]]) -> None:
        for child in self.children:
            # The run is ended first, so that what stops on purpose is not started again; its reader
            # is gone with it, and the last lines are read here so that the pipe can't fill up.
            for task in runs:
                if task.get_name() == child.name:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
            drain = asyncio.create_task(drain_output(child))
            await child.stop()
            await drain


async def drain_output(child: Child) -> None:
    stream = child.process.stdout if child.process else None
    if stream is not None:
        async for line in stream:
            child.say(line.decode(errors="replace").rstrip())


def end_with_parent() -> None:
    """Runs in the child before the program: have the kernel end it when its parent dies."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
