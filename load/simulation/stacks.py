"""Stowage for a simulation: a database of its own, workers as processes, and ways to break both."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from app.ops import embedded
from load.bench.servers import free_port
from settings import env

ROOT = Path(__file__).resolve().parent.parent.parent
READY_SECONDS = 60.0


class StackError(Exception):
    """A part of the stack can't be had."""


@dataclass
class Stack:
    """Workers of the API on loopback, each a process, over an embedded PostgreSQL."""

    directory: Path
    ports: list[int]
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    cpu_seconds_of_the_gone: float = 0.0

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    def start_worker(self, number: int) -> None:
        command = [
            *(sys.executable, "-m", "uvicorn", "asgi:application"),
            *("--port", str(self.ports[number]), "--loop", "uvloop"),
            *("--http", "app.ops.protocols:BoundedProtocol"),
            *("--no-access-log", "--log-level", "critical", "--timeout-graceful-shutdown", "5"),
        ]
        process = subprocess.Popen(command, cwd=ROOT, env=self.environment)
        if number < len(self.processes):
            self.processes[number] = process
        else:
            self.processes.append(process)

    def kill_worker(self, number: int) -> None:
        """As a host that loses power does: without a word."""
        process = self.processes[number]
        self.cpu_seconds_of_the_gone += _cpu_seconds(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def restart_database(self) -> None:
        embedded.stop(self.directory)
        embedded.start(self.directory)

    def cpu_seconds(self) -> float:
        """Of all workers, also those that are gone."""
        return self.cpu_seconds_of_the_gone + sum(_cpu_seconds(p.pid) for p in self.processes)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        for url in self.urls:
            while True:
                try:
                    with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                        break
                except OSError as error:
                    if time.monotonic() > deadline:
                        raise StackError(f"{url} did not get ready: {error}") from error
                    time.sleep(0.02)


@contextmanager
def stack(directory: Path, workers: int) -> Iterator[tuple[Stack, str, str]]:
    """The stack with an empty database, an agent's token and one that reads."""
    url = embedded.start(directory)
    os.environ["DATABASE_URL"] = url
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings.test"
    agent_token, reader_token = asyncio.run(_emptied())
    environment = env.inherited(
        DATABASE_URL=url,
        DJANGO_SETTINGS_MODULE="settings.production",
        SECRET_KEY=secrets.token_urlsafe(64),
        ALLOWED_HOSTS="127.0.0.1",
        SECURE_SSL_REDIRECT="0",
        DRAIN_SECONDS="0",
    )
    made = Stack(directory, [free_port() for _ in range(workers)], environment)
    try:
        for number in range(workers):
            made.start_worker(number)
        made.wait_until_ready()
        yield made, agent_token, reader_token
    finally:
        for process in made.processes:
            process.kill()
            process.wait()
        embedded.stop(directory)


async def _emptied() -> tuple[str, str]:
    """Migrates, empties the fleet's tables, and makes the tokens."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    def prepare() -> None:
        call_command("migrate", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute(
                "TRUNCATE fleet_host, fleet_event, fleet_usage_mark, accounts_user CASCADE"
            )
            cursor.execute("SELECT sum(1) FROM fleet_usage")
        connection.close()

    await asyncio.to_thread(prepare)
    from app import db
    from app.accounts import services

    await db.open()
    try:
        user = await services.create_user(username="simulation", role="operator")
        made = [
            (await services.create_token(user=user, name=scope, scopes=[scope]))[1]
            for scope in ("agent", "read")
        ]
    finally:
        await db.close()
    return made[0], made[1]


def _cpu_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
