"""Runs a few processes as one: starts them, prefixes their lines, restarts what dies, stops all.

Rules. Each child leads a session of its own, so Ctrl-C reaches only the supervisor, which stops the
children in reverse order of their start. A child that dies is started again after a pause that
doubles; one that never stays up ends the whole run, with its last lines as the reason. A killed
supervisor takes its children along on Linux, where the kernel tells them; everywhere, what it noted
in a file (`app.ops.leftovers`) lets the next start find and stop them.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LAST_LINES = 15
LINE_BYTES = 2**20
STEADY_SECONDS = 20.0
MOST_QUICK_DEATHS = 4
PR_SET_PDEATHSIG = 1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ChildError(Exception):
    """A child keeps dying; the message says which, how, and its last lines."""


def no_note(_pid: int) -> None:
    """The default of `Child.note`: nobody wants to know."""


@dataclass
class Child:
    """One program under supervision. `name` is what its lines are prefixed with; `note` is told the
    number of each process that is started for it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stop_seconds: float = 15.0
    first_pause_seconds: float = 0.5
    note: Callable[[int], None] = no_note
    process: asyncio.subprocess.Process | None = None
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))

    async def run(self) -> None:
        """Keep the program running until cancelled. Raises ChildError when it won't stay up."""
        quick_deaths = 0
        loop = asyncio.get_running_loop()
        while True:
            started_at = loop.time()
            ending = describe_ending(await self.run_once())
            lived_seconds = loop.time() - started_at
            quick_deaths = quick_deaths + 1 if lived_seconds < STEADY_SECONDS else 1
            if quick_deaths >= MOST_QUICK_DEATHS:
                said = "\n".join(self.last_lines) or "(it said nothing)"
                raise ChildError(
                    f"The {self.name} ended {ending}, {quick_deaths} times in a row. "
                    f"Mend what it says last, then start again:\n{said}"
                )
            self.say(f"ended {ending}; starting it again")
            await asyncio.sleep(self.first_pause_seconds * 2 ** (quick_deaths - 1))

    async def run_once(self) -> int:
        """Run the program to its end. Returns its exit status, negative for a signal."""
        self.process = await asyncio.create_subprocess_exec(
            *self.command,
            env=dict(self.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LINE_BYTES,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        self.note(self.process.pid)
        await self.repeat_lines()
        return await self.process.wait()

    async def repeat_lines(self) -> None:
        """Repeat what the program says, to the end of it."""
        stream = self.process.stdout if self.process else None
        while stream is not None:
            try:
                line = await stream.readline()
            except ValueError:  # longer than LINE_BYTES; the stream has dropped it
                self.say("(a line too long to repeat)")
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self.last_lines.append(text)
            self.say(text)

    async def stop(self) -> bool:
        """Ask it to end, and after `stop_seconds` make it. True when it ended by itself, with 0."""
        process = self.process
        if process is None or process.returncode is not None:
            return True
        lines = asyncio.create_task(self.repeat_lines())  # or it may wait for room in the pipe
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
        finally:
            await lines

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more: a closed terminal or pipe
            print(f"{self.name:<6}| {text}", flush=True)


class Supervisor:
    """Runs children and the tasks that look after them, until told to stop."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self._runs: dict[str, tuple[Child, asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()

    def listen_for_signals(self) -> None:
        """SIGINT, SIGTERM and SIGHUP stop the run; more of them change nothing while it stops."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.stopping.set)

    def start(self, child: Child) -> None:
        self._runs[child.name] = child, self._watch(child.run())

    def look_after(self, work: Coroutine[Any, Any, None]) -> None:
        """Run that beside the children; when it fails, the run ends with its error."""
        self._watch(work)

    def _watch(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        self._changed.set()
        return task

    async def run(self) -> None:
        """Returns once told to stop and every child has. Raises what a child or a task raised."""
        stop = asyncio.create_task(self.stopping.wait())
        try:
            while not self.stopping.is_set():
                self._changed.clear()
                changed = asyncio.create_task(self._changed.wait())
                done, _ = await asyncio.wait(
                    {stop, changed, *self._tasks}, return_when=asyncio.FIRST_COMPLETED
                )
                changed.cancel()
                self._tasks -= done
                for task in done - {stop, changed}:
                    task.result()
        finally:
            stop.cancel()
            await self._stop()

    async def _stop(self) -> None:
        """What looks after the children first, so that nothing is started any more; then those."""
        children = {task for _, task in self._runs.values()}
        await end(self._tasks - children)
        for child, task in reversed(self._runs.values()):
            await end({task})
            await child.stop()


async def end(tasks: "set[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def describe_ending(status: int) -> str:
    """How a program ended, for a person: `with status 3`, `by SIGKILL`."""
    return f"with status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"


def end_with_parent() -> None:
    """Runs in the child before the program: have the kernel end it when its parent dies."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
