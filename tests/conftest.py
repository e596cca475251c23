"""Fixtures that every test may ask for, and the guards that every test runs under."""

import asyncio
import gc
from collections.abc import Iterator
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
from tests.tracebacks import pytest_runtest_makereport

__all__ = [
    "agent",
    "client",
    "client_with",
    "committed",
    "database",
    "django_db_setup",
    "hops",
    "pytest_runtest_makereport",
    "reader",
    "transaction",
    "writer",
]


@pytest.fixture(scope="session", autouse=True)
def unicode_tables() -> None:
    """Have hypothesis read Unicode's tables now: the first test that draws text would take seconds
    for that, of the five that it has."""
    find(text(min_size=1), bool, settings=settings(database=None, max_examples=1))


def pytest_collection_finish() -> None:
    """What is there by now stays: no collection of garbage needs to look through it."""
    gc.collect()
    gc.freeze()


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
    with ExitStack() as stack:
        if request.node.get_closest_marker("leaks") is None:
            loop = request.getfixturevalue("tests_loop")
            stack.enter_context(guards.nothing_leaked(loop))
        if request.node.get_closest_marker("hops") is None:
            stack.enter_context(guards.no_hops())
        if request.node.get_closest_marker("blocks") is None:
            stack.enter_context(guards.no_stalls())
            stack.enter_context(guards.no_blocking())
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tests_loop() -> asyncio.AbstractEventLoop:
    """The loop that the tests run on."""
    return asyncio.get_running_loop()
