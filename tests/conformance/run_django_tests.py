"""Run Django's own test suite through app.db, from Django's source distribution.

    python -m tests.conformance.run_django_tests [label ...]

DATABASE_URL names the server, which needs the contrib extensions; without it one is started
in a container. The source is taken from DJANGO_SOURCE, or fetched from the package index, in the
version that is installed, into var/django.
"""

import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import django
import psycopg

from tests.db.servers import docker, until

ROOT = Path(__file__).resolve().parents[2]

LABELS = [
    "aggregation",
    "aggregation_regress",
    "annotations",
    "basic",
    "bulk_create",
    "custom_lookups",
    "datatypes",
    "dates",
    "datetimes",
    "db_functions",
    "defer",
    "delete",
    "distinct_on_fields",
    "expressions",
    "expressions_case",
    "expressions_window",
    "extra_regress",
    "foreign_object",
    "from_db_value",
    "generic_relations",
    "get_or_create",
    "lookup",
    "m2m_through",
    "many_to_many",
    "many_to_one",
    "model_fields",
    "model_inheritance",
    "null_queries",
    "one_to_one",
    "ordering",
    "postgres_tests",
    "prefetch_related",
    "queries",
    "raw_query",
    "select_for_update",
    "select_related",
    "timezones",
    "transactions",
    "update",
    "update_only_fields",
]


def source() -> Path:
    """The directory of Django's tests, fetched on the first run."""
    if "DJANGO_SOURCE" in os.environ:
        return Path(os.environ["DJANGO_SOURCE"]) / "tests"
    version = django.get_version()
    directory = ROOT / "var" / "django"
    tree = directory / f"django-{version}"
    if not tree.exists():
        directory.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip"] if find_spec("pip") else ["uv", "tool", "run", "pip"]
        command = [*pip, "download", "--quiet", "--no-deps", "--no-binary", "django"]
        command += [f"django=={version}", "--dest", str(directory)]
        subprocess.run(command, check=True)
        with tarfile.open(directory / f"django-{version}.tar.gz") as archive:
            archive.extractall(directory, filter="data")
    return tree / "tests"


@contextmanager
def server() -> Iterator[str]:
    """The address of a server with the contrib extensions."""
    if "DATABASE_URL" in os.environ:
        yield os.environ["DATABASE_URL"]
        return
    words = ["-e", "POSTGRES_PASSWORD=secret", "-p", "127.0.0.1::5432", "postgres:17-trixie"]
    name = docker("run", "-d", *words, "-c", "fsync=off")
    try:
        port = docker("port", name, "5432/tcp").rpartition(":")[2]
        url = f"postgresql://postgres:secret@127.0.0.1:{port}/postgres"
        until(lambda: psycopg.connect(url).close())
        yield url
    finally:
        docker("rm", "-f", "-v", name)


def drop_leftovers(url: str) -> None:
    """Drop the databases of a run that was cut short."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ("test_app_db", "test_app_db_other"):
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def main(labels: list[str]) -> int:
    tests = source()
    command = [sys.executable, "runtests.py", "--settings=tests.conformance.django_settings"]
    command += ["--parallel=1", "--noinput", *(labels or LABELS)]
    with server() as url:
        drop_leftovers(url)
        environment = {
            **os.environ,
            "DATABASE_URL": url,
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
        }
        return subprocess.run(command, cwd=tests, env=environment, check=False).returncode


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the container goes, too
    sys.exit(main(sys.argv[1:]))
