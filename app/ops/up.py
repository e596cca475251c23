"""`python -m app.ops.up`, what `make up` runs: database, API and agent as one, on this machine.

Theory of operation. One process supervises. It takes a lock on var/, stops what a killed run left,
starts the embedded PostgreSQL (or uses the server that DATABASE_URL names), migrates, starts the
API, mints tokens meanwhile, waits until the API is ready, says so, and starts the agent. What takes
long overlaps: Django is imported while the database starts, tokens are minted while the API starts.
On a signal it stops the agent, the API and the database, in that order. The tokens of the agent and
of the printed `curl` line live as long as the run: only their digests are stored, and they are
taken back on the way out.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import logging
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from app.ops import embedded
from app.ops.leftovers import Leftovers
from app.ops.ports import PortError, check_port
from app.ops.supervisor import (
    MOST_QUICK_DEATHS,
    SIGNALS,
    STEADY_SECONDS,
    Child,
    ChildError,
    Supervisor,
)
from settings import env

ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
READY_SECONDS = 60.0
LOOK_SECONDS = 1.0


class UpError(Exception):
    """Stowage can't be started; the message is one line that names the cause and the remedy."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make up", description="Serve Stowage on this machine.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--var", type=Path, default=ROOT / "var", help="where the data is kept")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    for number in SIGNALS:
        signal.signal(number, interrupt)
    try:
        run(options.var, options.port, started_at=time.monotonic())
    except (UpError, PortError, ChildError, embedded.EmbeddedError, env.SettingsError) as error:
        print(f"make up: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"make up: {error.filename}: {error.strerror}. Mend that.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    with contextlib.suppress(OSError):  # the terminal may be closed
        print(f"Stopped. The data is kept under {relative(options.var)}/.", flush=True)
    return 0


def interrupt(_number: int, _frame: object) -> NoReturn:
    """Before the loop runs, a signal unwinds what has been started."""
    raise KeyboardInterrupt


def run(var: Path, port: int, *, started_at: float) -> None:
    with locked(var), leftovers(var) as left:
        check_port(HOST, port)
        with database(var) as directory:
            migrate()
            asyncio.run(serve(port, left, directory, started_at))


@contextlib.contextmanager
def locked(var: Path) -> Iterator[None]:
    """One run at a time for a directory. The lock goes with the process that holds it."""
    try:
        var.mkdir(parents=True, exist_ok=True)
        file = (var / "up.lock").open("a+")
    except OSError as error:
        raise UpError(
            f"{error.filename}: {error.strerror}. Make {relative(var)}/ yours and writable."
        ) from error
    with file:
        take_lock(file, var)
        yield


def take_lock(file: IO[str], var: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise UpError(
            f"Stowage runs from {relative(var)}/ already (process {file.read().strip() or '?'}). "
            "Stop it with Ctrl-C, or kill that process."
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()


@contextlib.contextmanager
def leftovers(var: Path) -> Iterator[Leftovers]:
    found = Leftovers(var / "up.processes")
    if count := found.stop():
        print(f"Stopped {count} left from a run that was killed.", flush=True)
    yield found
    found.forget()


@contextlib.contextmanager
def database(var: Path) -> Iterator[Path | None]:
    """DATABASE_URL names a server from here on: the caller's, or the embedded one, which is ours
    and whose directory is yielded. Django is set up meanwhile."""
    if env.is_set("DATABASE_URL"):
        env.database()  # raises when it is no URL of a PostgreSQL
        import_django()
        yield None
        return
    directory = var / "postgres"
    env.put("DATABASE_URL", embedded.address(directory))
    importing = threading.Thread(target=import_django)
    importing.start()
    try:
        embedded.start(directory)
        importing.join()
        yield directory
    finally:
        for number in SIGNALS:  # from here to the end takes a moment, and must not be cut short
            signal.signal(number, signal.SIG_IGN)
        importing.join()
        embedded.stop(directory)


def import_django() -> None:
    """Importing it sets Django up, which reads DATABASE_URL. Half a second of work."""
    with contextlib.suppress(Exception):  # said by whoever imports it next, in the main thread
        from app.ops import preparation  # noqa: F401


def migrate() -> None:
    from app.ops import preparation

    try:
        preparation.migrate()
    except preparation.PreparationError as error:
        raise UpError(str(error)) from error


async def serve(port: int, left: Leftovers, directory: Path | None, started_at: float) -> None:
    """Run until a signal, clean up."""
    from app.ops import preparation

    url = f"http://{HOST}:{port}"
    supervisor = Supervisor()
    supervisor.listen_for_signals()
    supervisor.start(api(port, left))
    if directory is not None:
        supervisor.look_after(keep_running(directory))
    prepared = preparation.Prepared()

    async def begin() -> None:
        nonlocal prepared
        prepared = await preparation.prepare(f"{platform.node()[:60]}:{port}")
        await wait_until_ready(port)
        print(prepared.describe(url, time.monotonic() - started_at), flush=True)
        supervisor.start(agent(url, prepared.agent_token, left))

    supervisor.look_after(begin())
    try:
        await supervisor.run()
    finally:
        with contextlib.suppress(Exception):  # the database may be what failed; tokens expire
            await preparation.revoke(prepared)


def api(port: int, left: Leftovers) -> Child:
    command = [
        *(sys.executable, "-m", "uvicorn", "asgi:application", "--host", HOST, "--port", str(port)),
        *("--loop", "uvloop", "--http", "app.ops.protocols:BoundedProtocol", "--ws", "none"),
        *("--log-level", "warning", "--no-access-log"),
        *("--timeout-graceful-shutdown", "10"),
    ]
    environment = env.inherited(DJANGO_SETTINGS_MODULE="settings.development")
    return Child("api", command, environment, note=left.note)


def agent(url: str, token: str, left: Leftovers) -> Child:
    environment = env.inherited(STOWAGE_URL=url, STOWAGE_TOKEN=token)
    return Child("agent", [sys.executable, "-m", "app.agent"], environment, note=left.note)


async def keep_running(directory: Path) -> None:
    """Start the database again when it dies. Raises EmbeddedError when it won't stay up."""
    quick_deaths, started_at = 0, time.monotonic()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if embedded.is_running(directory):
            continue
        lived_seconds = time.monotonic() - started_at
        quick_deaths = quick_deaths + 1 if lived_seconds < STEADY_SECONDS else 1
        last = embedded.last_words(directory)
        if quick_deaths >= MOST_QUICK_DEATHS:
            raise embedded.EmbeddedError(f"The database died again and again: {last}")
        print(f"db    | died: {last}; starting it again", flush=True)
        await asyncio.to_thread(embedded.start, directory)
        started_at = time.monotonic()


async def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    obstacles = ["no answer"]
    while time.monotonic() < deadline:
        obstacles = await find_obstacles(port)
        if not obstacles:
            return
        await asyncio.sleep(0.03)
    raise UpError(
        f"The API is not ready after {READY_SECONDS:g} seconds: {'; '.join(obstacles)}. "
        "Mend that, then start again."
    )


async def find_obstacles(port: int) -> list[str]:
    """What /readyz says keeps the API from serving; nothing when it is ready."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError as error:
        return [f"no connection: {error.strerror}"]
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        head, _, body = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
        if b" 200 " in head.partition(b"\r\n")[0]:
            return []
        answer: dict[str, Any] = json.loads(body)
        return [str(obstacle) for obstacle in answer["obstacles"]]
    except (OSError, TimeoutError, ValueError, KeyError) as error:
        return [f"no answer: {error!r}"]
    finally:
        writer.close()


def relative(path: Path) -> Path:
    with contextlib.suppress(ValueError):
        return path.resolve().relative_to(Path.cwd())
    return path


if __name__ == "__main__":
    sys.exit(main())
