"""The cache of compiled shapes gives what compiling gives, whatever is done to mislead it."""

import datetime as dt
from decimal import Decimal

import pytest
import pytest_asyncio
from django.db.models import Count, Exists, F, FilteredRelation, OuterRef, Prefetch, Q, Value
from django.db.models import QuerySet as StockQuerySet
from django.db.models.functions import Lower, Now
from django.db.models.lookups import Exact
from django.db.models.signals import post_init

from app import db
from app.db import connections, shapes
from app.db.testing import assert_num_queries, capture_queries
from tests.conformance.db.models import Author, Bistro, Book, Publisher, Specimen
from tests.conformance.db.shapes import shape

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def shelf(transaction):
    """Nine books of three publishers; no shape is known."""
    shapes.forget()
    await Publisher.objects.abulk_create(
        Publisher(id=n, name=f"P{n}", country="NL" if n % 2 else "DE") for n in (1, 2, 3)
    )
    await Author.objects.abulk_create(
        Author(id=n, name=f"A{n}", age=None if n == 2 else n, active=n != 3) for n in (1, 2, 3)
    )
    await Book.objects.abulk_create(
        Book(
            id=n, title=f"T{n}", publisher_id=n % 3 + 1, price=Decimal(n), pages=n * 10,
            published=dt.date(2020, 1, n), details={"n": n, "none": None}, tags=[f"t{n}"],
        )
        for n in range(1, 10)
    )  # fmt: skip


def compiled(queryset):
    """SQL and parameters by Django's own compiler, on a copy."""
    return queryset.all().query.get_compiler(connection=connections.current_wrapper()).as_sql()


def check(queryset):
    """The statement from the cache, twice, if it is one that is kept; True when it is."""
    expected = sql, params = compiled(queryset)
    wrapper = connections.current_wrapper()
    for _ in range(2):
        found = shapes.statement_of(queryset.all(), wrapper, lambda queryset, compiler: None)
        if found is None:
            return False
        assert (found[1], found[2]) == (sql, list(params)), expected
    return True


def variants(*filters):
    """Querysets of one shape each, with other values."""
    return [Book.objects.filter(**each) for each in filters]


KEPT = {
    "all": [Book.objects.all(), Book.objects.all()],
    "ints": variants({"id": 1}, {"id": 2}, {"id": 2**40}),
    "int out of range and in": variants({"pages__gte": 5}, {"pages__gte": 6}),
    "strings": variants({"title": "T1"}, {"title": "%s"}, {"title": "'; DROP"}, {"title": ""}),
    "patterns": variants({"title__contains": "T"}, {"title__contains": "%_\\"}),
    "prefixes": variants({"title__istartswith": "t"}, {"title__istartswith": "100%"}),
    "dates": variants({"published": dt.date(2020, 1, 2)}, {"published": "2020-01-03"}),
    "decimals": variants({"price__lt": 5}, {"price__lt": Decimal("2.5")}, {"price__lt": "3.25"}),
    "lists": variants({"id__in": [1, 2]}, {"id__in": [8, 9]}, {"id__in": (1, 2, 3)}),
    "lists with none": variants({"id__in": [1, None, 2]}, {"id__in": [3]}, {"id__in": {4}}),
    "lists that repeat": variants({"id__in": [1, 1, 2]}, {"id__in": [1, 2, 2]}),
    "ranges": variants({"pages__range": (10, 30)}, {"pages__range": (50, 90)}),
    "keys": variants({"publisher": 1}, {"publisher_id": 2}, {"publisher": Publisher(id=3)}),
    "joins": variants({"publisher__name": "P1"}, {"publisher__country": "NL"}),
    "nulls": variants({"sequel": None}, {"sequel__isnull": False}, {"made_at__isnull": True}),
    "null and value": [Author.objects.filter(age=None), Author.objects.filter(age=1)],
    "booleans": [Author.objects.filter(active=True), Author.objects.filter(active=False)],
    "boolean lists": [Author.objects.filter(active__in=[True]), Author.objects.filter(active=True)],
    "not": [Book.objects.exclude(id=1), Book.objects.filter(id=1), Book.objects.filter(~Q(id=1))],
    "or and and": [
        Book.objects.filter(Q(id=1) | Q(pages=20)), Book.objects.filter(Q(id=1) & Q(pages=20)),
        Book.objects.filter(Q(id=1) | ~Q(pages=20)), Book.objects.filter(~(Q(id=1) | Q(pages=20))),
    ],
    "nesting": [
        Book.objects.filter((Q(id=1) | Q(id=2)) & Q(pages=20)),
        Book.objects.filter(Q(id=1) | (Q(id=2) & Q(pages=20))),
        Book.objects.filter(Q(Q(id=1) | Q(id=2)) | Q(pages=20)),
    ],
    "order of conditions": [
        Book.objects.filter(Q(id=1), Q(pages=2)), Book.objects.filter(Q(pages=1), Q(id=2)),
    ],
    "one field or another": variants({"id": 3}, {"pages": 3}, {"id__gt": 3}, {"id__gte": 3}),
    "orderings": [
        Book.objects.order_by("id"), Book.objects.order_by("-id"), Book.objects.order_by("pages"),
        Book.objects.order_by("publisher__name", "id"), Book.objects.order_by("?"),
        Book.objects.order_by("id").reverse(), Book.objects.order_by("publisher"),
    ],
    "distinct": [Book.objects.distinct(), Book.objects.all()],
    "deferred": [
        Book.objects.defer("title"), Book.objects.defer("pages"), Book.objects.only("title"),
        Book.objects.only("title", "publisher__name").select_related("publisher"),
        Book.objects.defer("publisher__name").select_related("publisher"),
    ],
    "related": [
        Book.objects.select_related("publisher"), Book.objects.select_related("sequel"),
        Book.objects.select_related("sequel__publisher"), Book.objects.select_related("prequel"),
        Book.objects.select_related(), Book.objects.select_related("publisher", "sequel"),
        Book.objects.select_related("sequel", "publisher"),
        Book.objects.select_related("publisher").select_related(None),
    ],
    "pages": [
        Book.objects.order_by("id")[:2], Book.objects.order_by("id")[:1],
        Book.objects.order_by("id")[3:5], Book.objects.order_by("id")[5:],
        Book.objects.order_by("id")[:21], Book.objects.order_by("id"),
    ],
    "many to many": [
        Book.objects.filter(authors=1), Book.objects.filter(authors__name="A1"),
        Book.objects.filter(authors=1).filter(authors=2), Book.objects.filter(authors__in=[1, 2]),
        Author.objects.filter(books__publisher__country="NL"),
    ],
    "self": [Author.objects.filter(mentor__name="A1"), Author.objects.filter(pupils__name="A2")],
    "inheritance": [
        Bistro.objects.filter(stars=1), Bistro.objects.filter(city="x", terrace=True),
        Bistro.objects.order_by("city"), Bistro.objects.only("terrace"),
    ],
    "evaluated and not": [Book.objects.order_by("publisher__name"), Book.objects.filter(id=1)],
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
async def test_kept_statement_is_the_compiled_one(shelf, name):
    """In both orders, so that each is once the one that the shape was made of."""

    def work():
        for querysets in (KEPT[name], KEPT[name][::-1]):
            shapes.forget()
            assert [queryset for queryset in querysets if not check(queryset)] == []

    await db.run(work)


NOT_KEPT = {
    "combined": Book.objects.filter(id=1) | Book.objects.filter(pages=20),
    "nothing": Book.objects.none(),
    "empty list": Book.objects.filter(id__in=[1]).filter(id__in=[]),
    "out of range": Author.objects.filter(age=2**40),
    "below the range": Author.objects.filter(age__gt=-(2**40)),
    "long list": Book.objects.filter(id__in=range(101)),
    "f": Book.objects.filter(id=F("pages")),
    "f in a list": Book.objects.filter(id__in=[F("pages"), 1]),
    "value": Book.objects.filter(id=Value(1)),
    "marker": Book.objects.filter(id=db.Marker("id")),
    "subquery": Book.objects.filter(publisher__in=Publisher.objects.filter(country="NL")),
    "scalar subquery": Book.objects.filter(id=Book.objects.order_by("-id").values("id")[:1]),
    "exists": Publisher.objects.filter(Exists(Book.objects.filter(publisher=OuterRef("pk")))),
    "many excluded": Publisher.objects.exclude(books__pages=10),
    "expression": Book.objects.filter(Exact(F("id"), 3)),
    "json": Book.objects.filter(details__n=3),
    "json whole": Book.objects.filter(details={"n": 1, "none": None}),
    "json null": Book.objects.filter(details__none=None),
    "array": Book.objects.filter(tags__contains=["t1"]),
    "array whole": Book.objects.filter(tags=["t1"]),
    "transform": Book.objects.filter(published__year=2020),
    "transformed": Book.objects.filter(published__month__gt=1),
    "annotation": Book.objects.annotate(n=Value(3)),
    "alias": Book.objects.alias(n=F("pages") * 2).filter(n=40),
    "aggregate": Publisher.objects.annotate(n=Count("books")).filter(n__gt=1),
    "filtered relation": Publisher.objects.annotate(
        big=FilteredRelation("books", condition=Q(books__pages__gt=20))
    ).filter(big__isnull=False),
    "ordered by expression": Book.objects.order_by(Lower("title")),
    "ordered by f": Book.objects.order_by(F("pages").desc(nulls_last=True)),
    "ordered by transform": Book.objects.order_by("published__month", "id"),
    "extra where": Book.objects.extra(where=["pages > %s"], params=[30]),
    "extra select": Book.objects.extra(select={"more": "pages + 1"}),
    "extra order": Book.objects.extra(order_by=["-pages"]),
    "union": Book.objects.filter(id=1).union(Book.objects.filter(id=2)),
    "distinct on": Book.objects.order_by("publisher_id", "id").distinct("publisher_id"),
    "locked": Book.objects.select_for_update(),
    "now": Book.objects.filter(made_at__lt=Now()),
    "xor": Book.objects.filter(Q(id=1) ^ Q(pages=10)),
    "generic": Book.objects.filter(marks__text="x"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_KEPT)
async def test_what_is_not_known_is_compiled_each_time(shelf, name):
    def work():
        wrapper = connections.current_wrapper()
        queryset = NOT_KEPT[name]
        for _ in range(2):
            found = shapes.statement_of(queryset.all(), wrapper, lambda queryset, compiler: None)
            assert found is None

    await db.run(work)


ASKED = {
    **{name: queryset for name, queryset in NOT_KEPT.items() if name != "marker"},
    **{f"{name} {n}": each for name, many in KEPT.items() for n, each in enumerate(many)},
}


async def test_all_of_them_one_after_the_other_give_what_django_gives(shelf):
    """Each first by stock Django's way, then twice by the cache, all in one process's cache."""

    def work():
        for _ in range(2):
            for name, queryset in ASKED.items():
                stock = StockQuerySet(queryset.model, query=queryset.query.chain())
                expected, found = shape(list(stock)), shape(list(queryset.all()))
                if "?" in queryset.query.order_by:
                    expected, found = sorted(map(str, expected[2])), sorted(map(str, found[2]))
                assert found == expected, name

    await db.run(work)


async def test_deferred_fields_are_deferred_on_a_hit_too(shelf):
    for _ in range(2):
        assert (await Book.objects.only("title").aget(id=3)).get_deferred_fields() >= {"pages"}
        assert (await Book.objects.aget(id=3)).get_deferred_fields() == set()


async def test_value_of_another_type_is_bound_with_its_own_cast(shelf):
    for value in (3, 2**40, 3, -(2**40)):
        assert await Book.objects.filter(id=value).acount() == (value == 3)
        assert [book.id async for book in Book.objects.filter(id=value)] == [3][: value == 3]


async def test_null_after_a_value_is_a_null(shelf):
    for _ in range(2):
        assert [author.id async for author in Author.objects.filter(age=1)] == [1]
        assert [author.id async for author in Author.objects.filter(age=None)] == [2]


async def test_lists_of_other_lengths_and_pages_find_their_rows(shelf):
    for ids in ([1], [1, 2], [3, 4, 5], [1, None], [9, 9], list(range(1, 10))):
        found = {book.id async for book in Book.objects.filter(id__in=ids)}
        assert found == set(ids) - {None}
    assert [book async for book in Book.objects.filter(id__in=[])] == []
    for low, high in ((0, 2), (2, 4), (8, 20), (3, 4), (0, 1), (0, 21)):
        page = [book.id async for book in Book.objects.order_by("id")[low:high]]
        assert page == list(range(1, 10))[low:high]
    assert [book async for book in Book.objects.order_by("id")[2:2]] == []


async def test_lock_follows_the_same_query_without_one(shelf):
    await Book.objects.aget(id=1)
    with capture_queries() as queries:
        await Book.objects.select_for_update().aget(id=1)
        await Book.objects.aget(id=1)
    assert "FOR UPDATE" in queries[0]["sql"]
    assert "FOR UPDATE" not in queries[1]["sql"]


async def test_changed_ordering_of_a_model_is_obeyed(shelf, monkeypatch):
    for ordering in (["-id"], ["pages"], ["-pages"], [F("id").desc()], []):
        monkeypatch.setattr(Book._meta, "ordering", ordering)
        monkeypatch.setattr(Publisher._meta, "ordering", ["-name"] if ordering else [])
        for _ in range(2):
            found = [book.id async for book in Book.objects.all()]
            if ordering:
                is_rising = ordering == ["pages"]
                assert found == list(range(1, 10)) if is_rising else list(range(9, 0, -1))
            by_publisher = [b.publisher_id async for b in Book.objects.order_by("publisher")]
            assert by_publisher == sorted(by_publisher, reverse=bool(ordering))


async def test_receiver_that_comes_later_hears_of_instances(shelf):
    heard = []

    def receive(sender, instance, **kwargs):
        heard.append(instance.pk)

    assert (await Book.objects.select_related("publisher").aget(id=1)).publisher
    post_init.connect(receive, sender=Publisher, weak=False)
    try:
        await Book.objects.select_related("publisher").aget(id=1)
    finally:
        post_init.disconnect(receive, sender=Publisher)
    await Book.objects.select_related("publisher").aget(id=1)
    assert heard == [2]


async def test_changed_table_makes_no_wrong_result(committed):
    await Author.objects.acreate(id=1, name="x")
    await Author.objects.aget(id=1)
    try:
        await db.execute("ALTER TABLE conformance_author ADD COLUMN extra int DEFAULT 7")
        assert (await Author.objects.aget(id=1)).name == "x"
        await db.execute("ALTER TABLE conformance_author DROP COLUMN extra")
        assert (await Author.objects.aget(id=1)).name == "x"
    finally:
        await db.execute("ALTER TABLE conformance_author DROP COLUMN IF EXISTS extra")
        await db.close()
        await db.open()


class Shouted(Exact):
    """A lookup that a project registers in place of Django's, with the same name."""

    def as_sql(self, compiler, connection):
        sql, params = super().as_sql(compiler, connection)
        return f"UPPER({sql.replace(' = ', ') = UPPER(')})", params


async def test_custom_lookup_in_the_place_of_djangos_is_asked(shelf):
    title = Book._meta.get_field("title")
    assert [book async for book in Book.objects.filter(title="t1")] == []
    title.register_lookup(Shouted)
    try:
        assert [book.id async for book in Book.objects.filter(title="t1")] == [1]
    finally:
        title._unregister_lookup(Shouted)
    assert [book async for book in Book.objects.filter(title="t1")] == []


async def test_conditions_on_a_query_that_was_run_are_those_of_django(shelf):
    base = Book.objects.order_by("publisher__name", "id")
    for _ in range(2):
        first = [book.id async for book in base.all()]
        ran = base.all()
        assert [book.id async for book in ran] == first
        narrowed = ran.filter(publisher__country="NL").exclude(publisher__name="P1")
        assert [book.id async for book in narrowed] == [2, 5, 8]


async def test_related_managers_know_their_instance_on_a_hit(shelf):
    for number in (1, 2):
        publisher = await Publisher.objects.aget(id=number)
        with assert_num_queries(1):
            books = [book async for book in publisher.books.all()]
        assert all(book.publisher is publisher for book in books)
    listed = Publisher.objects.prefetch_related(Prefetch("books", Book.objects.order_by("-id")))
    for _ in range(2):
        assert [[b.id for b in p.books.all()] async for p in listed.filter(id__lte=1)] == [
            [9, 6, 3]
        ]


async def test_converters_of_fields_are_applied_on_a_hit(shelf):
    await Specimen.objects.acreate(auto=1, json={"a": [1]}, decimal=Decimal("1.5"), ip="::1")
    for _ in range(2):
        specimen = await Specimen.objects.aget(auto=1)
        assert (specimen.json, specimen.ip) == ({"a": [1]}, "::1")


async def test_number_of_shapes_is_bounded(shelf, monkeypatch):
    monkeypatch.setattr(shapes, "SHAPES", 5)
    for count in range(1, 20):
        [book async for book in Book.objects.filter(id__in=range(count))]
    assert len(shapes._statements) == 5


@pytest.mark.blocks("it collects garbage, of all that the tests before it left")
async def test_no_value_is_kept(shelf):
    """What a shape keeps alive are fields and models: a value may be a secret, or large."""
    import gc

    class Secret(str):
        __slots__ = ()

    await Book.objects.filter(title=Secret("xyz")).afirst()
    gc.collect()
    assert shapes._statements
    assert not [each for each in gc.get_objects() if type(each) is Secret]
