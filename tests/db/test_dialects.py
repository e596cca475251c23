"""app.db compiles with a copy of Django's backend that knows no psycopg; Django's own knows it."""

import json

import psycopg
import pytest
from django.db import connections
from django.db.backends.postgresql import base as stock
from psycopg.types import json as psycopg_json
from psycopg.types import numeric

from app.db import codecs, dialects
from app.fleet.models import Engine


def test_django_s_own_backend_has_psycopg():
    assert stock.Database is psycopg
    assert stock.DatabaseWrapper is not dialects.base.DatabaseWrapper
    assert issubclass(stock.Cursor, psycopg.ClientCursor)


def test_numbers_are_wrapped_in_psycopg_s_classes():
    assert dialects.numeric.Int4 is numeric.Int4
    assert dialects.operations.DatabaseOperations.integerfield_type_map["IntegerField"] is (
        numeric.Int4
    )


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        (dialects.Jsonb({"a": 1}, json.dumps), psycopg_json.Jsonb({"a": 1}, json.dumps)),
        (dialects.Binary(b"a\0"), psycopg.Binary(b"a\0")),
    ],
    ids=["jsonb", "binary"],
)
def test_wrappers_of_both_are_sent_alike(own, theirs):
    assert codecs.describe(own) == codecs.describe(theirs)
    assert codecs.describe([[own]]) == codecs.describe([[theirs]])


def test_choices_and_empty_lists_need_no_psycopg():
    cast, value = codecs.describe(Engine.DOCKER)
    assert (cast, value, type(value)) == ("", "docker", str)
    assert codecs.describe([]) == ("", [])
    assert codecs.describe([None]) == ("", [None])


def test_connection_becomes_django_s_own_when_it_connects(django_db_setup, django_db_blocker):
    fresh = connections.create_connection("default")
    assert type(fresh).__module__ == "app.db.postgresql.base"
    with django_db_blocker.unblock():
        try:
            with fresh.cursor() as cursor:
                cursor.execute("SELECT %s::jsonb", [dialects.Jsonb({"a": [1]})])
                assert cursor.fetchone() == ('{"a": [1]}',)
        finally:
            fresh.close()
    assert type(fresh) is stock.DatabaseWrapper
    assert type(fresh.ops) is stock.DatabaseOperations
