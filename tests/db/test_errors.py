"""One table from SQLSTATE to django.db's exceptions: total, and equal to psycopg's."""

import asyncpg
import psycopg
import pytest
from django import db as django_db
from django.db import DataError, IntegrityError, OperationalError, ProgrammingError

from app import db
from app.db.errors import CLASSES, exception_class, translate
from tests.conformance.db.models import Publisher

STATES = sorted(
    {
        value.sqlstate
        for module in (asyncpg.exceptions, psycopg.errors)
        for value in vars(module).values()
        if isinstance(value, type) and isinstance(getattr(value, "sqlstate", None), str)
    }
)


@pytest.mark.parametrize(
    "sqlstate", [state for state in STATES if state[:2] not in {"00", "01", "02"}]
)
def test_every_sqlstate_has_its_exception(sqlstate):
    assert sqlstate[:2] in CLASSES
    expected = getattr(django_db, psycopg_base(sqlstate))
    assert exception_class(sqlstate) is expected


def psycopg_base(sqlstate):
    """The name of the DB-API class that psycopg gives."""
    try:
        kind = psycopg.errors.lookup(sqlstate)
    except KeyError:
        kind = psycopg.errors.get_base_exception(sqlstate)
    names = (cls.__name__ for cls in kind.__mro__)
    return next(name for name in names if name in django_db.__all__)


def test_every_error_of_the_driver_is_translated():
    for value in vars(asyncpg.exceptions).values():
        if isinstance(value, type) and issubclass(value, asyncpg.PostgresError):
            assert isinstance(translate(value("text")), django_db.DatabaseError), value
        elif isinstance(value, type) and issubclass(
            value, asyncpg.InterfaceError | asyncpg.InternalClientError
        ):
            assert isinstance(translate(value("text")), django_db.Error), value


def test_what_is_not_the_database_is_left_alone():
    assert translate(KeyError("x")) is None


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(
    ("sql", "error", "words"),
    [
        ("SELEC 1", ProgrammingError, "syntax error"),
        ("SELECT * FROM nowhere", ProgrammingError, "does not exist"),
        ("SELECT 1/0", DataError, "division by zero"),
        ("SELECT 'x'::int", DataError, "invalid input syntax"),
        ("SELECT pg_sleep(1) FROM set_config('statement_timeout', '10', true)", None, ""),
    ],
)
async def test_a_servers_error_is_djangos(transaction, sql, error, words):
    if error is None:
        await db.execute("SET LOCAL statement_timeout = 20")
        sql, error, words = "SELECT pg_sleep(2)", OperationalError, "timeout"
    with pytest.raises(error, match=words) as caught:
        await db.fetch(sql)
    assert isinstance(caught.value.__cause__, asyncpg.PostgresError)


@pytest.mark.asyncio(loop_scope="session")
async def test_a_violated_constraint_is_named_by_the_cause(transaction):
    await Publisher.objects.acreate(name="x", country="NL")
    with pytest.raises(IntegrityError, match="DETAIL:  Key") as caught:
        async with db.atomic():
            await Publisher.objects.acreate(name="x", country="NL")
    assert caught.value.__cause__.constraint_name == "conformance_publisher_name_key"
