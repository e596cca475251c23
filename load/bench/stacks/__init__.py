"""The stacks that are measured: how each is started, and whether it checks who calls."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from load.bench.stowage.environment import stowage_environment

ROOT = Path(__file__).resolve().parent.parent.parent.parent
PEERS_PYTHON = ROOT / "var" / "bench" / ".venv" / "bin" / "python"

Command = Callable[[str, int], list[str]]


def _uvicorn(application: str) -> Command:
    """As each one's documentation runs it, with uvloop and httptools, and no access log."""
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level=warning"]
    return lambda python, port: [
        *(python, "-m", "uvicorn", application, "--host", "127.0.0.1", "--port", str(port)),
        *options,
    ]


def _gunicorn(application: str) -> Command:
    """Synchronous workers: two for each core and one more, as its documentation says."""
    return lambda python, port: [
        *(python, "-m", "gunicorn", application, "--bind", f"127.0.0.1:{port}"),
        *("--workers", "3", "--log-level", "warning"),
    ]


@dataclass(frozen=True)
class Stack:
    """A server. `is_peer`: it runs in the peers' environment; `has_auth`: it checks a token,
    a scope and a rate on every request.
    """

    name: str
    title: str
    command: Command
    is_peer: bool = True
    has_auth: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    def arguments(self, port: int) -> list[str]:
        return self.command(str(PEERS_PYTHON) if self.is_peer else sys.executable, port)

    def variables(self, url: str) -> dict[str, str]:
        variables = {"DATABASE_URL": url, "PYTHONPATH": str(ROOT), **self.environment}
        if self.name == "stowage":
            variables |= stowage_environment(url)
        if self.has_auth:
            variables["BENCH_AUTH"] = "1"
        return variables


STACKS = {
    stack.name: stack
    for stack in (
        Stack(
            "handwritten",
            "by hand: uvicorn, asyncpg, orjson",
            _uvicorn("load.bench.stacks.handwritten:application"),
            is_peer=False,
        ),
        Stack(
            "stowage",
            "Stowage, its contract on",
            _uvicorn("asgi:application"),
            is_peer=False,
            has_auth=True,
        ),
    )
}
