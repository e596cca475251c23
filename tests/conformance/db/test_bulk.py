"""Many rows with one statement: what Django's bulk_create and bulk_update leave in every type of
column, app.db's leave, too; and what it will not write so is Django's to do.
"""

from contextlib import suppress

import pytest
from django.db import DataError, transaction
from django.db import models as stock
from django.db.models import F, Value

from app import db
from app.db.testing import capture_queries
from tests.conformance.db import models as m
from tests.conformance.db.conftest import in_thread
from tests.conformance.db.models import Specimen
from tests.conformance.db.shapes import shape
from tests.conformance.db.test_types import VALUES, unblocked

__all__ = ["unblocked"]

pytestmark = pytest.mark.asyncio(loop_scope="session")


def rows(name):
    values = [*VALUES[name], None]
    return [Specimen(auto=n, **{name: value}) for n, value in enumerate(values, 1)]


def read(name):
    found = stock.QuerySet(Specimen).order_by("auto").values_list("auto", name)
    return [shape(value) for value in found]


def stock_bulk(method, *args):
    getattr(stock.QuerySet(Specimen), method)(*args)


@pytest.mark.parametrize("name", VALUES)
async def test_every_type_is_written_in_bulk_as_django_does(name, database, unblocked):
    await in_thread(stock_bulk, "bulk_create", rows(name))
    expected = await in_thread(read, name)
    await Specimen.objects.all().adelete()
    await Specimen.objects.abulk_create(rows(name))
    assert await in_thread(read, name) == expected

    await Specimen.objects.aupdate(**{name: None})
    await in_thread(stock_bulk, "bulk_update", rows(name), [name])
    expected = await in_thread(read, name)
    await Specimen.objects.aupdate(**{name: None})
    with capture_queries() as queries:
        assert await Specimen.objects.abulk_update(rows(name), [name]) == len(rows(name))
    assert await in_thread(read, name) == expected
    assert len(queries) == 1
    assert "CASE" not in queries[0]["sql"]


def authors(*names, **values):
    return [m.Author(id=n, name=name, **values) for n, name in enumerate(names, 1)]


@pytest.mark.parametrize(
    ("rows", "fields", "options", "how"),
    [
        (authors("x", "y", "z"), ["name", "age"], {}, "UNNEST"),
        (authors("x", "y", "z"), ["name"], {"batch_size": 2}, "UNNEST"),
        (authors("x", "y", mentor_id=2), ["mentor"], {}, "UNNEST"),
        (authors("x", "y", age=F("age") + 1), ["age"], {}, "CASE"),
        (authors("x", Value("y")), ["name"], {}, "CASE"),
        ([*authors("x"), *authors("y")], ["name"], {}, "CASE"),
        (authors("x"), ["name"], {}, "CASE"),
        ([m.Author(id=9, name="none"), *authors("x")], ["name"], {}, "UNNEST"),
        ([m.ActiveAuthor(id=n, name="p") for n in (1, 2)], ["name"], {}, ""),
    ],
)
async def test_what_is_out_of_the_ordinary_is_djangos_to_do(  # noqa: PLR0917 - a table
    rows, fields, options, how, database, library
):
    model = type(rows[0])

    def theirs():
        queryset = stock.QuerySet(model)
        with transaction.atomic():
            count = queryset.bulk_update(rows, fields, **options)
            found = shape(list(queryset.order_by("id").values()))
            transaction.set_rollback(True)
        return count, found

    mine = []
    with suppress(UndoError):
        async with db.atomic():
            with capture_queries() as queries:
                mine.append(await db.objects(model).abulk_update(rows, fields, **options))
            mine.append(shape([row async for row in db.objects(model).order_by("id").values()]))
            raise UndoError  # rolls back
    assert any(how in query["sql"] for query in queries)
    assert await in_thread(theirs) == tuple(mine)


async def test_narrowed_queryset_updates_no_more_than_it_holds(transaction):
    made = await m.Author.objects.abulk_create(m.Author(name=f"N{n}") for n in range(3))
    for author in made:
        author.name += "x"
    narrowed = m.Author.objects.filter(id__in=[author.id for author in made[1:]])
    assert await narrowed.abulk_update(made, ["name"]) == 2
    found = m.Author.objects.filter(name__startswith="N").order_by("id")
    assert [author.name async for author in found] == ["N0", "N1x", "N2x"]


@pytest.mark.parametrize(
    ("rows", "fields", "error"),
    [
        (authors("a", "b"), [], ValueError),
        (authors("a", "b"), ["id"], ValueError),
        (authors("a", "b"), ["nme"], Exception),
        ([m.Author(name="a"), m.Author(name="b")], ["name"], ValueError),
        (authors("a", "b", age="old"), ["age"], ValueError),
        ([m.Author(id=n, mentor=m.Author()) for n in (1, 2)], ["mentor"], ValueError),
    ],
)
async def test_errors_are_djangos(rows, fields, error, database, library):
    def theirs():
        stock.QuerySet(m.Author).bulk_update(rows, fields)

    with pytest.raises(error) as expected:
        await in_thread(theirs)
    with pytest.raises(type(expected.value)) as found:
        await m.Author.objects.abulk_update(rows, fields)
    assert str(found.value).partition("\n")[0] == str(expected.value).partition("\n")[0]


async def test_text_that_is_too_long_is_refused_where_django_would_cut_it(transaction):
    with pytest.raises(DataError):
        await m.Author.objects.abulk_update(authors("a", "b" * 61), ["name"])


async def test_more_rows_than_parameters_are_sent_in_several_statements(transaction):
    made = await Specimen.objects.abulk_create(Specimen() for _ in range(11))
    for specimen in made:
        specimen.texts = [f"t{specimen.auto}"]
    with pytest.MonkeyPatch.context() as patch, capture_queries() as queries:
        patch.setattr("app.db.bulk_updates.MOST_PARAMETERS", 10)
        assert await Specimen.objects.abulk_update(made, ["texts"]) == 11
    assert len(queries) == 3
    last = await Specimen.objects.aget(auto=made[-1].auto)
    assert last.texts == [f"t{last.auto}"]


class UndoError(Exception):
    pass
