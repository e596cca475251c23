"""What goes wrong on the way to the database stays where it went wrong: nothing leaks, nothing is
poisoned.
"""

# ruff: noqa: PT012 - what raises is a block with its transaction

import asyncio

import pytest
from django.db import OperationalError, connections

from app import db
from app.db.errors import UnreachableError
from app.db.pools import Limits
from app.errors import Unavailable
from tests.conformance.db.models import Author, Publisher
from tests.db.servers import Proxy

pytestmark = pytest.mark.asyncio(loop_scope="session")

PORT = {"HOST": "127.0.0.1"}


def here():
    return dict(connections.settings["default"])


async def ask(n=1):
    return (await db.fetch("SELECT %s::int AS n", n))[0]["n"]


def named(name):
    return {"application_name": name}


async def settled(pool):
    """Wait until the pool has tidied up what came back."""
    for _ in range(200):
        if not pool._tidying and not pool._taken:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(pool.statistics())


async def running(name):
    """Sessions of an application at work or in a transaction; the server may take a moment."""
    sql = (
        "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = %s "
        "AND state <> 'idle' "
        "AND datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    for _ in range(100):
        if (found := (await db.fetch(sql, name))[0]["n"]) == 0:
            break
        await asyncio.sleep(0.01)
    return found


async def test_a_connection_cut_in_a_query_fails_that_query_only(pool_to):
    async with Proxy(here()) as proxy, pool_to(**PORT, PORT=proxy.port) as pool:
        assert await ask() == 1
        slow = asyncio.create_task(db.fetch("SELECT pg_sleep(5)"))
        await asyncio.sleep(0.05)
        proxy.cut()
        with pytest.raises(OperationalError, match="lost"):
            await slow
        assert await ask(2) == 2
        assert pool.statistics()["in_use"] == 0


async def test_an_idle_connection_that_was_cut_is_replaced(pool_to):
    async with Proxy(here()) as proxy, pool_to(**PORT, PORT=proxy.port) as pool:
        assert await ask() == 1
        proxy.cut()
        await asyncio.sleep(0.01)
        assert await ask(2) == 2
        assert pool.statistics()["lost"] == 1


async def test_a_transaction_that_was_cut_is_rolled_back(pool_to, committed):
    async with Proxy(here()) as proxy, pool_to(**PORT, PORT=proxy.port) as pool:
        with pytest.raises(OperationalError):
            async with db.atomic():
                await Publisher.objects.acreate(name="lost", country="NL")
                proxy.cut()
                await asyncio.sleep(0.01)
                await Publisher.objects.acount()
        assert await Publisher.objects.acount() == 0
        await settled(pool)


async def test_a_copy_that_was_cut_stores_nothing(pool_to, committed):
    def records():
        for n in range(200_000):
            yield f"name {n}", "NL"

    async with Proxy(here()) as proxy, pool_to(**PORT, PORT=proxy.port) as pool:
        await ask()
        proxy.cut_after_bytes = proxy.passed_bytes + 500_000
        with pytest.raises(OperationalError):
            await db.copy_in(Publisher, columns=["name", "country"], records=records())
        proxy.cut_after_bytes = None
        assert await Publisher.objects.acount() == 0
        await settled(pool)


async def test_a_server_that_is_gone_is_unavailable_and_comes_back(pool_to):
    async with Proxy(here()) as proxy, pool_to(**PORT, PORT=proxy.port):
        proxy.is_refusing = True
        with pytest.raises(Unavailable) as caught:
            await ask()
        assert isinstance(caught.value, OperationalError)
        assert caught.value.retry_after_seconds >= 1
        proxy.is_refusing = False
        assert await ask() == 1


async def test_cancelling_cancels_on_the_server_and_gives_back_a_clean_connection(pool_to):
    async with pool_to(Limits(max_size=1), OPTIONS=named("cancelled")) as pool:
        task = asyncio.create_task(db.fetch("SELECT pg_sleep(4), 'cancel me'"))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await ask(3) == 3  # on the only connection there is
        assert await running("cancelled") == 0
        assert pool.statistics()["opened"] == 1


@pytest.mark.timeout(60)
async def test_cancelling_anywhere_leaves_nothing_behind(pool_to, committed):
    async def work():
        async with db.atomic():
            await Author.objects.acreate(name="a")
            async with db.atomic():
                await Author.objects.filter(name="a").aupdate(age=3)
            [author async for author in Author.objects.aiterator(chunk_size=1)]
        await Author.objects.all().adelete()

    async with pool_to(Limits(max_size=2), OPTIONS=named("anywhere")) as pool:
        await ask()
        for steps in range(60):
            task = asyncio.create_task(work())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await ask(steps) == steps
            await settled(pool)
            assert await running("anywhere") == 0
        await Author.objects.all().adelete()
        await work()
        assert pool.statistics()["in_use"] == 0


async def test_a_thousand_tasks_share_a_small_pool(pool_to):
    async with pool_to(Limits(max_size=3)) as pool:
        assert await asyncio.gather(*(ask(n) for n in range(1000))) == list(range(1000))
        statistics = pool.statistics()
    assert statistics["opened"] <= 3
    assert statistics["in_use"] == statistics["waiting"] == 0
    assert statistics["waits"] > 900


async def test_who_waits_too_long_is_told_so(pool_to):
    async with pool_to(Limits(max_size=2, wait_seconds=0.1)) as pool:
        tasks = [asyncio.create_task(db.fetch("SELECT pg_sleep(0.4)")) for _ in range(1000)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        refused = [result for result in results if isinstance(result, Exception)]
        assert len(results) - len(refused) == 2
        assert all(isinstance(error, UnreachableError) for error in refused)
        assert "max_size" in str(refused[0])
        assert await ask() == 1
        assert pool.statistics()["waiting"] == 0


async def test_who_gives_up_waiting_leaves_the_line(pool_to):
    async with pool_to(Limits(max_size=1)) as pool:
        slow = asyncio.create_task(db.fetch("SELECT pg_sleep(0.2)"))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(ask(n)) for n in range(5)]
        await asyncio.sleep(0)
        for task in waiting[:4]:
            task.cancel()
        assert await waiting[4] == 4
        await slow
        await settled(pool)
        assert pool.statistics()["waiting"] == 0


async def test_a_transaction_left_open_is_not_handed_on(pool_to):
    async with pool_to(Limits(max_size=1)) as pool:
        link = await pool.acquire()
        await link.raw.execute("BEGIN")
        then = await link.raw.fetchval("SELECT clock_timestamp()")
        pool.release(link)
        (row,) = await db.fetch("SELECT now() > %s AS fresh", then)
        assert row["fresh"]


async def test_a_statement_timeout_is_an_operational_error(pool_to):
    async with pool_to(Limits(statement_timeout_seconds=0.05)):
        with pytest.raises(OperationalError, match="timeout"):
            await db.fetch("SELECT pg_sleep(2)")
        assert await ask() == 1


async def test_idle_connections_are_closed(pool_to):
    async with pool_to(Limits(idle_seconds=0.1)) as pool:
        await asyncio.gather(*(db.fetch("SELECT pg_sleep(0.02)") for _ in range(4)))
        assert pool.statistics()["idle"] > 1
        await asyncio.sleep(0.3)
        assert pool.statistics()["size"] == 0
        assert await ask() == 1
