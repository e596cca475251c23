"""A PostgreSQL of the tests' own, which they may restart, and PgBouncer: real ones, on loopback."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import psutil

from app.ops import embedded
from tests.adversity.proxies import free_port

PASSWORD = "päss word%/?"
Mode = Literal["fast", "immediate"]


class Server:
    """A PostgreSQL that listens on TCP and asks for a SCRAM password.

    `entry` is what differs from DATABASES["default"] to reach it. Its methods block: call them in a
    thread.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.entry: dict[str, Any] = {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "NAME": "postgres",
            "USER": "sailor",
            "PASSWORD": PASSWORD,
            "OPTIONS": {},
        }

    def make(self) -> None:
        """An empty one, started."""
        url = embedded.start(self.directory)
        quoted = PASSWORD.replace("'", "''")
        role = f"CREATE ROLE sailor SUPERUSER LOGIN PASSWORD '{quoted}'"
        self._run("psql", "-qX", "-d", url, "-c", role)
        embedded.stop(self.directory)
        with (self.directory / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nfsync = off\n"
                "unix_socket_directories = ''\nmax_connections = 30\n"
            )
        (self.directory / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        self._control("start", "-l", str(self.directory / "log"))

    def stop(self, mode: Mode = "fast") -> None:
        self._control("stop", "-m", mode)

    def restart(self, mode: Mode) -> None:
        self._control("restart", "-m", mode, "-l", str(self.directory / "log"))

    @property
    def url(self) -> str:
        """What another process writes in DATABASE_URL."""
        return f"postgresql://sailor:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/postgres"

    def crash(self) -> None:
        """As a machine that loses power, and is there again at once: nobody says goodbye."""
        postmaster = int((self.directory / "postmaster.pid").read_text().splitlines()[0])
        children = psutil.Process(postmaster).children()
        for process in (psutil.Process(postmaster), *children):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(children, 20)
        self._control("start", "-l", str(self.directory / "log"))

    def _control(self, *words: str) -> None:
        self._run("pg_ctl", "-s", "-w", "-D", str(self.directory), *words)

    def _run(self, program: str, *words: str) -> None:
        account = embedded._as(embedded._account(self.directory))
        subprocess.run(
            [str(embedded.programs() / program), *words],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # a pipe would be held open by the server
            **account,
        )


@contextlib.contextmanager
def pgbouncer(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """PgBouncer in transaction mode, with two connections to the server that `entry` names.

    It asks for a SCRAM password, and offers TLS. Yields what differs from `entry` to come through
    PgBouncer, with its certificate verified. Raises when PgBouncer is not installed.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "PgBouncer is not installed: apt-get install pgbouncer"
    with tempfile.TemporaryDirectory(prefix="stowage-") as directory:
        yield from _pgbouncer(program, Path(directory), entry)


def _pgbouncer(program: str, directory: Path, entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    port = free_port()
    settings, users = directory / "pgbouncer.ini", directory / "users.txt"
    users.write_text(f'"{entry["USER"]}" "{PASSWORD}"\n')
    key, certificate = make_certificate(directory)
    settings.write_text(f"""
[databases]
* = host={entry["HOST"]} port={entry["PORT"] or 5432}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = 2
max_client_conn = 100
client_tls_sslmode = allow
client_tls_key_file = {key}
client_tls_cert_file = {certificate}
""")
    account: dict[str, Any] = {}
    if os.geteuid() == 0:  # it refuses to be root; whose the server's socket is may reach it
        owner = pwd.getpwuid(Path(entry["HOST"]).stat().st_uid)
        account = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        for path in (directory, settings, users, key, certificate):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, str(settings)], stdout=log, stderr=log, **account)
    try:
        _wait_for(port, process, directory / "log")
        options = {"sslmode": "verify-full", "sslrootcert": str(certificate)}
        yield {"HOST": "localhost", "PORT": str(port), "PASSWORD": PASSWORD, "OPTIONS": options}
    finally:
        process.terminate()
        process.wait(10)


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A key, and a certificate for `localhost` that it signed itself."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return key, certificate


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
