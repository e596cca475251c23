"""Servers for tests of the way to the database: a proxy that cuts, PostgreSQL over TCP with TLS."""

import asyncio
import contextlib
import socket
import subprocess
import time
from pathlib import Path

import psycopg


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
