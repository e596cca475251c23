"""Copies of the project, for tests that change its files, each with a database of its own."""

import os
import subprocess
from pathlib import Path

import psycopg

from tests.running import ROOT


def make(target: Path) -> None:
    """Put the files that git tracks, as they stand in the working tree, below `target`."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())


def database(name: str) -> str:
    """The address of a new database, so that a copy's migrations meet nobody else's."""
    server = os.environ["DATABASE_URL"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    start, _, options = server.partition("?")
    return f"{start.rpartition('/')[0]}/{name}" + (f"?{options}" if options else "")
