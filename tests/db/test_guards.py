"""Synchronous access from the loop, and any other misuse, is refused and the remedy named."""

import asyncio

import pytest
import pytest_asyncio
from django.core.exceptions import SynchronousOnlyOperation
from django.db import InterfaceError, NotSupportedError, connection
from django.test import override_settings

from app import db
from app.db import pools
from app.db.connections import open_pool
from tests.conformance.db.models import Author, Book, Publisher

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def book(transaction):
    publisher = await Publisher.objects.acreate(name="P", country="NL")
    return await Book.objects.acreate(
        title="T", publisher=publisher, price=1, pages=1, published="2020-01-01"
    )


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda: list(Author.objects.all()), "async for"),
        (lambda: len(Author.objects.all()), "async for"),
        (lambda: bool(Author.objects.all()), "async for"),
        (lambda: Author.objects.all()[0], "async for"),
        (Author.objects.count, "acount"),
        (lambda: Author.objects.get(pk=1), "aget"),
        (lambda: Author.objects.create(name="x"), "acreate"),
        (lambda: Author.objects.filter(pk=1).update(age=1), "aupdate"),
        (lambda: Author.objects.filter(pk=1).delete(), "adelete"),
        (Author.objects.exists, "aexists"),
        (lambda: Author.objects.bulk_create([Author(name="x")]), "abulk_create"),
        (lambda: next(Author.objects.iterator()), "aiterator"),
        (lambda: Author(name="x").save(), "asave"),
        (lambda: Author(pk=1, name="x").delete(), "adelete"),
        (lambda: Author(pk=1, name="x").refresh_from_db(), "arefresh_from_db"),
        (lambda: list(Author.objects.raw("SELECT 1")), "async for"),
        (connection.cursor, "async context|db.run"),
    ],
)
async def test_a_synchronous_call_names_its_awaitable(call, remedy, database):
    with pytest.raises(SynchronousOnlyOperation, match=remedy):
        call()


async def test_a_relation_that_is_not_loaded_is_named(book):
    book = await Book.objects.aget(pk=book.pk)
    with pytest.raises(
        SynchronousOnlyOperation, match=r"Book.`publisher` is not loaded.*select_rel"
    ):
        book.publisher  # noqa: B018


async def test_a_deferred_field_is_named(book):
    book = await Book.objects.only("title").aget(pk=book.pk)
    with pytest.raises(SynchronousOnlyOperation, match=r"arefresh_from_db\(fields=\['pages'\]\)"):
        book.pages  # noqa: B018


async def test_a_relation_that_was_loaded_is_there(book):
    book = await Book.objects.select_related("publisher").aget(pk=book.pk)
    assert book.publisher.name == "P"


async def test_synchronous_code_runs_on_the_loop_without_a_thread(book):
    def work():
        book.title = "by hand"
        book.save()
        return Book.objects.filter(title="by hand").count(), book.publisher.name

    assert await db.run(work) == (1, "P")


async def test_another_alias_is_refused(database):
    with pytest.raises(NotSupportedError, match="DATABASES\\['default'\\] only"):
        await Author.objects.using("other").acount()
    with pytest.raises(NotSupportedError, match="using"):
        [author async for author in Author.objects.using("other")]


async def test_a_closed_pool_is_named(database):
    async def use():
        open_pool()
        await db.close()
        with pytest.raises(InterfaceError, match=r"db\.open"):
            await Author.objects.acount()

    await asyncio.to_thread(_elsewhere, use)


async def test_another_loop_is_named(database):
    await Author.objects.acount()
    pool = db.connections.current_pool()

    def other():
        with pytest.raises(InterfaceError, match="another event loop"):
            asyncio.run(Author.objects.acount())

    await asyncio.to_thread(other)
    assert db.connections.current_pool() is pool


async def test_another_backend_is_named(monkeypatch, database):
    monkeypatch.setitem(
        pools.connections.settings["default"], "ENGINE", "django.db.backends.sqlite3"
    )
    with pytest.raises(Exception, match=r"app\.db runs on PostgreSQL"):
        pools.database_entry()


async def test_an_unknown_limit_is_named(database):
    with override_settings(DATABASE_POOL={"max": 3}), pytest.raises(Exception, match="max_size"):
        pools.Limits.from_settings()


def _elsewhere(use):
    """Run in a thread with a loop of its own, with the process's pool put aside."""
    import threading

    from app.db import connections

    failures = []

    def work():
        kept, connections._pool = connections._pool, None
        try:
            asyncio.run(use())
        except BaseException as error:  # noqa: BLE001 - raised in the test
            failures.append(error)
        finally:
            connections._pool = kept

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
