"""All of Django's async surface is there, and none of it uses a thread."""

import asyncio
import inspect

import pytest
import pytest_asyncio
from django.contrib.contenttypes.models import ContentType
from django.db import models as stock
from django.db.models import Max, Prefetch
from django.db.models.fields.related_descriptors import ManyToManyDescriptor

from app import db
from app.db import models
from app.db.testing import assert_num_queries
from tests.conformance.db.models import Author, Book, Mark, Publisher

pytestmark = pytest.mark.asyncio(loop_scope="session")


def refuse(*args):
    raise AssertionError("a thread was asked for")


@pytest.fixture(autouse=True)
def _no_thread(monkeypatch):
    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", refuse)


@pytest_asyncio.fixture(loop_scope="session")
async def shelf(transaction):
    await Publisher.objects.abulk_create(
        Publisher(id=n, name=f"P{n}", country="NL") for n in (1, 2)
    )
    await Book.objects.abulk_create(
        Book(id=n, title=f"T{n}", publisher_id=1, price=n, pages=n, published=f"2020-01-0{n}")
        for n in (1, 2, 3)
    )
    await Author.objects.abulk_create(Author(id=n, name=f"A{n}") for n in (1, 2))


async def of_id(number):
    return await Book.objects.aget(id=number)


async def gathered(iterator):
    return [item.pk async for item in iterator]


async def in_bulk():
    return {key: book.pk for key, book in (await Book.objects.ain_bulk([1, 3])).items()}


async def contains():
    return await Book.objects.filter(id__lt=3).acontains(await of_id(2))


async def bulk_update():
    books = [book async for book in Book.objects.order_by("id")]
    for book in books:
        book.pages += 10
    return await Book.objects.abulk_update(books, ["pages"])


async def explain():
    return "conformance_book" in await Book.objects.filter(id=1).aexplain(analyze=True)


def publisher(number):
    return {"id": number, "name": f"P{number}", "country": "DE"}


async def ignoring_conflicts():
    publishers = [Publisher(**publisher(2)), Publisher(**publisher(3))]
    await Publisher.objects.abulk_create(publishers, ignore_conflicts=True)
    return [each.country async for each in Publisher.objects.order_by("id")]


async def updating_conflicts():
    await Publisher.objects.abulk_create(
        [Publisher(**publisher(2)), Publisher(**publisher(3))],
        update_conflicts=True, unique_fields=["id"], update_fields=["country"],
    )  # fmt: skip
    return [each.country async for each in Publisher.objects.order_by("id")]


async def prefetched():
    publishers = [each async for each in Publisher.objects.order_by("id")]
    await models.aprefetch_related_objects(
        publishers, Prefetch("books", Book.objects.order_by("-id"))
    )
    return [[book.pk for book in each.books.all()] for each in publishers]


ASKED = {
    "iteration": (lambda: gathered(Book.objects.order_by("-id")), [3, 2, 1]),
    "aiterator": (lambda: gathered(Book.objects.order_by("id").aiterator(2)), [1, 2, 3]),
    "raw": (lambda: gathered(Book.objects.raw("SELECT * FROM conformance_book ORDER BY id")),
            [1, 2, 3]),
    "aget": (lambda: of_id(2), 2),
    "afirst": (lambda: Book.objects.order_by("pages").afirst(), 1),
    "alast": (lambda: Book.objects.order_by("pages").alast(), 3),
    "alatest": (lambda: Book.objects.alatest("published"), 3),
    "aearliest": (lambda: Book.objects.aearliest("published"), 1),
    "acount": (Book.objects.acount, 3),
    "aexists": (lambda: Book.objects.filter(id=9).aexists(), False),
    "acontains": (contains, True),
    "aaggregate": (lambda: Book.objects.aaggregate(most=Max("pages")), {"most": 3}),
    "ain_bulk": (in_bulk, {1: 1, 3: 3}),
    "acreate": (lambda: Publisher.objects.acreate(**publisher(7)), 7),
    "aget_or_create": (lambda: Publisher.objects.aget_or_create(name="P1"), (1, False)),
    "aupdate_or_create": (
        lambda: Publisher.objects.aupdate_or_create(name="P9", defaults=publisher(9)), (9, True)
    ),
    "abulk_create, ignoring": (ignoring_conflicts, ["NL", "NL", "DE"]),
    "abulk_create, updating": (updating_conflicts, ["NL", "DE", "DE"]),
    "abulk_update": (bulk_update, 3),
    "aupdate": (lambda: Book.objects.filter(id__gt=1).aupdate(pages=0), 2),
    "adelete": (lambda: Book.objects.filter(id=1).adelete(), (1, {"conformance.Book": 1})),
    "aexplain": (explain, True),
    "aprefetch_related_objects": (prefetched, [[3, 2, 1], []]),
}  # fmt: skip


def plain(value):
    if isinstance(value, stock.Model):
        return value.pk
    return tuple(map(plain, value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", ASKED)
async def test_method_runs_without_a_thread(shelf, name):
    call, expected = ASKED[name]
    assert plain(await call()) == expected


async def test_instance_is_saved_reloaded_and_deleted(shelf):
    book = await of_id(1)
    book.title = "new"
    await book.asave()
    await Book.objects.filter(id=1).aupdate(pages=99)
    await book.arefresh_from_db(fields=["pages"])
    assert (book.title, book.pages) == ("new", 99)
    assert await book.adelete() == (1, {"conformance.Book": 1})


async def test_related_managers_of_every_kind(shelf):
    book, author = await of_id(1), await Author.objects.aget(id=1)
    for manager in (book.authors, author.books):  # forward and back
        await manager.aclear()
    await book.authors.aadd(author)
    await book.authors.aset([1, 2])
    await author.books.aremove(book)
    assert await gathered(book.authors.all()) == [2]
    assert (await book.authors.acreate(id=13, name="A3")).pk
    assert (await book.authors.aget_or_create(name="A3"))[1] is False
    assert (await book.authors.aupdate_or_create(name="A3", defaults={"age": 3}))[1] is False
    pupils = author.pupils  # a nullable foreign key
    await pupils.aadd(await Author.objects.aget(id=2))
    await pupils.aset([])
    await pupils.aset([await Author.objects.aget(id=2)])
    await pupils.aremove(await Author.objects.aget(id=2))
    await pupils.aclear()
    made = await author.pupils.acreate(id=14, name="A4")
    assert made.mentor_id == 1
    await db.run(ContentType.objects.get_for_model, Book)  # Django keeps it, and asks else
    mark = await book.marks.acreate(text="x")  # a generic relation
    await book.marks.aset([mark])
    assert await Mark.objects.acount() == 1
    await book.marks.aremove(mark)


def coroutines(cls):
    return {name for name, each in inspect.getmembers(cls) if inspect.iscoroutinefunction(each)}


async def test_no_awaitable_of_django_is_left_to_its_thread():
    """A new Django may add one: it is found here."""
    for ours, theirs in (
        (models.QuerySet, stock.QuerySet),
        (models.Model, stock.Model),
        (models.Manager, stock.Manager),
        *(
            (type(manager), stock.Manager)
            for manager in (Book(pk=1).authors, Publisher(pk=1).books, Book(pk=1).marks)
        ),
    ):
        missing = [
            name
            for name in coroutines(ours) | coroutines(theirs)
            if "sync_to_async" in getattr(ours, name).__code__.co_names
        ]
        assert missing == [], ours
    assert isinstance(Book.authors, ManyToManyDescriptor)


async def test_query_count_is_that_of_the_synchronous_twin(shelf):
    with assert_num_queries(2):
        await Publisher.objects.aget_or_create(name="P1")
        await db.run(Publisher.objects.get_or_create, name="P1")
