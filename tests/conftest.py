"""Fixtures that every test may ask for, and the guards that every test runs under."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from inspect import iscoroutinefunction

import pytest
import pytest_asyncio
from hypothesis import find, settings
from hypothesis.strategies import text

import asgi  # noqa: F401 - it configures logging, which takes from a running test its caplog
from app.db.testing import committed, database, django_db_setup, transaction
from app.rest.test import APIClient
from app.rest.throttling import store
from tests import guards
from tests.clients import agent, client_with, reader, writer

__all__ = [
    "agent",
    "client",
    "client_with",
    "committed",
    "database",
    "django_db_setup",
    "hops",
    "reader",
    "transaction",
    "writer",
]


@pytest.fixture(scope="session", autouse=True)
def unicode_tables() -> None:
    """Have hypothesis read Unicode's tables now: the first test that draws text would take seconds
    for that, of the five that it has."""
    find(text(min_size=1), bool, settings=settings(database=None, max_examples=1))


@pytest.fixture
def client() -> APIClient:
    """DRF's test client, async, over the real ASGI application."""
    return APIClient()


@pytest.fixture
def hops() -> Iterator[list[str]]:
    """The threads that requests of this test enter; `assert not hops` is the hop budget."""
    with guards.counted_hops() as counted:
        yield counted


@pytest.fixture(autouse=True)
def guarded(request: pytest.FixtureRequest) -> Iterator[None]:
    """The guards of `tests/guards.py`, around every coroutine test."""
    store.clear()
    if not iscoroutinefunction(request.function):
        yield
        return
    if request.node.get_closest_marker("leaks") is None:
        request.getfixturevalue("unleaked")
    with ExitStack() as stack:
        if request.node.get_closest_marker("hops") is None:
            stack.enter_context(guards.no_hops())
        if request.node.get_closest_marker("blocks") is None:
            stack.enter_context(guards.no_stalls())
            stack.enter_context(guards.no_blocking())
        yield


@pytest_asyncio.fixture(loop_scope="session")
async def unleaked() -> AsyncIterator[None]:
    """No task and no database connection is left over."""
    async with guards.no_leaked_tasks(), guards.no_leaked_links():
        yield
