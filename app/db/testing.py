"""Fixtures for tests of a project on app.db; `tests/conftest.py` imports them."""

from collections.abc import AsyncIterator

import pytest_asyncio


@pytest_asyncio.fixture
async def transaction() -> AsyncIterator[None]:
    yield


@pytest_asyncio.fixture
async def committed() -> AsyncIterator[None]:
    yield
