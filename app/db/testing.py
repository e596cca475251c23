"""Fixtures for tests of a project on app.db; `tests/conftest.py` imports them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio
from django.db import connections
from django.test.utils import setup_databases, teardown_databases

from app.db import logs
from app.db.connections import _session, close_pool, new_wrapper
from app.db.statements import execute
from app.db.transactions import Atomic, retry

#: What migrations fill, and Django caches.
KEPT = {"auth_permission", "django_content_type", "django_migrations"}


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_blocker: Any, django_db_keepdb: bool
) -> Iterator[None]:
    """The test database, made for every run: pytest-django's own makes it for tests that it marked
    only.
    """
    with django_db_blocker.unblock():
        made = setup_databases(
            0, interactive=False, aliases={"default": None}, keepdb=django_db_keepdb
        )
    yield
    if not django_db_keepdb:
        with django_db_blocker.unblock():
            _end_other_sessions()
            teardown_databases(made, 0)


def _end_other_sessions() -> None:
    """A thread that a test went through keeps a connection of its own, which nobody else can close;
    a database in use can't be dropped.
    """
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database(django_db_setup: None) -> AsyncIterator[None]:
    """The test database, reached through the pool of the tests' loop."""
    yield
    await close_pool()


@pytest_asyncio.fixture(loop_scope="session")
async def transaction(database: None) -> AsyncIterator[None]:
    """The test runs in one transaction, rolled back after it. Tasks that it starts share it, one at
    a time.
    """
    session = new_wrapper()
    session.lock = asyncio.Lock()
    token = _session.set(session)
    block = Atomic(savepoint=True, durable=False, isolation=None, read_only=False)
    vars(block._inner)["_from_testcase"] = True  # a durable block may be inside it
    await block.__aenter__()
    try:
        yield
    finally:
        if session.in_atomic_block:
            session.set_rollback(True)
        await block.__aexit__(None, None, None)
        session.is_over = True
        session.release()
        _session.reset(token)


@pytest_asyncio.fixture(loop_scope="session")
async def committed(database: None) -> AsyncIterator[None]:
    """The test commits for real; every table but those of migrations is emptied after it."""
    yield
    # Of the models, not of the catalogue: introspection asks on a connection of its own.
    tables = connections["default"].introspection.django_table_names(only_existing=False)
    names = ", ".join(f'"{name}"' for name in sorted(set(tables) - KEPT))
    # Again after a deadlock: with a statement that the server of a killed process still runs, say.
    await retry(execute, f"TRUNCATE {names} RESTART IDENTITY CASCADE")


class Queries(list[dict[str, str]]):
    """The queries of a block, in Django's format: {"sql": ..., "time": ...}."""


@contextmanager
def capture_queries() -> Iterator[Queries]:
    """Collect the queries of this block and of the tasks that it starts."""
    queries = Queries()
    token = logs.captures.set((*logs.captures.get(), queries))
    try:
        yield queries
    finally:
        logs.captures.reset(token)


@contextmanager
def assert_num_queries(number: int) -> Iterator[Queries]:
    """Django's assertNumQueries for awaited code: the block runs exactly `number` queries."""
    with capture_queries() as queries:
        yield queries
    if len(queries) != number:
        listing = "\n".join(f"{n}. {query['sql']}" for n, query in enumerate(queries, 1))
        pytest.fail(f"{len(queries)} queries executed, {number} expected:\n{listing}")


__all__: list[Any] = [
    "assert_num_queries",
    "capture_queries",
    "committed",
    "database",
    "transaction",
]
