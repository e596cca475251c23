"""The parts that the adversity tests share: rows to work on, a witness, a proxy."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from django.db import connections

from tests.adversity.proxies import SOCKET, Proxy
from tests.adversity.ways import Witness, fill, witness_of


@pytest_asyncio.fixture(loop_scope="session")
async def witness(database: None) -> AsyncIterator[Witness]:
    async with witness_of() as witness:
        yield witness


@pytest_asyncio.fixture(loop_scope="session")
async def shelf(witness: Witness) -> AsyncIterator[None]:
    """Two publishers with three books each, committed; gone after the test."""
    await fill(witness)
    yield
    await witness.raw.execute(
        "TRUNCATE conformance_publisher, conformance_book, conformance_author"
        " RESTART IDENTITY CASCADE"
    )


@pytest_asyncio.fixture(loop_scope="session")
async def proxy(witness: Witness) -> AsyncIterator[Proxy]:
    """A proxy in front of the tests' server; app.db reaches it with `through(proxy)`."""
    target = Path(connections.settings["default"]["HOST"]) / SOCKET
    with tempfile.TemporaryDirectory(prefix="stowage-") as directory:
        async with Proxy(Path(directory), str(target)) as proxy:
            yield proxy
