"""A stack's server: started on one core, watched, stopped."""

import http.client
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from load.bench.stacks import ROOT, Stack
from load.bench.works import Ask
from settings import env

READY_SECONDS = 60.0
ASK_SECONDS = 60.0
STOP_SECONDS = 15.0
SERVER_CORE = 0
OTHER_CORE = (os.cpu_count() or 1) - 1
"""Where the generator and PostgreSQL run; the same as the server's where there is but one."""


class ServerError(Exception):
    """A stack did not start, or fell over; the message says which and what it printed."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass
class Server:
    """A running stack."""

    stack: Stack
    port: int
    process: psutil.Process
    token: str | None
    first_answer_seconds: float = 0.0

    def ask(self, ask: Ask, token: str | None = None) -> Answer:
        """Send one request over a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), ASK_SECONDS) as connection:
            connection.sendall(ask.raw(token or self.token))
            response = http.client.HTTPResponse(connection, method=ask.method)
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())

    def processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """The CPU time of all its processes so far, of those that ended too."""
        times = [process.cpu_times() for process in self.processes()]
        mine = sum(time.user + time.system for time in times)
        return mine + times[0].children_user + times[0].children_system

    def pss_bytes(self) -> int:
        """The memory of all its processes, each shared page divided among those who share it."""
        return sum(pss_bytes(process.pid) for process in self.processes())


def pss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ServerError(f"No Pss in /proc/{pid}/smaps_rollup.")


@contextmanager
def serving(stack: Stack, url: str, token: str | None, **environment: str) -> Iterator[Server]:
    """Start the stack on the server's core, wait for its first answer, stop it afterwards."""
    port = free_port()
    variables = env.inherited(**stack.variables(url), **environment)
    with tempfile.TemporaryFile() as log:
        started_at = time.perf_counter()
        with on_core(SERVER_CORE):
            process = subprocess.Popen(
                stack.arguments(port), cwd=ROOT, env=variables, stdout=log, stderr=log
            )
        try:
            server = Server(
                stack, port, psutil.Process(process.pid), token if stack.has_auth else None
            )
            _wait_for_answer(server, process)
            server.first_answer_seconds = time.perf_counter() - started_at
            yield server
        except ServerError as error:
            log.seek(0)
            raise ServerError(f"{error}\n{log.read().decode(errors='replace')}") from error
        finally:
            _stop(process)


def _wait_for_answer(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"{server.stack.name} ended with {process.returncode}.")
        try:
            answer = server.ask(Ask("/bench/empty/"))
        except (OSError, http.client.HTTPException):
            time.sleep(0.005)
            continue
        if answer.status != 200:
            raise ServerError(f"{server.stack.name} answers {answer.status}: {answer.body!r}")
        return
    raise ServerError(f"{server.stack.name} did not answer within {READY_SECONDS:g} seconds.")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started in the block runs on this core alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def move_postgres(directory: Path) -> None:
    """Put PostgreSQL on the other core: its processes, and so those that they start later."""
    pid = int((directory / "postmaster.pid").read_text(encoding="ascii").split()[0])
    postmaster = psutil.Process(pid)
    for process in (postmaster, *postmaster.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # autovacuum's come and go
            process.cpu_affinity([OTHER_CORE])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
