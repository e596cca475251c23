"""The constraint that gives events their places."""

import pytest_asyncio

from app import db


@pytest_asyncio.fixture(loop_scope="session")
async def placed_events(transaction: None) -> None:
    """Events get their positions at once: the test's transaction never commits."""
    await db.execute("SET CONSTRAINTS fleet_event_place IMMEDIATE")
