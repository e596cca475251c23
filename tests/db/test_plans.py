"""Plans: compiled once, executed many times."""

import json

import pytest
import pytest_asyncio
from django.db import Error, OperationalError, ProgrammingError
from django.db.models import Count, F
from hypothesis import given
from hypothesis import strategies as st

from app import db
from app.db import codecs
from app.db.arguments import fetch
from app.db.testing import assert_num_queries, capture_queries
from tests.conformance.db.models import Author, Book, Publisher

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def shelf(transaction):
    publishers = [Publisher(id=n, name=f"P{n}", country="NL") for n in (1, 2)]
    await Publisher.objects.abulk_create(publishers)
    await Book.objects.abulk_create(
        Book(
            id=n, title=f"T{n}", publisher_id=n % 2 + 1, price=n, pages=n * 10,
            published="2020-01-01", details={"n": n},
        )
        for n in range(1, 8)
    )  # fmt: skip


async def test_a_plan_gives_what_its_queryset_gives(shelf):
    queryset = Book.objects.select_related("publisher").order_by("id")
    plan = db.Plan(queryset.filter(pages__gt=db.Marker("pages")))
    for pages in (0, 30, 60, 100):
        expected = [book async for book in queryset.filter(pages__gt=pages)]
        found = await plan.instances(pages=pages)
        assert found == expected
        assert [book.publisher.name for book in found] == [b.publisher.name for b in expected]
        assert [book.details for book in found] == [book.details for book in expected]


async def test_a_plan_reads_values_lists_and_annotations(shelf):
    def plan(queryset):
        return db.Plan(queryset.filter(id=db.Marker("id")))

    assert await plan(Book.objects.values("title", "publisher__name")).instance(id=3) == {
        "title": "T3",
        "publisher__name": "P2",
    }
    assert await plan(Book.objects.values_list("title", flat=True)).instances(id=3) == ["T3"]
    named = await plan(Book.objects.values_list("id", "title", named=True)).instance(id=3)
    assert named.title == "T3"
    counted = plan(Publisher.objects.annotate(n=Count("books"), twice=F("id") * 2))
    assert ((found := await counted.instance(id=1)).n, found.twice) == (3, 2)


async def test_a_plan_prefetches(shelf):
    plan = db.Plan(Publisher.objects.prefetch_related("books").filter(id=db.Marker("id")))
    with assert_num_queries(2):
        publisher = await plan.instance(id=1)
    assert [book.id for book in publisher.books.all()] == [2, 4, 6]


async def test_pages_share_one_statement(shelf):
    limit, offset = db.Marker("limit"), db.Marker("offset")
    plan = db.Plan(Book.objects.order_by("id").values_list("id"), limit=limit, offset=offset)
    assert [row["id"] for row in await plan.fetch(limit=2, offset=0)] == [1, 2]
    assert [row["id"] for row in await plan.fetch(limit=3, offset=4)] == [5, 6, 7]


async def test_a_field_prepares_the_value(shelf):
    plan = db.Plan(
        Book.objects.filter(published=db.Marker("day", Book._meta.get_field("published")))
    )
    assert len(await plan.fetch(day="2020-01-01")) == 7


async def test_a_marker_without_a_value_is_named(shelf):
    plan = db.Plan(Book.objects.filter(id=db.Marker("id")))
    with pytest.raises(TypeError, match=r"no value for \['id'\]"):
        await plan.fetch()
    with pytest.raises(TypeError, match=r"no marker \['pk'\]"):
        await plan.fetch(id=1, pk=2)
    with pytest.raises(TypeError, match=r"left without a value.*`id=`"):
        await Book.objects.filter(id=db.Marker("id")).afirst()


async def test_a_plan_of_nothing_asks_nothing(shelf):
    with assert_num_queries(0):
        assert await db.Plan(Book.objects.none()).instances() == []
        assert await db.Plan(Book.objects.none()).instance() is None


async def test_a_plans_query_is_logged(shelf):
    plan = db.Plan(Book.objects.filter(id=db.Marker("id")))
    with capture_queries() as queries:
        await plan.fetchrow(id=5)
    assert len(queries) == 1
    assert "$1" in queries[0]["sql"]


async def test_a_plan_outside_a_transaction(committed):
    await Author.objects.acreate(id=1, name="x")
    plan = db.Plan(Author.objects.filter(id=db.Marker("id")))
    assert (await plan.instance(id=1)).name == "x"
    assert db.statistics()["in_use"] == 0


async def test_a_plan_survives_a_change_of_its_table(committed):
    await Author.objects.acreate(id=1, name="x")
    plan = db.Plan(Author.objects.filter(id=db.Marker("id")))
    await plan.fetchrow(id=1)
    try:
        await db.execute("ALTER TABLE conformance_author ALTER COLUMN name TYPE varchar(90)")
        assert (await plan.fetchrow(id=1))["name"] == "x"
        assert (await Author.objects.aget(id=1)).name == "x"
    finally:
        await db.execute("ALTER TABLE conformance_author ALTER COLUMN name TYPE varchar(60)")
        # Statements that other connections keep are invalid now, which a test inside a transaction
        # would be told of: it starts with connections that know nothing.
        await db.close()
        await db.open()


async def test_errors_of_a_plan_are_djangos(database):
    plan = db.Plan(Author.objects.filter(id=db.Marker("id")))
    plan.sql = "SELECT * FROM nowhere WHERE id = $1"
    with pytest.raises(ProgrammingError):
        await plan.fetch(id=1)
    assert issubclass(OperationalError, Exception)


async def test_the_cache_keeps_the_plans_that_are_used(shelf):
    cache = db.PlanCache(size=2)
    built = []

    def build(column):
        built.append(column)
        return db.Plan(Book.objects.order_by(column))

    for column in ("id", "pages", "id", "price", "id", "pages"):
        cache.get(column, lambda column=column: build(column))
    assert built == ["id", "pages", "price", "pages"]
    assert len(cache) == 2
    assert cache.hits == 2


async def test_a_plan_gives_json_as_text_where_it_says_so(shelf):
    queryset = Book.objects.order_by("id").values_list("title", "details", "id")
    plan = db.Plan(queryset)
    assert plan.json_places == (1,)
    rows, sent = await plan.rows(), await plan.fetch()
    loaded = plan.load_json([row[1] for row in sent])
    assert [row[1] for row in rows] == loaded == [{"n": n} for n in range(1, 8)]
    assert [row[0] for row in rows] == [row[0] for row in sent]
    assert db.Plan(Book.objects.values_list("id")).json_places == ()
    assert db.Plan(Book.objects.values_list("details__n", "title")).json_places is None


NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.none() | st.dictionaries(st.text(), st.none() | NUMBERS | st.text())))
async def test_a_column_of_json_is_read_as_each_of_its_texts(values):
    texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    loaded = codecs.load_json_column(texts)
    assert [repr(one) for one in loaded] == [repr(value) for value in values]


async def test_statement_whose_types_changed_fails_once(database):
    """The server has executed it by then, so it is not run again by itself."""
    await db.execute("CREATE TYPE pair AS (a integer, b integer)")
    await db.execute("CREATE TABLE pairs (one pair)")
    try:
        await db.execute("INSERT INTO pairs VALUES (ROW(1, 2))")
        for _ in range(2):
            assert [tuple(row[0]) for row in await fetch("SELECT one FROM pairs", [])] == [(1, 2)]
        await db.execute("ALTER TYPE pair ADD ATTRIBUTE c text")
        with pytest.raises(Error):
            await fetch("SELECT one FROM pairs", [])
        assert [tuple(row[0]) for row in await fetch("SELECT one FROM pairs", [])] == [(1, 2, None)]
    finally:
        await db.execute("DROP TABLE pairs")
        await db.execute("DROP TYPE pair")
