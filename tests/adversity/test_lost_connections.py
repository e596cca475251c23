"""The way to the server is cut, falls silent, or closes on one side: in a query, in a transaction,
in a COPY, while connecting. Only what was under way fails, and says so.
"""

import asyncio

import pytest
from django.db import OperationalError

from app import db
from app.db import links
from app.errors import Unavailable
from app.rest.test import APIClient
from tests.adversity.ways import assert_sound, reaching, until
from tests.conformance.db import models as m

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLEEP = "SELECT pg_sleep(30)"


def through(proxy, **limits):
    return reaching({"HOST": proxy.host, "PORT": ""}, **limits)


async def pages(witness):
    return await witness.value("SELECT array_agg(pages ORDER BY id) FROM conformance_book")


async def rise():
    async with db.atomic():
        await m.Book.objects.filter(pk=1).aupdate(pages=100)
        await m.Book.objects.filter(pk=2).aupdate(pages=200)


@pytest.mark.parametrize("way", ["cut", "half_close"])
async def test_lost_in_a_query(shelf, witness, proxy, way):
    async with through(proxy):
        task = asyncio.create_task(db.fetch(SLEEP))
        await until(lambda: witness.is_running("pg_sleep"))
        getattr(proxy, way)()
        with pytest.raises(OperationalError, match=r"^The connection to the server was lost: .+$"):
            await task
        for pid in await witness.pids("pg_sleep"):  # the server may only look when it next writes
            await witness.terminate(pid)
        await assert_sound(witness)


@pytest.mark.parametrize("way", ["cut", "half_close"])
@pytest.mark.parametrize("at", ["BEGIN unheard", "BEGIN", "UPDATE", "COMMIT unheard", "COMMIT"])
async def test_lost_in_a_transaction(shelf, witness, proxy, at, way):
    async with through(proxy):
        await db.fetch("SELECT 1")
        word, _, unheard = at.partition(" ")
        proxy.on_sent(word.encode(), getattr(proxy, way), passes_on=not unheard)
        with pytest.raises(OperationalError):
            await rise()
        await assert_sound(witness)
        now = await pages(witness)
        # Whether a COMMIT that was heard is answered, nobody can know; half of it is never done.
        assert now in ([1, 2, 3, 4, 5, 6], [100, 200, 3, 4, 5, 6])
        if word != "COMMIT":
            assert now[0] == 1
        await rise()
        assert (await pages(witness))[:2] == [100, 200]


async def test_lost_inside_a_savepoint_that_is_caught(shelf, witness, proxy):
    """Nothing of a transaction whose connection is gone is done, whatever is caught on the way."""

    async def work():
        async with db.atomic():
            await m.Book.objects.filter(pk=1).aupdate(pages=100)
            with pytest.raises(OperationalError):
                await lose()
            await m.Book.objects.filter(pk=3).aupdate(pages=300)

    async def lose():
        async with db.atomic():
            proxy.cut()
            await m.Book.objects.filter(pk=2).aupdate(pages=200)

    async with through(proxy):
        with pytest.raises(Exception, match="atomic"):
            await work()
        await assert_sound(witness)
    assert await pages(witness) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("way", ["cut", "half_close"])
async def test_lost_in_a_copy_in(shelf, witness, proxy, way):
    async def records():
        for n in range(10, 5000):
            if n == 2500:
                getattr(proxy, way)()
                await asyncio.sleep(0.01)
            yield n, f"P{n}", "x" * 2

    async with through(proxy):
        with pytest.raises(OperationalError, match="lost"):
            await db.copy_in(m.Publisher, columns=["id", "name", "country"], records=records())
        await assert_sound(witness)
    assert await witness.value("SELECT count(*) FROM conformance_publisher") == 2


async def test_lost_in_a_copy_in_at_a_byte_of_the_stream(shelf, witness, proxy):
    """Amid what is on its way already: the records come without a pause."""
    records = ((n, f"P{n}", "NL") for n in range(10, 40_000))
    proxy.on_sent(b"P20000", proxy.cut, passes_on=False)
    async with through(proxy):
        with pytest.raises(OperationalError, match="lost"):
            await db.copy_in(m.Publisher, columns=["id", "name", "country"], records=records)
        await assert_sound(witness)
    assert await witness.value("SELECT count(*) FROM conformance_publisher") == 2


async def test_lost_in_a_copy_out(shelf, witness, proxy):
    async def keep(chunk):
        proxy.cut()
        await asyncio.sleep(0.01)

    await witness.raw.execute(
        "INSERT INTO conformance_publisher (id, name, country)"
        " SELECT n, repeat('x', 40) || n, 'NL' FROM generate_series(10, 50000) n"
    )
    async with through(proxy):
        with pytest.raises(OperationalError, match="lost"):
            await db.copy_out(m.Publisher, keep)
        await assert_sound(witness)


async def test_error_of_the_source_of_a_copy(shelf, witness):
    """What the caller's own iterable raises is raised, nothing is stored, nothing is lost."""

    async def records():
        yield 10, "P10", "NL"
        raise KeyError("source")

    async with reaching():
        with pytest.raises(KeyError, match="source"):
            await db.copy_in(m.Publisher, columns=["id", "name", "country"], records=records())
        await assert_sound(witness)
        assert db.statistics()["opened"] == 1
    assert await witness.value("SELECT count(*) FROM conformance_publisher") == 2


async def test_lost_while_iterating(shelf, witness, proxy):
    async with through(proxy):
        books = aiter(m.Book.objects.aiterator(chunk_size=2))
        await anext(books)
        await anext(books)
        proxy.cut()
        with pytest.raises(OperationalError, match="lost"):
            await anext(books)
        await assert_sound(witness)


async def test_lost_while_idle_is_replaced_unnoticed(shelf, witness, proxy):
    async with through(proxy):
        await asyncio.gather(*(db.fetch("SELECT pg_sleep(0.02)") for _ in range(5)))
        proxy.cut()
        await until(lambda: all(link.raw.is_closed() for link in idle_links()))
        await asyncio.gather(*(rise() for _ in range(5)))
        assert db.statistics()["lost"] == 5
        await assert_sound(witness)


def idle_links():
    from app.db.connections import current_pool

    return current_pool()._idle


@pytest.mark.parametrize("way", ["cut", "refuse", "half_close"])
async def test_lost_while_connecting(witness, proxy, way):
    async with through(proxy):
        if way == "refuse":
            proxy.target = "/nowhere"
        else:
            proxy.on_sent(b"user", getattr(proxy, way), passes_on=False)
        with pytest.raises(Unavailable, match=r"^The database does not answer: .+"):
            await db.fetch("SELECT 1")
        assert db.statistics()["size"] == 0
        proxy.target = proxy.original
        await assert_sound(witness)


async def test_server_that_never_answers_a_connection(witness, proxy):
    """Who connects waits `connect_seconds`, who waits for them `wait_seconds`; nobody longer."""
    async with through(proxy, max_size=2, connect_seconds=0.2, wait_seconds=0.1):
        proxy.is_deaf = True
        outcomes = await asyncio.gather(
            *(db.fetch("SELECT 1") for _ in range(10)), return_exceptions=True
        )
        assert {type(outcome).__mro__[1] for outcome in outcomes} == {Unavailable}
        proxy.is_deaf = False
        await assert_sound(witness)


async def test_silent_server_and_a_caller_who_gives_up(shelf, witness, proxy, monkeypatch):
    """The caller is let go at once in a query, and within a bound in a transaction; the connection
    is given up.
    """
    monkeypatch.setattr(links, "TIDY_SECONDS", 0.3)

    async def transact():
        async with db.atomic():
            await m.Book.objects.filter(pk=1).aupdate(pages=100)
            await db.fetch(SLEEP)

    async with through(proxy):
        for work in (lambda: db.fetch(SLEEP), transact):
            task = asyncio.create_task(work())
            await until(lambda: witness.is_running("pg_sleep"))
            proxy.stall()
            task.cancel()
            async with asyncio.timeout(2):
                await asyncio.wait([task])
            assert task.cancelled()
            await until(lambda: db.statistics()["size"] == 0, 2)
            proxy.resume()
            proxy.cut()
            for pid in await witness.pids(""):
                await witness.terminate(pid)
            await assert_sound(witness)
    assert (await pages(witness))[0] == 1


async def test_closing_with_a_silent_server_is_bounded(witness, proxy, monkeypatch):
    monkeypatch.setattr(links, "TIDY_SECONDS", 0.2)
    async with through(proxy):
        await asyncio.gather(*(db.fetch("SELECT pg_sleep(0.02)") for _ in range(8)))
        proxy.stall()
        async with asyncio.timeout(1):
            await db.close()


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
async def test_backend_is_terminated(shelf, witness, is_busy):
    async with reaching():
        [row] = await db.fetch("SELECT pg_backend_pid() AS pid")
        if not is_busy:
            await witness.terminate(row["pid"])
        else:
            task = asyncio.create_task(db.fetch(SLEEP))
            await until(lambda: witness.is_running("pg_sleep"))
            await witness.terminate(row["pid"])
            with pytest.raises(OperationalError, match="terminat"):
                await task
        await assert_sound(witness)


async def test_backend_is_terminated_in_a_transaction(shelf, witness):
    async def work():
        async with db.atomic():
            await m.Book.objects.filter(pk=1).aupdate(pages=100)
            [row] = await db.fetch("SELECT pg_backend_pid() AS pid")
            await witness.terminate(row["pid"])
            await m.Book.objects.filter(pk=2).aupdate(pages=200)

    async with reaching():
        with pytest.raises(OperationalError):
            await work()
        await assert_sound(witness)
    assert await pages(witness) == [1, 2, 3, 4, 5, 6]


async def test_lost_server_is_503_at_the_edge(witness, proxy):
    client = APIClient()
    async with through(proxy, connect_seconds=0.5):
        proxy.target = "/nowhere"
        response = await client.get("/readyz")
        assert response.status_code == 503
        proxy.target = proxy.original
        assert (await client.get("/readyz")).status_code == 200
