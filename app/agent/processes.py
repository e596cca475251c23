"""The source for a machine without containers: its own processes, gathered by program.

The process table is read in a thread, for it takes tens of microseconds a process and the loop
waits for nobody. PSS costs the kernel a walk over the process's pages: it is read anew every
PSS_SECONDS at most, within BUDGET_SECONDS a sample, and scaled with RSS in between.

What it cannot see: a process that began and ended between two samples. A busy build of short
commands counts less than it used.
"""

import asyncio
import importlib
import platform
import socket
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.agent import machines, programs
from app.agent.observations import Container, Host, Observation, Sample, moment
from app.agent.programs import Group, Key, Process
from app.agent.sources import SourceUnavailableError

PSS_SECONDS = 30.0
BUDGET_SECONDS = 0.02
KTHREADD = 2  # Linux: the parent of all kernel threads
EXITED_SECONDS = 600.0  # a program that has ended is listed as exited for so long


@dataclass(slots=True)
class Known:
    """What does not change over a process's life, and its PSS as a share of RSS when last read."""

    key: Key
    program: str
    pss_share: float | None = None
    read_at: float = 0.0


class Table:
    """The process table, through psutil, which is asked for only here."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            self._psutil: Any = importlib.import_module("psutil")
        except ImportError:
            raise SourceUnavailableError(
                "to watch processes, the package psutil is needed: pip install psutil"
            ) from None
        self._clock = clock
        # By psutil.Process, which is equal by number and start; None is a kernel thread.
        self._known: dict[Any, Known | None] = {}

    def read(self) -> list[Process]:
        """The processes that run now, without kernel threads and those that end meanwhile."""
        known: dict[Any, Known | None] = {}
        processes = []
        deadline = self._clock() + BUDGET_SECONDS
        for pid in self._psutil.pids():
            try:
                found = self._psutil.Process(pid)
                fact = self._known[found] if found in self._known else self._meet(found)
                known[found] = fact
                if fact is not None:
                    processes.append(self._measure(found, fact, deadline))
            except (self._psutil.Error, OSError):
                continue
        self._known = known
        return processes

    def memory_bytes(self) -> int:
        return int(self._psutil.virtual_memory().total)

    def _meet(self, found: Any) -> Known | None:
        name = found.name()
        if platform.system() == "Linux" and KTHREADD in {found.pid, found.ppid()}:
            return None
        try:
            executable, command = found.exe(), found.cmdline()
        except self._psutil.AccessDenied:
            executable, command = "", []
        key = Key(found.pid, found.create_time())  # once: it is told anew when a clock is set
        return Known(key, programs.program_of(name, executable, command))

    def _measure(self, found: Any, known: Known, deadline: float) -> Process:
        times, memory = found.cpu_times(), found.memory_info()
        now = self._clock()
        if now < deadline and (not known.read_at or now - known.read_at >= PSS_SECONDS):
            known.pss_share, known.read_at = self._read_pss_share(found, memory.rss), now
        share = known.pss_share
        return Process(
            key=known.key,
            program=known.program,
            cpu_seconds=times.user + times.system,
            rss_bytes=memory.rss,
            shared_bytes=getattr(memory, "shared", 0),
            pss_bytes=None if share is None else round(share * memory.rss),
        )

    def _read_pss_share(self, found: Any, rss: int) -> float | None:
        try:
            pss = getattr(found.memory_full_info(), "pss", None)
        except self._psutil.AccessDenied:
            return None
        return pss / rss if pss is not None and rss else None


class Processes:
    """A Source: the programs of this machine, as if each were a container."""

    def __init__(
        self,
        *,
        host_name: str = "",
        reserved_cpus: float | None = None,
        reserved_memory_bytes: int | None = None,
        table: Table | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table or Table()
        self._clock = clock
        self._wall_clock = wall_clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="processes")
        self._host = Host(
            name=host_name or socket.gethostname(),
            cpus=machines.cpus(),
            memory_bytes=min(
                self._table.memory_bytes(), machines.memory_limit_bytes() or machines.NO_LIMIT_BYTES
            ),
            reserved_cpus=reserved_cpus,
            reserved_memory_bytes=reserved_memory_bytes,
            engine="processes",
            engine_version=platform.release()[:64],
            labels={"stowage.os": platform.system(), "stowage.architecture": platform.machine()},
        )
        self._machine = machines.machine_id()
        self._last: dict[Key, Process] | None = None
        self._last_at = self._last_at_wall = 0.0
        self._named: set[str] = set()
        self._listed: dict[str, Group] = {}
        self._ended: dict[str, tuple[Group, float, str]] = {}
        self._changed = asyncio.Event()

    async def observe(self, *, full: bool) -> Observation:
        groups = programs.groups_of(await self._read(), None)
        self._list(groups)
        self._changed.clear()
        running = [self._running(name, group) for name, group in self._listed.items()]
        ended = [self._exited(name, group, at) for name, (group, _, at) in self._ended.items()]
        return Observation(
            host=self._host, observed_at=moment(), images=[], containers=running + ended
        )

    async def sample(self) -> list[Sample]:
        processes, now, at = await self._read(), self._clock(), moment()
        before, seconds, since = self._last, now - self._last_at, self._last_at_wall
        self._last = {process.key: process for process in processes}
        self._last_at, self._last_at_wall = now, self._wall_clock()
        if before is None or seconds <= 0:
            return []
        groups = programs.groups_of(
            processes, programs.cores_by_process(before, processes, since=since, seconds=seconds)
        )
        if self._differs(groups):
            self._changed.set()
        gathered = programs.gather_others(groups, self._named)
        return [
            Sample(self._engine_id(name), at, round(group.cpu_cores or 0.0, 6), group.memory_bytes)
            for name, group in gathered.items()
            if name in self._listed
        ]

    async def changes(self) -> AsyncGenerator[None, None]:
        while True:
            await self._changed.wait()
            self._changed.clear()
            yield

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _read(self) -> list[Process]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._table.read)

    def _differs(self, groups: dict[str, Group]) -> bool:
        """Whether a program is now worth a name of its own, or has ended."""
        worth = {name for name, group in groups.items() if programs.is_worth_it(group)}
        is_new = not worth <= self._named
        self._named |= worth
        return is_new or not self._named <= set(groups)

    def _list(self, groups: dict[str, Group]) -> None:
        """Makes the list of programs anew; those that have ended stay on it for a while."""
        self._differs(groups)
        now = self._clock()
        for name in self._named - set(groups):
            self._named.discard(name)
            if name in self._listed:
                self._ended[name] = (self._listed[name], now, moment())
        self._listed = programs.gather_others(groups, self._named)
        self._ended = {
            name: (group, at, text)
            for name, (group, at, text) in self._ended.items()
            if name not in self._listed and now - at < EXITED_SECONDS
        }

    def _engine_id(self, program: str) -> str:
        return machines.engine_id(self._machine, self._host.name, program)

    def _running(self, name: str, group: Group) -> Container:
        return Container(
            engine_id=self._engine_id(name),
            name=name,
            state="running",
            labels={"stowage.program": name},
            started_at=moment(datetime.fromtimestamp(group.started_at, UTC)),
        )

    def _exited(self, name: str, group: Group, at: str) -> Container:
        return Container(
            engine_id=self._engine_id(name),
            name=name,
            state="exited",
            labels={"stowage.program": name},
            started_at=moment(datetime.fromtimestamp(group.started_at, UTC)),
            finished_at=at,
        )
