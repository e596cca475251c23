"""Writing gives what Django gives: results, rows, signals and errors, step by step.

A case is a generator: it yields an object, the name of a method and its arguments, and is sent the
result. Stock Django calls the method; app.db awaits the one with `a` before its name.
"""

import asyncio
import datetime as dt
import re
from decimal import Decimal

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.db import models as stock
from django.db.models import F, Q, Value, signals
from django.db.models import functions as f

from app import db
from tests.conformance.db import models as m
from tests.conformance.db.conftest import in_thread
from tests.conformance.db.shapes import shape

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("library"),
]


def call(target, method, *args, **kwargs):
    return target, method, args, kwargs


def new_book(pk, **values):
    defaults = {"title": f"New {pk}", "publisher_id": 1, "price": Decimal(1), "pages": 1}
    return m.Book(pk=pk, published=dt.date(2020, 1, 1), **defaults | values)


def create(q):
    yield call(q(m.Publisher), "create", id=50, name="Echo", country="FR")


def create_with_a_default_key(q):
    made = yield call(q(m.Publisher), "create", name="Foxtrot", country="FR")
    made.pk = made.id = 0  # sequences differ between the sides


def create_with_an_expression(q):
    made = yield call(q(m.Author), "create", id=60, name=f.Upper(Value("ann")), age=3)
    yield call(made, "refresh_from_db")


def create_twice(q):
    yield call(q(m.Publisher), "create", id=51, name="Anchor", country="FR")


def save(q):
    author = yield call(q(m.Author), "get", pk=3)
    author.name, author.age = "Cemil", F("age") + 1
    yield call(author, "save")
    yield call(author, "refresh_from_db")


def save_some_fields(q):
    author = yield call(q(m.Author), "get", pk=3)
    author.name, author.age = "Nobody", 99
    yield call(author, "save", update_fields=["age"])


def save_a_deferred_instance(q):
    author = yield call(q(m.Author).only("name"), "get", pk=3)
    author.name = "Only"
    yield call(author, "save")


def save_what_is_gone(q):
    yield call(m.Author(pk=77, name="x"), "save", force_update=True)


def save_anew(q):
    yield call(m.Author(pk=77, name="x"), "save", force_insert=True)
    yield call(m.Author(pk=77, name="y"), "save")


def save_without_its_relation(q):
    yield call(m.Profile(author=m.Author(name="unsaved")), "save")


def save_a_child(q):
    inn = m.Restaurant(id=40, name="Neu", city="Kiel", stars=1)
    yield call(inn, "save")
    inn.city, inn.stars = "Emden", 3
    yield call(inn, "save")
    yield call(q(m.Place), "get", pk=40)


def save_a_child_of_a_parent(q):
    place = yield call(q(m.Place), "get", pk=1)
    yield call(m.Restaurant(place_ptr=place, name="P", city="C", stars=9), "save")


def save_a_grandchild(q):
    yield call(m.Bistro(id=41, name="Deep", city="Kiel", stars=2, terrace=True), "save")


def save_a_composite_key(q):
    reading = yield call(q(m.Reading), "create", sensor_id=3, hour=9, value=1.5)
    reading.value = None
    yield call(reading, "save")
    yield call(reading, "delete")


def refresh_some_fields(q):
    author = yield call(q(m.Author).defer("rating"), "get", pk=2)
    yield call(q(m.Author).filter(pk=2), "update", name="Later", rating=9)
    yield call(author, "refresh_from_db", fields=["rating"])


def get_or_create(q):
    for country in ("SE", "NO"):
        yield call(
            q(m.Publisher), "get_or_create", name="Gulf", defaults={"id": 70, "country": country}
        )


def update_or_create(q):
    for country in ("SE", "NO"):
        yield call(
            q(m.Publisher),
            "update_or_create",
            name="Gulf",
            defaults={"country": country},
            create_defaults={"id": 71, "country": "XX"},
        )


def update(q):
    yield call(
        q(m.Book).filter(pages__gt=200), "update", pages=F("pages") * 2, title=f.Lower("title")
    )


def update_a_relation(q):
    yield call(q(m.Book).filter(pk=3), "update", publisher=m.Publisher(pk=4), made_at=None)


def update_json_and_arrays(q):
    yield call(q(m.Book).filter(pk__lt=3), "update", details={"a": [1, None]}, tags=["x", "y%"])


def update_over_a_join(q):
    yield call(q(m.Book).filter(publisher__country="NL"), "update", pages=1)


def update_a_parent_and_its_child(q):
    yield call(q(m.Restaurant).filter(stars__gt=1), "update", city="Moved", stars=5)


def update_nothing(q):
    yield call(q(m.Author).none(), "update", age=1)


def update_with_a_case(q):
    yield call(
        q(m.Author),
        "update",
        age=stock.Case(stock.When(active=True, then=F("age") + 1), default=Value(0)),
    )


def update_against_a_constraint(q):
    yield call(q(m.Author).filter(pk=1), "update", mentor_id=None)
    yield call(q(m.Publisher).filter(pk=1), "update", name="Dock")


def bulk_create(q):
    yield call(
        q(m.Book), "bulk_create", [new_book(100 + n, tags=["t"]) for n in range(5)], batch_size=2
    )


def bulk_create_of_one(q):
    yield call(q(m.Author), "bulk_create", [m.Author(id=90, name="One", rating=0.1)])


def bulk_create_ignoring_conflicts(q):
    rows = [
        m.Publisher(id=80 + n, name=name, country="X") for n, name in enumerate(["Dock", "Quay"])
    ]
    yield call(q(m.Publisher), "bulk_create", rows, ignore_conflicts=True)


def bulk_create_updating_conflicts(q):
    rows = [
        m.Publisher(id=80 + n, name=name, country="X") for n, name in enumerate(["Dock", "Quay"])
    ]
    yield call(
        q(m.Publisher),
        "bulk_create",
        rows,
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["country"],
    )


def bulk_create_of_none(q):
    yield call(q(m.Publisher), "bulk_create", [])


def bulk_update(q):
    books = yield call(q(m.Book).order_by("pk"), "in_bulk", [1, 2, 3])
    for book in books.values():
        book.pages += 1
        book.details = {"n": book.pk}
        book.tags = ["new"]
        book.made_at = None
        book.price = Decimal(book.pk) / 3
    yield call(
        q(m.Book),
        "bulk_update",
        list(books.values()),
        ["pages", "details", "tags", "made_at", "price"],
    )


def bulk_update_with_expressions(q):
    authors = [m.Author(pk=1, age=F("age") + 10), m.Author(pk=2, age=5)]
    yield call(q(m.Author), "bulk_update", authors, ["age"], batch_size=1)


def delete_an_instance(q):
    mark = yield call(q(m.Mark), "get", pk=1)
    yield call(mark, "delete")


def delete_cascading(q):
    yield call(q(m.Award), "delete")
    publisher = yield call(q(m.Publisher), "get", pk=2)
    yield call(publisher, "delete")


def delete_protected(q):
    yield call(q(m.Book).filter(pk=2), "delete")


def delete_restricted(q):
    yield call(q(m.Author).filter(pk=1), "delete")


def delete_setting_null(q):
    yield call(q(m.Award), "delete")
    yield call(q(m.Author).filter(pk=3), "delete")


def delete_a_child(q):
    yield call(q(m.Bistro), "delete")


def delete_a_parent(q):
    yield call(q(m.Place).filter(name__startswith="Le"), "delete")


def delete_generic(q):
    yield call(q(m.Award), "delete")
    yield call(q(m.Book).filter(pk__in=[1, 3]), "delete")


def delete_of_none(q):
    yield call(q(m.Book).filter(pk=0), "delete")


def delete_keeping_parents(q):
    bistro = yield call(q(m.Bistro), "get", pk=21)
    yield call(bistro, "delete", keep_parents=True)


def related_create(q):
    publisher = yield call(q(m.Publisher), "get", pk=1)
    yield call(
        publisher.books,
        "create",
        pk=120,
        title="R",
        price=1,
        pages=1,
        published=dt.date(2020, 1, 1),
    )
    yield call(publisher.books, "count")


def related_add_and_set(q):
    mentor = yield call(q(m.Author), "get", pk=1)
    pupils = yield call(q(m.Author).filter(pk__in=[5, 6, 7]), "in_bulk")
    yield call(mentor.pupils, "add", *pupils.values())
    yield call(mentor.pupils, "set", [pupils[5], pupils[6]])
    yield call(mentor.pupils, "remove", pupils[5])
    yield call(mentor.pupils, "clear")


def related_get_or_create(q):
    publisher = yield call(q(m.Publisher), "get", pk=1)
    values = {"pk": 121, "price": 1, "pages": 1, "published": dt.date(2020, 1, 1)}
    yield call(publisher.books, "get_or_create", title="Once", defaults=values)
    yield call(publisher.books, "update_or_create", title="Once", defaults={"pages": 7})


def many_to_many_add(q):
    book = yield call(q(m.Book), "get", pk=1)
    yield call(book.authors, "add", 1, m.Author(pk=2), 1)
    yield call(book.authors, "count")


def many_to_many_set(q):
    book = yield call(q(m.Book), "get", pk=1)
    yield call(book.authors, "set", [1, 2, 3])
    yield call(book.authors, "set", [3, 4], clear=True)
    yield call(book.authors.order_by("pk"), "first")


def many_to_many_remove(q):
    book = yield call(q(m.Book), "get", pk=1)
    yield call(book.authors, "set", [1, 2, 3])
    yield call(book.authors, "remove", 1, 2)
    yield call(book.authors, "clear")


def many_to_many_backwards(q):
    author = yield call(q(m.Author), "get", pk=1)
    yield call(author.books, "set", [1, 2])
    yield call(
        author.books,
        "create",
        pk=130,
        title="B",
        publisher_id=1,
        price=1,
        pages=1,
        published=dt.date(2020, 1, 1),
    )


def many_to_many_through(q):
    author = yield call(q(m.Author), "get", pk=12)
    yield call(author.awarded, "add", 5, through_defaults={"year": 2024})
    yield call(author.awarded, "set", [6], through_defaults={"year": 2025})


def generic_add(q):
    book = yield call(q(m.Book), "get", pk=9)
    yield call(book.marks, "create", id=50, text="fresh")
    yield call(book.marks, "add", m.Mark(id=51, text="more"), bulk=False)
    yield call(book.marks, "clear")


def full_clean_finds_a_duplicate(q):
    yield call(q(m.Publisher), "create", id=52, name="Dock", country="FR")


CASES = [
    value
    for name, value in list(globals().items())
    if callable(value)
    and getattr(value, "__module__", "") == __name__
    and name not in {"call", "new_book"}
    and not name.startswith("_")
]


def rows():
    """Every row of every table, without the keys that a sequence gave."""
    tables = {}
    for model in apps.get_app_config("conformance").get_models(include_auto_created=True):
        if model is m.Specimen:
            continue
        auto = {"id"} if model._meta.auto_created else set()
        names = [field.attname for field in model._meta.concrete_fields if field.name not in auto]
        if model is m.Award:
            names.remove("id")
        values = stock.QuerySet(model).values_list(*names)
        tables[model.__name__] = sorted(repr(row) for row in values)
    return tables


class Signals:
    """A log of the signals that were sent."""

    NAMES = ("pre_save", "post_save", "pre_delete", "post_delete", "m2m_changed")

    def __init__(self):
        self.log = []

    def __enter__(self):
        for name in self.NAMES:
            getattr(signals, name).connect(self.receive, dispatch_uid="conformance")
        return self

    def __exit__(self, *exc_info):
        for name in self.NAMES:
            getattr(signals, name).disconnect(dispatch_uid="conformance")

    def receive(self, signal, sender, instance=None, **details):
        known = {
            key: details.get(key) for key in ("created", "action", "update_fields", "raw", "using")
        }
        known["pk_set"] = sorted(details.get("pk_set") or ())
        self.log.append((sender.__name__, str(instance), known))


def run_stock(case):
    with Signals() as sent, transaction.atomic():
        steps, results = case(stock.QuerySet), []
        try:
            target, method, args, kwargs = next(steps)
            while True:
                with transaction.atomic():
                    result = getattr(target, method)(*args, **kwargs)
                results.append(shape(result))
                target, method, args, kwargs = steps.send(result)
        except StopIteration:
            pass
        except Exception as error:  # noqa: BLE001 - the error is the outcome
            results.append((type(error), str(error).partition("\n")[0]))
        found = results, sent.log, rows()
        transaction.set_rollback(True)
    return found


async def run_ours(case):
    results = []
    with Signals() as sent:
        try:
            async with db.atomic():
                steps = case(db.objects)
                try:
                    target, method, args, kwargs = next(steps)
                    while True:
                        async with db.atomic():
                            result = await getattr(target, f"a{method}")(*args, **kwargs)
                        results.append(shape(result))
                        target, method, args, kwargs = steps.send(result)
                except StopIteration:
                    pass
                except Exception as error:  # noqa: BLE001 - the error is the outcome
                    results.append((type(error), str(error).partition("\n")[0]))
                log = list(sent.log)
                raise UndoError(results, log, await db.run(rows))  # noqa: TRY301 - rolls back
        except UndoError as undo:
            return undo.args


class UndoError(Exception):
    pass


CASES = [case for case in CASES if case.__code__.co_flags & 0x20]  # generator functions


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_writing_does_what_django_does(case, database):
    ours = await run_ours(case)
    theirs = await in_thread(run_stock, case)
    for mine, yours in zip(ours, theirs, strict=True):
        assert without_keys(mine) == without_keys(yours)


def without_keys(found):
    """Sequences move on with each side: a key that the database gave is only a key."""
    return re.sub(r"\b10\d\d\d\b", "key", repr(found))


async def test_the_current_connection_is_the_tasks_own(database):
    """Two tasks write at once, each on a connection of its own."""

    async def write(n):
        try:
            async with db.atomic():
                await m.Author.objects.filter(pk=n).aupdate(age=n)
                await asyncio.sleep(0)
                raise UndoError  # noqa: TRY301 - rolls back
        except UndoError:
            return await m.Author.objects.filter(pk=n, age=n).acount()

    assert await asyncio.gather(write(1), write(2)) == [0, 0]
    assert Q(connection.alias == "default")
