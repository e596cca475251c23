"""Servers for tests of the way to the database: a proxy that cuts, a PostgreSQL over TCP with TLS,
PgBouncer.
"""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from app.ops import embedded


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Proxy:
    """A TCP port that leads to a server, until it is told to cut."""

    def __init__(self, entry):
        self.entry = entry
        self.port = free_port()
        self.is_refusing = False
        self.writers = set()
        self.passed_bytes = 0
        self.cut_after_bytes = None

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *exc_info):
        self.cut()
        self.server.close()

    def cut(self):
        """Drop every connection, without a goodbye."""
        for writer in list(self.writers):
            writer.transport.abort()
        self.writers.clear()

    async def serve(self, reader, writer):
        if self.is_refusing:
            writer.transport.abort()
            return
        there = await self.dial()
        self.writers |= {writer, there[1]}
        await asyncio.gather(
            self.pipe(reader, there[1]), self.pipe(there[0], writer), return_exceptions=True
        )
        for end in (writer, there[1]):
            self.writers.discard(end)
            end.transport.abort()

    async def dial(self):
        host = self.entry["HOST"] or "127.0.0.1"
        port = self.entry["PORT"] or 5432
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def pipe(self, source, sink):
        while data := await source.read(65536):
            self.passed_bytes += len(data)
            if self.cut_after_bytes is not None and self.passed_bytes > self.cut_after_bytes:
                self.cut()
                return
            sink.write(data)
            await sink.drain()
        sink.transport.abort()


class Server:
    """A PostgreSQL of a test's own, reached over TCP."""

    def __init__(self, directory, **options):
        self.directory = Path(directory)
        self.port = free_port()
        self.options = options
        self.process = None

    def make(self):
        embedded.start(self.directory)
        embedded.stop(self.directory)

    def allow(self, *lines):
        (self.directory / "pg_hba.conf").write_text("\n".join(lines) + "\n")

    def start(self):
        account = embedded._account(self.directory)
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
            **self.options,
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self.directory / "test.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(embedded.programs() / "postgres"), "-D", str(self.directory), *words],
                stdout=log, stderr=log, start_new_session=True, cwd="/", **embedded._as(account),
            )  # fmt: skip
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 1),
            ):
                return
            time.sleep(0.05)
        self.process.wait(5)
        raise AssertionError((self.directory / "test.log").read_text()[-2000:])

    def stop(self):
        self.process.send_signal(signal.SIGINT)  # at once: clients are dropped
        self.process.wait(15)


def docker(*words):
    run = subprocess.run(["docker", *words], check=True, capture_output=True, text=True)
    return run.stdout.strip()


def make_certificate(directory):
    """A key, and a certificate for this machine signed by itself."""
    key, certificate = Path(directory) / "server.key", Path(directory) / "server.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, certificate


@contextlib.contextmanager
def secure_postgres(directory, password):
    """PostgreSQL in a container, with SCRAM (its image's default) and TLS. Yields its entry."""
    key, certificate = make_certificate(directory)
    variable = f"POSTGRES_PASSWORD={password}"
    name = docker("run", "-d", "-e", variable, "-p", "127.0.0.1::5432", "postgres:17-trixie")
    try:
        port = int(docker("port", name, "5432/tcp").rpartition(":")[2])
        for path in (key, certificate):
            docker("cp", str(path), f"{name}:/var/lib/postgresql/{path.name}")
        docker("exec", name, "sh", "-c", "chown postgres /var/lib/postgresql/server.*")
        statements = [
            f"ALTER SYSTEM SET {setting} = '{value}'"
            for setting, value in (
                ("ssl_key_file", "/var/lib/postgresql/server.key"),
                ("ssl_cert_file", "/var/lib/postgresql/server.crt"),
                ("ssl", "on"),
            )
        ]
        for statement in [*statements, "SELECT pg_reload_conf()"]:
            until(lambda statement=statement: docker(
                "exec", "-e", f"PGPASSWORD={password}", name,
                "psql", "-h", "127.0.0.1", "-U", "postgres", "-c", statement,
            ))  # fmt: skip
        yield {
            "HOST": "127.0.0.1",
            "PORT": port,
            "NAME": "postgres",
            "USER": "postgres",
            "PASSWORD": password,
            "OPTIONS": {"sslmode": "verify-full", "sslrootcert": str(certificate)},
        }
    finally:
        docker("rm", "-f", "-v", name)


def until(call):
    """Call until it succeeds, for half a minute: a new server listens a while after it starts."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return call()
        except (OSError, subprocess.CalledProcessError, psycopg.OperationalError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@contextlib.contextmanager
def pgbouncer(directory, entry):
    """PgBouncer in transaction mode, in front of a server. Yields its port."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        if os.environ.get("CI"):
            raise AssertionError("PgBouncer is not installed: apt-get install pgbouncer")
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    port = free_port()
    settings = Path(directory) / "pgbouncer.ini"
    password = f" password={entry['PASSWORD']}" if entry["PASSWORD"] else ""
    settings.write_text(
        "[databases]\n"
        f"* = host={entry['HOST']} port={entry['PORT'] or 5432} "
        f"user={entry['USER']}{password}\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 50\n"
    )
    account = []
    if os.getuid() == 0:  # PgBouncer refuses to be root: it is who may reach the server's socket
        where = Path(entry["HOST"])
        owner = pwd.getpwuid(where.stat().st_uid).pw_name if where.is_dir() else "nobody"
        account = ["-u", owner if owner != "root" else "nobody"]
        settings.chmod(0o644)
        for parent in settings.parents[:3]:
            parent.chmod(parent.stat().st_mode | 0o055)
    process = subprocess.Popen(
        [program, *account, str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(5)
