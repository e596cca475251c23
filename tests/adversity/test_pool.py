"""More tasks than connections: a bounded wait, in order, and no connection too many."""

import asyncio
import time

import pytest

from app import db
from app.accounts import tokens
from app.db.connections import current_pool
from app.errors import Unavailable
from app.rest.test import APIClient
from tests.adversity.ways import assert_sound, fill, is_settled, reaching, until
from tests.conformance.db import models as m

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def hold(seconds: float) -> None:
    await db.fetch("SELECT pg_sleep(%s)", seconds)


async def connections_of(witness) -> int:
    return await witness.value(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crowd'"
    )


CROWD = {"OPTIONS": {"application_name": "crowd"}}


@pytest.mark.timeout(15)  # a thousand tasks on a busy machine
async def test_thousand_tasks_share_few_connections(witness):
    async def work(n):
        async with db.atomic():
            return (await db.fetch("SELECT %s::int AS n", n))[0]["n"]

    most = 0

    async def watch():
        nonlocal most
        while True:
            most = max(most, await connections_of(witness))
            await asyncio.sleep(0.005)

    async with reaching(CROWD, max_size=3, wait_seconds=15):
        watcher = asyncio.create_task(watch())
        assert await asyncio.gather(*map(work, range(1000))) == list(range(1000))
        watcher.cancel()
        await asyncio.wait([watcher])
        assert db.statistics()["opened"] == 3
        assert db.statistics()["timeouts"] == 0
        await assert_sound(witness)
    assert most == 3


async def test_who_waits_too_long_is_told_and_the_pool_recovers(witness):
    async with reaching(max_size=2, wait_seconds=0.2):
        holders = [asyncio.create_task(hold(60)) for _ in range(2)]
        await until(lambda: db.statistics()["in_use"] == 2)
        start = time.monotonic()
        waiters = await asyncio.gather(*(hold(0) for _ in range(998)), return_exceptions=True)
        assert 0.2 <= time.monotonic() - start < 4  # all at once: 200 s one after the other
        assert {type(error) for error in waiters} <= {type(waiters[0])}
        assert isinstance(waiters[0], Unavailable)
        assert str(waiters[0]) == (
            "All 2 database connections were in use for 0.2 s. Raise DATABASE_POOL['max_size']."
        )
        assert db.statistics()["timeouts"] == 998
        for holder in holders:
            holder.cancel()
        await asyncio.wait(holders)
        await asyncio.gather(*(hold(0) for _ in range(20)))
        await assert_sound(witness)


async def test_connections_are_given_in_the_order_of_asking(witness):
    served: list[int] = []

    async def work(n):
        await hold(0)
        served.append(n)

    async with reaching(max_size=1):
        link = await current_pool().acquire()
        waiters = []
        for n in range(20):
            waiters.append(asyncio.create_task(work(n)))
            await until(lambda n=n: db.statistics()["waiting"] == n + 1)
        link.release()
        await asyncio.gather(*waiters)
    assert served == list(range(20))


async def test_newcomers_do_not_starve_who_waits(witness):
    """Tasks that ask again at once, all the time, against one that asked once."""

    async def greedy():
        while True:
            await hold(0.002)

    async with reaching(max_size=2, wait_seconds=2):
        crowd = [asyncio.create_task(greedy()) for _ in range(10)]
        await until(lambda: db.statistics()["waiting"] >= 8)
        for _ in range(5):
            await hold(0)
        for task in crowd:
            task.cancel()
        await asyncio.wait(crowd)
        assert db.statistics()["timeouts"] == 0
        await assert_sound(witness)


@pytest.mark.parametrize("waiters", [1, 3])
async def test_room_of_a_lost_connection_goes_to_the_first_in_line(witness, waiters):
    """A connection is lost while others wait: its room isn't taken by who comes at that moment."""
    served: list[str] = []

    async def work(name):
        await hold(0)
        served.append(name)

    async with reaching(max_size=1):
        link = await current_pool().acquire()
        tasks = [asyncio.create_task(work(f"waiter {n}")) for n in range(waiters)]
        await until(lambda: db.statistics()["waiting"] == waiters)
        tasks.append(asyncio.create_task(work("late")))  # its first step comes before a waiter's
        link.raw.terminate()
        link.release()
        await asyncio.gather(*tasks)
        assert served == [*(f"waiter {n}" for n in range(waiters)), "late"]
        await assert_sound(witness)


async def test_transaction_left_open_is_not_handed_on(witness):
    async with reaching(max_size=1):
        link = await current_pool().acquire()
        await link.raw.execute("BEGIN")
        then = await link.raw.fetchval("SELECT clock_timestamp()")
        link.release()
        assert await db.fetch("SELECT now() > %s AS is_fresh", then) == [{"is_fresh": True}]
        await assert_sound(witness)


async def test_cancelled_while_waiting_in_line(witness):
    async with reaching(max_size=1):
        holder = asyncio.create_task(hold(0.2))
        await until(lambda: db.statistics()["in_use"])
        waiters = [asyncio.create_task(hold(0)) for _ in range(10)]
        await until(lambda: db.statistics()["waiting"] == 10)
        for task in waiters[::2]:
            task.cancel()
        await asyncio.gather(holder, *waiters[1::2])
        await assert_sound(witness)


async def test_closing_while_connections_are_in_use(witness):
    async with reaching(max_size=1):
        pool = current_pool()
        holder = asyncio.create_task(hold(0.1))
        await until(lambda: db.statistics()["in_use"])
        waiter = asyncio.create_task(hold(0))
        await until(lambda: db.statistics()["waiting"])
        await db.close()
        with pytest.raises(Unavailable, match="closed"):
            await waiter
        await db.open()
        await holder  # what was under way is finished, on the pool that it began on
        assert pool.statistics()["size"] == 0
        await assert_sound(witness)


async def test_idle_connections_are_closed_after_a_while(witness):
    async with reaching(CROWD, max_size=5, idle_seconds=0.1):
        await asyncio.gather(*(hold(0.02) for _ in range(5)))
        assert db.statistics()["idle"] == 5
        await until(lambda: db.statistics()["size"] == 0)
        assert await db.fetch("SELECT 1 AS n") == [{"n": 1}]


async def test_exhausted_pool_is_503_at_the_edge(shelf, witness):
    client = APIClient(headers={"authorization": f"Bearer {tokens.generate().text}"})
    async with reaching(max_size=1, wait_seconds=0.1):
        holder = asyncio.create_task(hold(60))
        await until(lambda: db.statistics()["in_use"])
        response = await client.get("/api/v1/hosts/")
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) >= 1
        assert "password" not in response.content.decode()
        holder.cancel()
        await asyncio.wait([holder])
        await until(is_settled)
        response = await client.get("/api/v1/hosts/")
        assert response.status_code == 401


async def test_iterating_holds_one_connection_beside_that_of_the_body(shelf, witness):
    await fill(witness)
    async with reaching(max_size=2):
        async for book in m.Book.objects.aiterator(chunk_size=2):
            await m.Book.objects.filter(pk=book.pk).aupdate(pages=0)
        assert db.statistics()["opened"] == 2
        await assert_sound(witness)
