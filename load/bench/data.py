"""The data that every stack serves: a database made anew, on a PostgreSQL of its own."""

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from app.ops import embedded
from load.bench import works
from load.bench.environments import compile_stowage
from load.bench.servers import move_postgres
from load.bench.stowage.environment import stowage_environment
from settings import env

USERS = 100
CONNECTIONS = 400

# Tokens of the peers: as DRF's authtoken stores them, with what they may do.
PEERS_TABLES = """
    CREATE TABLE bench_user (
        id bigint PRIMARY KEY, username text NOT NULL UNIQUE, is_active boolean NOT NULL
    );
    CREATE TABLE bench_token (
        key text PRIMARY KEY, user_id bigint NOT NULL REFERENCES bench_user, scopes text[] NOT NULL
    );
"""
FILL = """
    INSERT INTO bench_team (name) SELECT 'team-' || n FROM generate_series(1, %(teams)s) n;
    INSERT INTO bench_host (name, cpus, memory_bytes, team_id, version, labels, created_at)
    SELECT
        'host-' || n, 4 + n %% 60, (16 + n %% 240) * 1073741824::bigint, 1 + n %% %(teams)s,
        1 + n %% 7, jsonb_build_object('zone', 'z' || n %% 3, 'rack', (n / 40)::text),
        %(first)s::timestamptz + n * interval '1 second'
    FROM generate_series(1, %(hosts)s) n;
    INSERT INTO bench_sample (host_id, at, cpu, memory_bytes)
    SELECT h, %(first)s::timestamptz + n * interval '1 minute', ((h * n) %% 800) / 100.0,
        (h * n) %% 1000 * 1048576::bigint
    FROM generate_series(1, %(hosts)s) h, generate_series(0, %(samples)s - 1) n;
"""
CLEAN = (
    "DELETE FROM bench_sample WHERE at >= '2026-01-20'",  # what was ingested
    "DELETE FROM bench_host WHERE name NOT LIKE 'host-%'",
    "VACUUM ANALYZE bench_sample, bench_host",
)


@dataclass(frozen=True)
class Data:
    """Where it lies, and the tokens of a hundred users: Stowage's, and the peers'."""

    url: str
    tokens: tuple[str, ...]

    def clean(self) -> None:
        """Take out what was written since `prepare`."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in CLEAN:
                connection.execute(statement)


class BusyError(Exception):
    """Another run uses the directory; the message says so."""


@contextmanager
def prepared(var: Path) -> Iterator[Data]:
    """PostgreSQL under `var` with the data made anew, on the other core, for as long as the block
    runs. Raises BusyError.
    """
    var.mkdir(parents=True, exist_ok=True)
    with (var / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BusyError(f"Another run uses {var}. Wait for it.") from error
        try:
            made = prepare(var / "postgres")
            move_postgres(var / "postgres")
            yield made
        finally:
            embedded.stop(var / "postgres")


def prepare(directory: Path) -> Data:
    """Start PostgreSQL with its data in `directory`, and make the database anew."""
    server = embedded.start(directory)
    _allow_connections(server, directory)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS bench WITH (FORCE)")
        connection.execute("CREATE DATABASE bench")
    url = f"postgresql://postgres@/bench?host={quote(str(embedded.sockets(directory)))}"
    compile_stowage(url)
    done = subprocess.run(
        [sys.executable, "-m", "load.bench.stowage.prepare", str(USERS)],
        env=env.inherited(**stowage_environment(url)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"The tables could not be made:\n{done.stderr}")
    tokens = tuple(json.loads(done.stdout))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(PEERS_TABLES)
        values = {
            "teams": works.TEAMS,
            "hosts": works.HOSTS,
            "first": works.FIRST_AT,
            "samples": works.SAMPLES_PER_HOST,
        }
        for statement in filter(str.strip, FILL.split(";")):
            connection.execute(statement, values)  # type: ignore[arg-type]
        for pk, token in enumerate(tokens, 1):
            connection.execute("INSERT INTO bench_user VALUES (%s, %s, true)", [pk, f"user-{pk}"])
            connection.execute(
                "INSERT INTO bench_token VALUES (%s, %s, %s)", [token, pk, ["read", "write"]]
            )
        connection.execute("VACUUM ANALYZE")
    return Data(url, tokens)


def _allow_connections(server: str, directory: Path) -> None:
    """Every stack keeps a pool, and all are up together."""
    with psycopg.connect(server, autocommit=True) as connection:
        row = connection.execute("SHOW max_connections").fetchone()
        if row and int(row[0]) >= CONNECTIONS:
            return
        connection.execute(f"ALTER SYSTEM SET max_connections = {CONNECTIONS}")
    embedded.stop(directory)
    embedded.start(directory)
