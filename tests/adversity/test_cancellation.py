"""A task is cancelled at every point where it waits, one after the other, and nothing is left."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from django.db import Error
from django.db.models import Prefetch

from app import db
from tests.adversity.interruptions import Interrupted
from tests.adversity.ways import assert_sound, fill, reaching, until
from tests.conformance.db import models as m

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    # Each operation is run once for each of its 5 to 40 waits, with new connections.
    pytest.mark.timeout(30),
]

DATA = """
    SELECT (SELECT array_agg((id, name)::text ORDER BY id) FROM conformance_publisher),
           (SELECT array_agg((id, title, pages)::text ORDER BY id) FROM conformance_book)
"""


async def fetch():
    assert len(await db.fetch("SELECT id FROM conformance_book WHERE pages < %s", 4)) == 3


async def get():
    assert (await m.Book.objects.select_related("publisher").aget(pk=3)).publisher.name == "P2"


async def plan():
    plan = db.Plan(m.Book.objects.filter(pages__lt=db.Marker("pages")))
    assert len(await plan.instances(pages=4)) == 3


async def iterate():
    assert len([book async for book in m.Book.objects.aiterator(chunk_size=2)]) == 6


async def prefetch():
    books = Prefetch("books", m.Book.objects.order_by("pk"))
    found = [publisher async for publisher in m.Publisher.objects.prefetch_related(books)]
    assert [len(publisher.books.all()) for publisher in found] == [3, 3]


async def create_two_in_savepoints():
    async with db.atomic():
        await m.Publisher.objects.acreate(id=3, name="P3", country="DE")
        async with db.atomic():
            await m.Publisher.objects.acreate(id=4, name="P4", country="DE")


async def move_in_retried_transaction():
    async def move():
        await m.Book.objects.filter(pages__gt=3).aupdate(pages=0)
        await m.Publisher.objects.filter(pk=1).aupdate(name="moved")

    await db.retry(move)


async def create_in_bulk():
    await m.Publisher.objects.abulk_create(
        (m.Publisher(id=n, name=f"P{n}", country="DE") for n in range(10, 40)), batch_size=10
    )


async def delete_with_cascade():
    await m.Publisher.objects.filter(pk=1).adelete()


async def copy_in():
    async def records():
        for n in range(10, 400):
            if n % 100 == 0:
                await asyncio.sleep(0)
            yield (n, f"P{n}" + "x" * 40, "DE")

    columns = ["id", "name", "country"]
    assert await db.copy_in(m.Publisher, columns=columns, records=records()) == 390


async def copy_out():
    chunks = []

    async def keep(chunk):
        await asyncio.sleep(0)
        chunks.append(chunk)

    assert await db.copy_out(m.Book.objects.filter(pages__lt=4), keep, header=False) == 3
    assert b"".join(chunks).count(b"\n") == 3


OPERATIONS = [
    fetch,
    get,
    plan,
    iterate,
    prefetch,
    create_two_in_savepoints,
    move_in_retried_transaction,
    create_in_bulk,
    delete_with_cascade,
    copy_in,
    copy_out,
]


async def interrupted(
    operation: Callable[[], Coroutine[Any, Any, Any]], at: int, moment: Any
) -> bool:
    """Run it in a task of its own, cancelled at its `at`-th wait; False when it has fewer."""
    attempt = Interrupted(operation(), at, moment)

    async def work() -> None:
        await attempt

    task = asyncio.create_task(work())
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
        assert not attempt.was_reached or moment == "answered" or at == attempt.suspensions
    return attempt.was_reached


@pytest.mark.parametrize("moment", ["waiting", "answered"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda function: function.__name__)
async def test_cancelled_at_every_wait(shelf, witness, operation, moment):
    at, before, outcomes = 0, await witness.rows(DATA), set()
    async with reaching(max_size=3):
        await db.fetch("SELECT 1")
        while True:
            at += 1
            was_reached = await interrupted(operation, at, moment)
            await assert_sound(witness)
            now = await witness.rows(DATA)
            if not was_reached:
                break
            outcomes.add("before" if now == before else str(now))
            await fill(witness)
        assert db.statistics()["lost"] <= at
    assert at > 2
    assert outcomes <= {"before", str(now)}


@pytest.mark.parametrize("moment", ["waiting", "answered"])
@pytest.mark.parametrize("operation", [fetch, plan, create_two_in_savepoints])
async def test_cancelled_at_every_wait_of_a_first_connection(shelf, witness, operation, moment):
    at, was_reached = 0, True
    while was_reached:
        at += 1
        await fill(witness)
        async with reaching():
            was_reached = await interrupted(operation, at, moment)
            await assert_sound(witness)
    assert at > 4


async def test_timeout_inside_a_savepoint_leaves_the_transaction_usable(shelf, witness):
    async def change_slowly():
        async with asyncio.timeout(0.05), db.atomic():
            await m.Book.objects.filter(pk=2).aupdate(pages=200)
            await db.fetch("SELECT pg_sleep(10)")

    async with reaching():
        async with db.atomic():
            await m.Book.objects.filter(pk=1).aupdate(pages=100)
            with pytest.raises(TimeoutError):
                await change_slowly()
            await m.Book.objects.filter(pk=3).aupdate(pages=300)
        await assert_sound(witness)
    pages = await witness.value("SELECT array_agg(pages ORDER BY id) FROM conformance_book")
    assert pages == [100, 2, 300, 4, 5, 6]


async def test_task_cancelled_again_while_it_rolls_back(shelf, witness):
    async def work():
        async with db.atomic():
            await m.Book.objects.filter(pk=1).aupdate(pages=100)
            await db.fetch("SELECT pg_sleep(10)")

    async with reaching():
        task = asyncio.create_task(work())
        await until(lambda: witness.is_running("pg_sleep"))
        for _ in range(5):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task])
        assert task.cancelled()
        await assert_sound(witness)
    assert await witness.value("SELECT pages FROM conformance_book WHERE id = 1") == 1


async def test_cancelled_query_ends_on_the_server(shelf, witness):
    async with reaching():
        task = asyncio.create_task(db.fetch("SELECT pg_sleep(60)"))
        await until(lambda: witness.is_running("pg_sleep"))
        task.cancel()
        await asyncio.wait([task])
        await until(witness.is_quiet, 2)
        await assert_sound(witness)
        assert db.statistics()["opened"] == 1  # the same connection, clean again


async def test_value_that_cannot_be_sent_leaves_no_lock(shelf, witness):
    async with reaching():
        plan = db.Plan(m.Book.objects.extra(where=["pages = %s"], params=[db.Marker("pages")]))
        with pytest.raises(Error, match="invalid input"):
            await plan.fetch(pages=b"seven")
        await assert_sound(witness)
        await witness.raw.execute("SET lock_timeout = 500; LOCK TABLE conformance_book")


async def test_what_is_written_while_iterating_stays_when_the_loop_is_left(shelf, witness):
    async with reaching():
        async for book in m.Book.objects.order_by("pk").aiterator(chunk_size=2):
            await m.Book.objects.filter(pk=book.pk).aupdate(pages=100)
            if book.pk == 3:
                break
        await assert_sound(witness)
    assert await witness.value("SELECT count(*) FROM conformance_book WHERE pages = 100") == 3


async def test_transaction_is_committed_after_an_iteration_inside_it_was_left(shelf, witness):
    async with reaching():
        async with db.atomic():
            async for book in m.Book.objects.order_by("pk").aiterator(chunk_size=2):
                await m.Book.objects.filter(pk=book.pk).aupdate(pages=100)
                if book.pk == 3:
                    break
            await m.Book.objects.filter(pk=6).aupdate(pages=100)
        await assert_sound(witness)
    assert await witness.value("SELECT count(*) FROM conformance_book WHERE pages = 100") == 4


async def test_iteration_cancelled_in_its_body(shelf, witness):
    async def work():
        async for _ in m.Book.objects.aiterator(chunk_size=2):
            await asyncio.sleep(60)

    async with reaching():
        task = asyncio.create_task(work())
        await until(lambda: db.statistics()["in_use"])
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        await assert_sound(witness)


async def test_iteration_started_in_one_task_and_closed_in_another(shelf, witness):
    async with reaching():
        books = aiter(m.Book.objects.aiterator(chunk_size=2))
        await anext(books)
        await asyncio.create_task(books.aclose())
        await assert_sound(witness)
