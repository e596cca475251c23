"""The stacks that are measured: how each is started, and whether it checks who calls."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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


def _as_in_its_image(python: str, port: int) -> list[str]:
    """As the command of Stowage's Dockerfile, on loopback."""
    return [
        *(python, "-m", "uvicorn", "asgi:application", "--host", "127.0.0.1", "--port", str(port)),
        *("--loop", "uvloop", "--http", "app.ops.protocols:BoundedProtocol", "--ws", "none"),
        *("--no-access-log", "--no-server-header", "--log-level", "warning"),
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


def _peer(name: str, title: str, application: str) -> Stack:
    return Stack(name, title, _uvicorn(f"load.bench.stacks.{application}"))


def _on_django(name: str, title: str, urls: str) -> Stack:
    return Stack(
        name,
        title,
        _uvicorn("load.bench.stacks.django_asgi:application"),
        environment={"BENCH_URLS": f"load.bench.stacks.{urls}"},
    )


def _with_auth(stack: Stack) -> Stack:
    """The same with a token, a scope and a throttle on every request."""
    return replace(
        stack,
        name=f"{stack.name}+auth",
        title=f"{stack.title}; with token, throttle",
        has_auth=True,
    )


_FASTAPI = _peer("fastapi", "FastAPI, pydantic, asyncpg", "fastapi_asyncpg:app")
_SQLALCHEMY = _peer("sqlalchemy", "FastAPI, SQLAlchemy async", "fastapi_sqlalchemy:app")
_LITESTAR = _peer("litestar", "Litestar, msgspec, asyncpg", "litestar_msgspec:app")
_NINJA = _on_django("ninja", "django-ninja, async ORM", "ninja_views")
_DMR = _on_django("dmr", "django-modern-rest, msgspec, async ORM", "dmr_views")
_DRF = Stack(
    "drf",
    "DRF, gunicorn sync",
    _gunicorn("load.bench.stacks.django_wsgi:application"),
    environment={"BENCH_URLS": "load.bench.stacks.drf_views", "BENCH_SYNCHRONOUS": "1"},
)
_ADRF = _on_django("adrf", "adrf as documented", "adrf_views")

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
            _as_in_its_image,
            is_peer=False,
            has_auth=True,
        ),
        *(_LITESTAR, _with_auth(_LITESTAR)),
        *(_FASTAPI, _with_auth(_FASTAPI)),
        *(_SQLALCHEMY, _with_auth(_SQLALCHEMY)),
        *(_DMR, _with_auth(_DMR)),
        *(_NINJA, _with_auth(_NINJA)),
        *(_DRF, _with_auth(_DRF)),
        *(_ADRF, _with_auth(_ADRF)),
    )
}
