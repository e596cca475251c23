"""Nested serializers: written by `acreate` and `aupdate` as DRF's are by theirs, and looked up with
one query a model however many items there are and however deep.
"""

import pytest
from django.db import transaction
from rest_framework import serializers as drf

from app import db
from app.db.testing import assert_num_queries, capture_queries
from app.rest import serializers
from tests.conformance.db.conftest import in_thread, library
from tests.conformance.db.models import Author, Berth, Book, Publisher
from tests.rest.test_generated import as_drf, told
from tests.rest.test_generated_models import shown

__all__ = ["as_drf", "library"]

pytestmark = pytest.mark.asyncio(loop_scope="session")

BOOK = {"title": "New", "price": "1.50", "pages": 3, "published": "2020-01-01", "authors": [1, 2]}


def book_fields(kit):
    class Meta:
        model = Book
        fields = ["title", "price", "pages", "published", "authors"]

    return type("BookSerializer", (kit.ModelSerializer,), {"Meta": Meta})(many=True)


class Meta:
    model = Publisher
    fields = ["name", "country", "books"]


class TheirSerializer(drf.ModelSerializer):
    Meta = Meta
    books = book_fields(drf)

    def create(self, validated_data):
        books = validated_data.pop("books")
        return self.fill(Publisher.objects.create(**validated_data), books)

    def update(self, instance, validated_data):
        books = validated_data.pop("books", None)
        instance = super().update(instance, validated_data)
        if books is not None:
            instance.books.filter(title="New").delete()
            self.fill(instance, books)
        return instance

    def fill(self, publisher, books):
        for values in books:
            authors = values.pop("authors")
            book = Book.objects.create(publisher=publisher, **values)
            book.authors.set(authors)
        return publisher


class OurSerializer(serializers.ModelSerializer):
    Meta = Meta
    books = book_fields(serializers)

    async def acreate(self, validated_data):
        books = validated_data.pop("books")
        return await self.fill(await Publisher.objects.acreate(**validated_data), books)

    async def aupdate(self, instance, validated_data):
        books = validated_data.pop("books", None)
        instance = await super().aupdate(instance, validated_data)
        if books is not None:
            await instance.books.filter(title="New").adelete()
            await self.fill(instance, books)
        return instance

    async def fill(self, publisher, books):
        for values in books:
            authors = values.pop("authors")
            book = await Book.objects.acreate(publisher=publisher, **values)
            await book.authors.aset(authors)
        return publisher


class UndoError(Exception):
    pass


def theirs(payload, key, partial):
    with transaction.atomic():
        instance = Publisher.objects.filter(pk=key).first()
        serializer = TheirSerializer(instance, data=payload, partial=partial)
        if not serializer.is_valid():
            return told(serializer.errors)
        serializer.save()
        found = shown(serializer.data)
        transaction.set_rollback(True)
    return found


async def ours(payload, key, partial):
    found = []
    try:
        async with db.atomic():
            instance = await Publisher.objects.filter(pk=key).afirst()
            serializer = OurSerializer(instance, data=payload, partial=partial)
            if not await serializer.ais_valid():
                return told(serializer.errors)
            await serializer.asave()
            found.append(shown(await serializer.adata))
            raise UndoError  # noqa: TRY301 - rolls back
    except UndoError:
        return found[0]


@pytest.mark.parametrize(
    ("payload", "key", "partial"),
    [
        ({"name": "E", "country": "NL", "books": [BOOK, {**BOOK, "title": "Other"}]}, None, False),
        ({"name": "E", "country": "NL", "books": []}, None, False),
        ({"name": "Anchor", "country": "NLD", "books": [BOOK, {}, "x"]}, None, False),
        ({"name": "E", "country": "NL", "books": [{**BOOK, "authors": [1, 99]}]}, None, False),
        ({"name": "E", "country": "NL", "books": {"a": 1}}, None, False),
        ({"name": "Anchor", "country": "DE", "books": [BOOK]}, 1, False),
        ({"country": "DE"}, 1, True),
        ({"name": "Dock"}, 1, True),
    ],
)
async def test_nested_writes_are_what_drf_writes(payload, key, partial, library, database):
    assert await ours(payload, key, partial) == await in_thread(theirs, payload, key, partial)


@pytest.mark.parametrize("count", [1, 5])
async def test_relations_of_nested_lists_are_found_with_one_query_a_model(count, transaction):
    authors = await Author.objects.abulk_create(Author(name=f"A{n}") for n in range(4))
    keys = [author.pk for author in authors]
    books = [{**BOOK, "title": f"T{n}", "authors": keys} for n in range(count)]
    data = [{"name": f"P{n}", "country": "NL", "books": books} for n in range(count)]
    serializer = OurSerializer(data=data, many=True)
    with capture_queries() as queries:
        assert await serializer.ais_valid(), serializer.errors
    asked = [query["sql"] for query in queries]
    assert len([sql for sql in asked if "conformance_author" in sql]) == 1
    assert len([sql for sql in asked if "conformance_publisher" in sql]) == 1  # taken names
    assert len(asked) == 2


@pytest.mark.parametrize("count", [1, 5])
async def test_nested_relations_of_a_list_are_read_with_one_query_each(count, transaction):
    author = await Author.objects.acreate(name="A")
    for n in range(count):
        publisher = await Publisher.objects.acreate(name=f"P{n}", country="NL")
        for k in range(2):
            values = {**BOOK, "title": f"T{k}", "publisher": publisher}
            del values["authors"]
            await (await Book.objects.acreate(**values)).authors.aadd(author)
    rows = Publisher.objects.filter(name__startswith="P")
    with assert_num_queries(3):  # publishers, their books, the books' authors
        data = await OurSerializer(rows, many=True).adata
    assert [len(one["books"]) for one in data] == [2] * count


async def test_each_uniqueness_validator_of_an_object_asks_one_exists(transaction):
    class BerthSerializer(serializers.ModelSerializer):
        class Meta:
            model = Berth
            fields = ["quay", "number", "kind", "vessel", "taken", "day", "pilot", "depth"]

    values = {"quay": "Q", "number": 7, "kind": "ro", "vessel": "new", "taken": True}
    serializer = BerthSerializer(data={**values, "day": "2024-05-01", "pilot": "n", "depth": 9})
    with capture_queries() as queries:
        assert await serializer.ais_valid(), serializer.errors
    # quay and number; vessel, where taken; quay and depth, where deep; pilot by day and by month
    assert len(queries) == 5
    assert all(query["sql"].startswith("SELECT 1") for query in queries)
