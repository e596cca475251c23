"""LISTEN and NOTIFY."""

import asyncio

import pytest
from django.db import connections

from app import db
from app.db.notifications import Notification
from tests.db.servers import Proxy

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def listeners():
    """Those that are listening: idle, as the statement takes effect at its end."""
    sql = "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE 'LISTEN%' "
    sql += "AND state = 'idle' "
    return (await db.fetch(sql + "AND datname = current_database()"))[0]["n"]


async def started(listener):
    """The task that waits for the next message; it listens by the time that this returns."""
    for _ in range(200):
        if not await listeners():  # of the test before, on its way out
            break
        await asyncio.sleep(0.01)
    task = asyncio.create_task(anext(listener))
    for _ in range(200):
        if await listeners():
            return task
        await asyncio.sleep(0.01)
    raise AssertionError("nobody listens")


async def test_a_message_is_heard(database):
    listener = db.listen("harbour")
    task = await started(listener)
    await db.notify("harbour", "a ship; 100%")
    assert await task == Notification("harbour", "a ship; 100%")
    await listener.aclose()


async def test_a_message_waits_for_the_commit(committed):
    listener = db.listen("harbour")
    task = await started(listener)
    with pytest.raises(KeyError):  # noqa: PT012 - a block with its transaction
        async with db.atomic():
            await db.notify("harbour", "never")
            raise KeyError
    async with db.atomic():
        await db.notify("harbour", "later")
        await asyncio.sleep(0.02)
        assert not task.done()
    assert (await task).payload == "later"
    await listener.aclose()


async def test_a_lost_connection_is_replaced_and_the_gap_is_said(pool_to):
    entry = dict(connections.settings["default"])
    async with Proxy(entry) as proxy, pool_to():
        settings = connections.settings["default"]
        kept = dict(settings)
        settings.update(HOST="127.0.0.1", PORT=proxy.port)
        listener = db.listen("harbour")
        try:
            task = await started(listener)
            proxy.cut()
            assert (await task).is_gap
            await db.notify("harbour", "again")
            assert (await anext(listener)).payload == "again"
        finally:
            settings.update(kept)
            await listener.aclose()


async def test_who_stops_listening_leaves_no_connection(database):
    listener = db.listen("harbour")
    task = await started(listener)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await listener.aclose()
    for _ in range(100):
        if not await listeners():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("still there")
