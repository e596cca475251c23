"""Lookups: many ask at the same moment, one statement answers, and nobody is told what is old."""

import asyncio
import uuid

import pytest
import pytest_asyncio
from django.db import OperationalError
from django.db.models import ExpressionWrapper, F, IntegerField

from app import db
from app.db import lookups
from app.db.errors import UnreachableError
from app.db.testing import capture_queries
from tests.conformance.db.models import Berth, Book, Publisher

pytestmark = pytest.mark.asyncio(loop_scope="session")
NAMES = ("id", "title", "publisher__name", "details")


@pytest_asyncio.fixture(loop_scope="session")
async def shelf(committed):
    await Publisher.objects.abulk_create(
        Publisher(id=n, name=f"P{n}", country="NL") for n in (1, 2)
    )
    await Book.objects.abulk_create(
        Book(
            id=n, title=f"T{n}", publisher_id=n % 2 + 1, price=n, pages=n * 10,
            published="2020-01-01", details={"n": [n]},
        )
        for n in range(1, 41)
    )  # fmt: skip


def book_lookup():
    return db.Lookup(Book.objects.order_by("title"), "id", *NAMES)


async def expected(pk):
    plan = db.Plan(Book.objects.filter(id=db.Marker("key")).values_list(*NAMES))
    return [tuple(row) for row in await plan.rows(key=pk)]


async def ask(lookup, keys):
    return [
        [tuple(row) for row in rows]
        for rows in await asyncio.gather(*(lookup.rows(key) for key in keys))
    ]


async def test_those_who_ask_at_once_get_their_own_rows_from_one_statement(shelf):
    lookup = book_lookup()
    keys = [*range(1, 41), 7, 7, 999]
    with capture_queries() as queries:
        found = await ask(lookup, keys)
    assert found == [await expected(key) for key in keys]
    assert found[-1] == []
    assert len(queries) == 1


async def test_one_alone_asks_by_the_plain_statement(shelf):
    lookup = book_lookup()
    with capture_queries() as queries:
        assert await ask(lookup, [3]) == [await expected(3)]
    assert "ANY" not in queries[0]["sql"]


async def test_those_who_come_while_one_reads_are_read_for_next(shelf):
    lookup = book_lookup()
    first = [asyncio.create_task(lookup.rows(key)) for key in (1, 2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not lookup._waiting  # their statement is under way
    await Book.objects.filter(id__in=[2, 3]).aupdate(title="new")
    with capture_queries() as queries:
        later = await asyncio.gather(*(lookup.rows(key) for key in (2, 3, 4)))
    assert [rows[0][1] for rows in later] == ["new", "new", "T4"]
    assert len(queries) == 1
    assert [rows[0][0] for rows in await asyncio.gather(*first)] == [1, 2]


async def test_a_key_may_be_a_text_as_in_a_url(shelf):
    assert await ask(book_lookup(), ["7", 8, "09"]) == [await expected(key) for key in (7, 8, 9)]
    by_name = db.Lookup(Publisher.objects, "name", "id")
    assert await ask(by_name, ["P1", "P3", "P2"]) == [[(1,)], [], [(2,)]]


async def test_a_key_that_the_column_refuses_is_its_own_askers_trouble(shelf):
    lookup = book_lookup()
    good, bad, other = await asyncio.gather(
        lookup.rows(1), lookup.rows("one"), lookup.rows(2), return_exceptions=True
    )
    assert isinstance(bad, ValueError)
    assert [good[0][0], other[0][0]] == [1, 2]


async def test_two_who_ask_for_one_row_do_not_share_what_is_in_it(shelf):
    lookup = book_lookup()
    (mine,), (yours,), _ = await asyncio.gather(*(lookup.rows(key) for key in (5, 5, 6)))
    mine[3]["n"].append("mine")
    assert yours[3] == {"n": [5]}


async def test_a_column_of_another_kind_is_read_plainly(shelf):
    lookup = db.Lookup(Book.objects, "published", "id")
    assert lookup._together is None
    assert len(await lookup.rows("2020-01-01")) == 40


async def test_a_queryset_without_rows_has_none(shelf):
    assert await ask(db.Lookup(Book.objects.none(), "id", "id"), [1, 2]) == [[], []]


async def test_in_a_transaction_each_sees_what_it_has_written(shelf):
    lookup = book_lookup()

    async def write_and_read(key):
        async with db.atomic():
            await Book.objects.filter(id=key).aupdate(title=f"mine {key}")
            return (await lookup.rows(key))[0][1]

    written = await asyncio.gather(*(write_and_read(key) for key in (1, 2)), lookup.rows(1))
    assert written[:2] == ["mine 1", "mine 2"]


async def test_who_reads_for_others_may_be_cancelled_at_any_moment(shelf):
    for turns in range(8):
        lookup = book_lookup()
        tasks = [asyncio.create_task(lookup.rows(key)) for key in (1, 2, 3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks += [asyncio.create_task(lookup.rows(key)) for key in (4, 5)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError) or found[0][0][0] == 1
        assert [rows[0][0] for rows in found[1:]] == [2, 3, 4, 5]
        assert await ask(lookup, [6]) == [await expected(6)]


async def test_whose_turn_it_is_to_read_may_be_cancelled_too(shelf):
    for turns in range(12):
        lookup = book_lookup()
        first = [asyncio.create_task(lookup.rows(key)) for key in (1, 2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        later = [asyncio.create_task(lookup.rows(key)) for key in (3, 4, 5)]
        await asyncio.gather(*first)
        for _ in range(turns):
            await asyncio.sleep(0)
        later[0].cancel()
        found = await asyncio.gather(*later, return_exceptions=True)
        assert [rows[0][0] for rows in found[1:]] == [4, 5]
        assert await ask(lookup, [6, 7]) == [await expected(key) for key in (6, 7)]


async def test_a_statement_that_fails_is_each_ones_own(shelf):
    """The row of one makes the statement fail that reads all of them."""
    share = ExpressionWrapper(100 / (F("pages") - 30), output_field=IntegerField())
    lookup = db.Lookup(Book.objects.annotate(share=share), "id", "id", "share")
    found = await asyncio.gather(*(lookup.rows(key) for key in (2, 3, 4)), return_exceptions=True)
    assert isinstance(found[1], Exception)
    assert [tuple(found[n][0]) for n in (0, 2)] == [(2, -10), (4, 10)]
    assert await ask(lookup, [5]) == [[(5, 5)]]


async def test_without_a_connection_all_are_told_at_once(shelf, monkeypatch):
    lookup, asked = book_lookup(), []

    async def refuse(sql, arguments):
        asked.append(sql)
        raise UnreachableError("All are in use.")

    monkeypatch.setattr(lookups, "fetch", refuse)
    found = await asyncio.gather(*(lookup.rows(key) for key in (1, 2, 3)), return_exceptions=True)
    assert [type(one) for one in found] == [UnreachableError] * 3
    assert len(asked) == 1


async def test_who_comes_after_one_that_does_not_return_reads_for_those_who_wait(
    shelf, monkeypatch
):
    monkeypatch.setattr(lookups, "PATIENCE_SECONDS", 0.02)
    lookup = book_lookup()
    is_stuck = asyncio.Event()
    fetch = lookups.fetch

    async def get_stuck(sql, arguments):
        monkeypatch.setattr(lookups, "fetch", fetch)
        await is_stuck.wait()
        raise OperationalError("The connection was dead.")

    monkeypatch.setattr(lookups, "fetch", get_stuck)
    stuck = [asyncio.create_task(lookup.rows(key)) for key in (1, 2)]
    await asyncio.sleep(0.01)
    waiting = asyncio.create_task(lookup.rows(3))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    assert (await lookup.rows(4))[0][0] == 4
    assert (await waiting)[0][0] == 3
    is_stuck.set()
    assert [rows[0][0] for rows in await asyncio.gather(*stuck)] == [1, 2]
    assert await ask(lookup, [5, 6]) == [await expected(key) for key in (5, 6)]


async def test_a_loop_that_ended_in_the_middle_leaves_nobody_waiting(shelf):
    lookup = book_lookup()
    loop = asyncio.new_event_loop()
    lookup._loop = loop  # somebody read in it, and never came back
    loop.close()
    assert await ask(lookup, [1, 2]) == [await expected(key) for key in (1, 2)]


async def test_keys_that_are_uuids_are_read_together(committed):
    marks = [uuid.uuid4() for _ in range(3)]
    await Berth.objects.abulk_create(
        Berth(quay="north", number=n, kind="ro", day="2026-01-01", mark=mark)
        for n, mark in enumerate(marks)
    )
    lookup = db.Lookup(Berth.objects, "mark", "number")
    with capture_queries() as queries:
        assert await ask(lookup, [marks[2], str(marks[0]), uuid.uuid4()]) == [[(2,)], [(0,)], []]
    assert len(queries) == 1
