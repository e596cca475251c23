"""`python -m app.ops.up`, what `make up` runs: database, API and agent as one, on this machine.

Theory of operation. One process supervises. It takes a lock on var/, starts the embedded PostgreSQL
(or uses the server that DATABASE_URL names), migrates, mints tokens, starts the API and the agent
and waits until the API is ready. The tokens of the agent and of the printed `curl` line live as
long as the run: only their digests are stored, and they are deleted on the way out.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from app.ops import embedded
from app.ops.supervisor import Child, ChildError, Supervisor
from settings import env

if TYPE_CHECKING:
    from app.ops import preparation

ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
READY_SECONDS = 30.0


class UpError(Exception):
    """Stowage can't be started; the message is one line that names the cause and the remedy."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make up", description="Serve Stowage on this machine.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--var", type=Path, default=ROOT / "var", help="where the data is kept")
    options = parser.parse_args()
    started_at = time.monotonic()
    try:
        with locked(options.var, options.port), database(options.var):
            prepare_database()
            return asyncio.run(serve(options.port, started_at))
    except (UpError, ChildError, embedded.EmbeddedError, env.SettingsError) as error:
        print(f"make up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


@contextlib.contextmanager
def locked(var: Path, port: int) -> Iterator[None]:
    """One run at a time for a directory and a port. The lock goes with the process."""
    check_port(port)
    try:
        var.mkdir(parents=True, exist_ok=True)
        file = (var / "up.lock").open("a+")
    except OSError as error:
        raise UpError(f"{var}: {error.strerror}. Make it writable.") from error
    with file:
        take_lock(file, var)
        yield


def take_lock(file: IO[str], var: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise UpError(
            f"Stowage runs from {var} already (process {file.read().strip() or 'unknown'}). "
            "Stop it with Ctrl-C, or kill that process."
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()


def check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise UpError(f"PORT={port} is no port. Write one from 1 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise UpError(f"Port {port} needs root. Take another: make up PORT=8000") from None
        except OSError:
            raise UpError(
                f"Port {port} is taken{holder_of(port)}. Stop what holds it, or take another: "
                f"make up PORT={port + 1}"
            ) from None


def holder_of(port: int) -> str:
    """Who listens there, as far as this user may know."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == "LISTEN" and connection.laddr[1:] == (port,)
            if listens and connection.pid:
                name = psutil.Process(connection.pid).name()
                return f" by {name} (process {connection.pid})"
    return ""


@contextlib.contextmanager
def database(var: Path) -> Iterator[None]:
    """From here on DATABASE_URL names a server: the caller's, or the embedded one, run by us."""
    if env.is_set("DATABASE_URL"):
        env.database()  # raises when it is no URL of a PostgreSQL
        yield
        return
    directory = var / "postgres"
    env.put("DATABASE_URL", embedded.start(directory))
    try:
        yield
    finally:
        embedded.stop(directory)


def prepare_database() -> None:
    from app.ops import preparation  # sets Django up, which reads DATABASE_URL

    try:
        preparation.migrate()
    except preparation.PreparationError as error:
        raise UpError(str(error)) from error


async def serve(port: int, started_at: float) -> int:
    """Prepare, run until a signal, clean up. Returns the exit code."""
    from app.ops import preparation

    supervisor = Supervisor([])
    supervisor.listen_for_signals()
    prepared = await preparation.prepare()
    url = f"http://{HOST}:{port}"
    ready = asyncio.Event()
    supervisor.children = [agent(url, prepared.agent_token, ready), api(port)]
    announcement = asyncio.create_task(announce(url, prepared, started_at, ready))
    try:
        await supervisor.run()
    finally:
        announcement.cancel()
        await asyncio.gather(announcement, return_exceptions=True)
        await preparation.revoke(prepared)
    print("Stopped. The data is kept under var/.", flush=True)
    return 0


def api(port: int) -> Child:
    command = [
        *(sys.executable, "-m", "uvicorn", "asgi:application", "--host", HOST, "--port", str(port)),
        *("--log-level", "warning", "--timeout-graceful-shutdown", "10"),
    ]
    return Child("api", command, env.inherited(DJANGO_SETTINGS_MODULE="settings.development"))


def agent(url: str, token: str, api_ready: asyncio.Event) -> Child:
    environment = env.inherited(STOWAGE_URL=url, STOWAGE_TOKEN=token)
    command = [sys.executable, "-m", "app.agent"]
    return Child("agent", command, environment, start_after=api_ready)


async def announce(
    url: str, prepared: "preparation.Prepared", started_at: float, ready: asyncio.Event
) -> None:
    """Wait until the API is ready, say what to open, and let the agent start."""
    await wait_until_ready(url)
    ready.set()
    print(prepared.describe(url, time.monotonic() - started_at), flush=True)


async def wait_until_ready(url: str) -> None:
    port = int(url.rpartition(":")[2])
    while not await is_ready(port):  # noqa: ASYNC110 - another process becomes ready
        await asyncio.sleep(0.05)


async def is_ready(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return b" 200 " in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()


if __name__ == "__main__":
    sys.exit(main())
