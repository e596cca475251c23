"""Stowage as `make up` serves it, for tests that need all of it: a free port, data of its own."""

import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from settings import env

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60.0


@dataclass
class Running:
    """A run of `python -m app.ops.up`. `first_screen` is what it printed until it was ready."""

    process: subprocess.Popen[str]
    url: str
    var: Path
    first_screen: str = ""
    lines: list[str] = field(default_factory=list)
    took_seconds: float = 0.0

    @property
    def password(self) -> str:
        return self._find(r"with password (\S+)")

    @property
    def token(self) -> str:
        return self._find(r"reads and writes: (\S+)")

    @property
    def curl_line(self) -> str:
        return self._find(r"(curl .*)")

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def _find(self, pattern: str) -> str:
        found = re.search(pattern, self.first_screen)
        assert found, f"no {pattern!r} in:\n{self.first_screen}"
        return found.group(1)


@contextmanager
def running(var: Path, **environment: str) -> Iterator[Running]:
    """Start Stowage with its data in `var`, wait until it is ready, stop it afterwards."""
    port = free_port()
    command = [sys.executable, "-m", "app.ops.up", "--port", str(port), "--var", str(var)]
    variables = {name: value for name, value in env.inherited().items() if name not in UNWANTED}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**variables, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        run = Running(process, f"http://127.0.0.1:{port}", var)
        run.first_screen = read_until_ready(process)
        yield run
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


UNWANTED = {"DATABASE_URL", "DJANGO_SETTINGS_MODULE"}
"""What the test run itself set, and a run of one's own decides for itself."""


def read_until_ready(process: subprocess.Popen[str]) -> str:
    """All that was printed until `Ctrl-C stops` came. Fails when the process ends first."""
    assert process.stdout is not None
    text, deadline = "", time.monotonic() + READY_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while "Ctrl-C stops" not in text:
            left = deadline - time.monotonic()
            assert left > 0, f"not ready in time:\n{text}"
            if not selector.select(left):
                continue
            # Not readline: what it reads beyond its line, the selector would never tell of.
            chunk = os.read(process.stdout.fileno(), 65536).decode(errors="replace")
            assert chunk, f"ended with {process.wait(10)}:\n{text}"
            text += chunk
    return text


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
