"""What is used wrongly says what to change; what takes too long is stopped, and told."""

import asyncio
import logging

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, NotSupportedError, OperationalError
from django.db.transaction import TransactionManagementError

from app import db
from tests.adversity.ways import assert_sound, reaching, until
from tests.conformance.db import models as m

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def count():
    return await m.Book.objects.acount()


# Two tasks in one transaction


@pytest.mark.parametrize(
    "start",
    [
        lambda: asyncio.gather(count(), count()),
        lambda: asyncio.create_task(db.fetch("SELECT 1")),
        lambda: asyncio.create_task(db.Plan(m.Book.objects.all()).fetch()),
        lambda: asyncio.create_task(db.copy_in(m.Publisher, columns=["name"], records=[])),
        lambda: asyncio.create_task(nested()),
    ],
    ids=["gather", "fetch", "plan", "copy_in", "nested"],
)
async def test_second_task_in_a_transaction_is_refused_and_does_no_harm(shelf, witness, start):
    async with reaching():
        async with db.atomic():
            await m.Book.objects.filter(pk=1).aupdate(pages=100)
            with pytest.raises(
                TransactionManagementError, match=r"Two tasks use one transaction.*start the other"
            ):
                await start()
            await m.Book.objects.filter(pk=2).aupdate(pages=200)
        await assert_sound(witness)
    assert await witness.value("SELECT pages FROM conformance_book WHERE id = 2") == 200


async def nested():
    async with db.atomic():
        pass


async def test_callback_registered_by_a_second_task_is_refused(database):
    async def register():
        db.on_commit(print)

    async with db.atomic():
        with pytest.raises(TransactionManagementError, match="Two tasks"):
            await asyncio.create_task(register())


# Where it can't run


@pytest.mark.parametrize(
    "call",
    [
        lambda: m.Book.objects.using("other").acount(),
        lambda: anext(aiter(m.Book.objects.using("other"))),
        lambda: anext(m.Book.objects.using("other").aiterator()),
        lambda: m.Book.objects.using("other").afirst(),
        lambda: m.Book(title="x").asave(using="other"),
        lambda: on_other().asave(),
        lambda: on_other().adelete(),
        lambda: on_other().arefresh_from_db(),
        lambda: m.Publisher.objects.using("other").abulk_create([]),
        lambda: db.Plan(m.Book.objects.using("other")).fetch(),
        lambda: db.copy_out(m.Book.objects.using("other"), print),
    ],
    ids=[
        *("method", "iteration", "aiterator", "afirst", "asave", "instance.asave"),
        *("instance.adelete", "instance.arefresh", "bulk", "plan", "copy_out"),
    ],
)
async def test_other_alias_is_refused_by_name(database, call):
    with pytest.raises(NotSupportedError, match=r"DATABASES\['default'\] only.*'other'"):
        await call()


def on_other():
    """An instance that was loaded from another database."""
    book = m.Book(pk=1, title="x")
    book._state.db, book._state.adding = "other", False
    return book


async def test_closed_pool_is_named_and_opens_again(witness):
    async with reaching():
        await count()
        await db.close()
        for call in (count, nested, lambda: db.Plan(m.Book.objects.all()).fetch()):
            with pytest.raises(InterfaceError, match=r"closed. Call `await db.open\(\)`"):
                await call()
        await db.open()
        await assert_sound(witness)


async def test_pool_of_another_loop_is_not_closed_from_here(witness):
    async with reaching():
        await count()

        def elsewhere():
            with pytest.raises(InterfaceError, match="another event loop"):
                asyncio.run(db.close())
            with pytest.raises(InterfaceError, match="another event loop"):
                asyncio.run(count())

        await asyncio.to_thread(elsewhere)
        await assert_sound(witness)


@pytest.mark.parametrize("call", [count, nested], ids=["query", "atomic"])
async def test_other_backend_is_named(database, call):
    async def use():
        async with reaching({"ENGINE": "django.db.backends.sqlite3"}):
            await call()

    with pytest.raises(ImproperlyConfigured, match=r"Write 'django.db.backends.postgresql'"):
        await use()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max": 3}, "DATABASE_POOL.*max_size"),
        ({"max_size": 0}, r"DATABASE_POOL\['max_size'\] must be 1 or more"),
        ({"transaction_pooling": True, "statement_timeout_seconds": 1}, "ALTER ROLE"),
    ],
    ids=["unknown", "none", "session"],
)
async def test_wrong_limits_are_named(database, limits, message):
    with pytest.raises(ImproperlyConfigured, match=message):
        async with reaching(**limits):
            pass


async def test_link_that_comes_back_after_its_pool_was_replaced(witness):
    """What is under way while the pool is closed ends there, not in the pool that came after."""
    async with reaching(max_size=1):
        task = asyncio.create_task(db.fetch("SELECT pg_sleep(0.1)"))
        await until(lambda: db.statistics()["in_use"])
        await db.close()
        await db.open()
        await task
        assert db.statistics()["size"] == 0
        await assert_sound(witness)


# What takes too long


async def test_statement_that_takes_too_long_is_stopped_by_the_server(shelf, witness):
    async with reaching(statement_timeout_seconds=0.1):
        with pytest.raises(OperationalError, match="statement timeout"):
            await db.fetch("SELECT pg_sleep(10)")
        async with db.atomic():
            await m.Book.objects.filter(pk=1).aupdate(pages=100)
            with pytest.raises(OperationalError, match="statement timeout"):
                await sleep_in_a_savepoint()
            await m.Book.objects.filter(pk=2).aupdate(pages=200)
        await assert_sound(witness)
        assert db.statistics()["opened"] == 1
    pages = await witness.value("SELECT array_agg(pages ORDER BY id) FROM conformance_book")
    assert pages[:2] == [100, 200]


async def sleep_in_a_savepoint():
    async with db.atomic():
        await db.fetch("SELECT pg_sleep(10)")


@pytest.mark.blocks("its log is written")
async def test_slow_query_is_logged_with_its_sql_and_the_callers_line(database, caplog):
    async with reaching(slow_query_seconds=0.05):
        with caplog.at_level(logging.WARNING, "app.db.slow"):
            await db.fetch("SELECT %s::int, pg_sleep(0.1)", 4321)
            await m.Book.objects.extra(where=["pg_sleep(0.1) IS NOT NULL"]).aexists()
            await db.fetch("SELECT 1")
        assert db.statistics()["slow_queries"] >= 1
    messages = [record.getMessage() for record in caplog.records if record.name == "app.db.slow"]
    assert [message.count("test_misuse.py:") for message in messages] == [1]
    assert "SELECT %s::int, pg_sleep" in messages[0]
    assert "4321" not in messages[0]  # values may be secrets
