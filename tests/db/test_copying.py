"""COPY in and out."""

import csv
import io

import pytest
from django.db import DataError, IntegrityError

from app import db
from tests.conformance.db.models import Book, Publisher

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIELDS = ["name", "country"]


class Collector:
    def __init__(self):
        self.data = b""

    async def __call__(self, data):
        self.data += data

    def rows(self):
        return list(csv.reader(io.StringIO(self.data.decode())))


async def test_records_are_copied_in(transaction):
    records = [(f"P{n}", "NL") for n in range(1000)]
    assert await db.copy_in(Publisher, columns=FIELDS, records=records) == 1000
    assert await Publisher.objects.filter(country="NL").acount() == 1000


async def test_records_may_come_as_they_arrive(transaction):
    async def records():
        for n in range(3):
            yield f"P{n}", "DE"

    assert await db.copy_in(Publisher, columns=FIELDS, records=records()) == 3


async def test_a_table_is_named_with_its_columns(transaction):
    assert await db.copy_in("conformance_publisher", columns=FIELDS, records=[("a", "b")]) == 1
    table = "public.conformance_publisher"
    assert await db.copy_in(table, columns=FIELDS, records=[("b", "b")]) == 1


@pytest.mark.parametrize(
    ("records", "error"),
    [
        ([("a", "x"), ("a", "y")], IntegrityError),
        ([("a", 3)], DataError),
        ([("a", None)], IntegrityError),
    ],
)
async def test_all_records_are_stored_or_none(committed, records, error):
    with pytest.raises(error):
        await db.copy_in(Publisher, columns=FIELDS, records=[("good", "x"), *records])
    assert await Publisher.objects.acount() == 0


async def test_a_queryset_is_copied_out(transaction):
    await db.copy_in(Publisher, columns=FIELDS, records=[("a", "NL"), ('b"%,', "NL"), ("c", "DE")])
    output = Collector()
    queryset = Publisher.objects.filter(country="NL").order_by("name").values("name", "country")
    assert await db.copy_out(queryset, output) == 2
    assert output.rows() == [["name", "country"], ["a", "NL"], ['b"%,', "NL"]]


async def test_values_reach_a_copy_as_parameters(transaction):
    await Publisher.objects.acreate(id=1, name="it's; DROP TABLE x --", country="NL")
    await Book.objects.acreate(
        title="T", publisher_id=1, price="1.50", pages=3, published="2020-01-01", tags=["a", "b'"]
    )
    output = Collector()
    queryset = Book.objects.filter(
        publisher__name="it's; DROP TABLE x --",
        pages__in=[3, 4],
        price__gte="1.5",
        published="2020-01-01",
        tags__contains=["b'"],
        made_at=None,
    ).values("title")[:5]
    assert await db.copy_out(queryset, output, header=False) == 1
    assert output.rows() == [["T"]]


async def test_a_model_is_copied_out_whole_and_nothing_of_nothing(transaction):
    output = Collector()
    assert await db.copy_out(Publisher, output) == 0
    assert await db.copy_out(Publisher.objects.none(), output) == 0
    assert output.rows()[0] == ["id", "made_at", "name", "country"]
