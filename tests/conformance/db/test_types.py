"""Every field with values at its edges, written by one side and read by the other, both ways."""

import datetime as dt
import math
import uuid
import zoneinfo
from decimal import Decimal

import pytest
import pytest_asyncio
from django.db import DataError, connection, transaction
from django.db import models as stock
from django.db.backends.postgresql.psycopg_any import (
    DateRange,
    DateTimeTZRange,
    NumericRange,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import db
from app.db.codecs import timestamp_decoder
from tests.conformance.db.conftest import in_thread
from tests.conformance.db.models import Specimen
from tests.conformance.db.shapes import shape

pytestmark = pytest.mark.asyncio(loop_scope="session")


def zone(hours, minutes):
    return dt.timezone(dt.timedelta(hours=hours, minutes=minutes))


VALUES = {
    "big_integer": [-(2**63), 2**63 - 1, 0],
    "binary": [b"", b"\x00\xff" * 300, memoryview(b"abc"), bytearray(b"\x00")],
    "boolean": [True, False],
    "char": ["", "é𝄞\u200b", "%s $1 %% '\"\\", "a" * 200, "null"],
    "date": [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2024, 2, 29)],
    "datetime": [
        dt.datetime(1, 1, 1, tzinfo=dt.UTC),
        dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC),
        dt.datetime(2024, 3, 31, 2, 30, 0, 1, tzinfo=zone(5, 45)),
        dt.datetime(2024, 3, 31, 2, 30, tzinfo=zone(-9, -30)),
        dt.datetime(2024, 3, 31, 2, 30, tzinfo=dt.timezone(dt.timedelta(seconds=3601))),
        dt.datetime(2024, 3, 31, 2, 30, tzinfo=zone(15, 59)),
        dt.datetime(1883, 11, 18, 12, 3, 58, tzinfo=dt.UTC),
    ],
    "decimal": [
        Decimal(0), Decimal("-0.00000000000000000001"), Decimal("1e900"), Decimal("9" * 900),
        Decimal("123.45600"), Decimal("-1E+3"),
    ],
    "duration": [
        dt.timedelta(0), dt.timedelta(days=-1, microseconds=1), dt.timedelta(days=999999),
        dt.timedelta(hours=30), dt.timedelta(days=400, seconds=5), dt.timedelta(microseconds=-1),
    ],
    "email": ["a@b.example"],
    "file": ["a/b.txt"],
    "file_path": ["/x"],
    "float": [0.0, 1e308, 5e-324, math.inf, -math.inf, math.nan, 0.1 + 0.2],
    "integer": [-(2**31), 2**31 - 1],
    "ip": ["0.0.0.0", "255.255.255.255", "::1", "2001:db8::ff00:42:8329", "::ffff:10.0.0.1"],
    "json": [
        {}, [], "", 0, False, 1.5, "text", {"a": {"b": [None, True, {"c": "é𝄞"}]}},
        [[[[]]]], {"": {"": ""}}, {"n": 10**30, "f": 1e-7}, {"quote\"'": "%s $1 \\u0041"},
    ],
    "positive_big": [0, 2**63 - 1],
    "positive": [0, 2**31 - 1],
    "positive_small": [0, 32767],
    "slug": ["a-b_c"],
    "small": [-32768, 32767],
    "text": ["", "x" * 100_000, "line\nline\r\n\ttab", "\x01\x7f"],
    "time": [dt.time(0), dt.time(23, 59, 59, 999999)],
    "url": ["https://example.org/?q=%20"],
    "uuid": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)],
    "integers": [[], [1, None, -5], [2**31 - 1]],
    "texts": [[], ["", "a,b", '"{}\\', "NULL", "%s"]],
    "matrix": [[], [[1, 2], [3, 4]], [[2**62]]],
    "uuids": [[], [uuid.UUID(int=1), uuid.UUID(int=2)]],
    "jsons": [[], [{"a": 1}, [1], "x", {"q": '"'}]],
    "datetimes": [[], [dt.datetime(2020, 1, 1, 5, tzinfo=zone(1, 0))]],
    "decimals": [[], [Decimal("1.5000"), Decimal(-3)]],
    "integer_range": [
        NumericRange(1, 5), NumericRange(None, 3), NumericRange(2, None), NumericRange(1, 4, "[]"),
        NumericRange(empty=True), NumericRange(1, 1), NumericRange(None, None), (3, 9),
    ],
    "big_range": [NumericRange(-(2**60), 2**60)],
    "decimal_range": [NumericRange(Decimal("0.10"), Decimal("0.2"), "(]")],
    "date_range": [DateRange(dt.date(2020, 1, 1), dt.date(2020, 2, 1)), DateRange(None, None)],
    "datetime_range": [
        DateTimeTZRange(
            dt.datetime(2020, 1, 1, tzinfo=zone(3, 30)), dt.datetime(2021, 1, 1, tzinfo=dt.UTC)
        ),
        DateTimeTZRange(dt.datetime(2020, 1, 1, tzinfo=dt.UTC), None, "()"),
    ],
}  # fmt: skip

CASES = [(name, value) for name, values in VALUES.items() for value in [*values, None]]


def stock_write(name, value):
    stock.QuerySet(Specimen).create(auto=1, **{name: value})


def stock_read(name):
    found = stock.QuerySet(Specimen).values_list(name, flat=True).get(auto=1)
    return shape(getattr(stock.QuerySet(Specimen).get(auto=1), name)), shape(found)


async def our_read(name):
    found = await Specimen.objects.values_list(name, flat=True).aget(auto=1)
    return shape(getattr(await Specimen.objects.aget(auto=1), name)), shape(found)


def clear():
    stock.QuerySet(Specimen).all().delete()


@pytest.fixture
def unblocked(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        yield
        clear()
        connection.close()


@pytest.mark.parametrize(("name", "value"), CASES, ids=lambda value: str(value)[:30])
async def test_each_side_reads_what_the_other_wrote(name, value, database, unblocked):
    await in_thread(stock_write, name, value)
    written_by_django = await our_read(name)
    assert written_by_django == await in_thread(stock_read, name)
    await Specimen.objects.all().adelete()
    await Specimen.objects.acreate(auto=1, **{name: value})
    assert await our_read(name) == written_by_django
    assert await in_thread(stock_read, name) == written_by_django


@pytest.mark.parametrize(("name", "value"), [case for case in CASES if case[1] is not None],
                         ids=lambda value: str(value)[:30])  # fmt: skip
async def test_what_was_written_is_found_by_its_value(name, value, database, unblocked):
    if name in {"json", "jsons"} or (isinstance(value, float) and math.isnan(value)):
        pytest.skip("not compared by `=` alike")
    await Specimen.objects.acreate(auto=1, **{name: value})
    ours = await Specimen.objects.filter(**{name: value}).acount()
    theirs = await in_thread(lambda: stock.QuerySet(Specimen).filter(**{name: value}).count())
    assert ours == theirs == 1


@pytest.mark.parametrize(
    "value", [{"a": "\x00"}, ["\x00"], "a\x00", {"a": [{"b": {"c\x00": 1}}]}, {"": [[["\x00"]]]}]
)
async def test_json_refuses_a_null_character_however_deep(value, database, unblocked):
    with pytest.raises(DataError):
        await Specimen.objects.acreate(json=value)
    with pytest.raises(DataError):
        await in_thread(stock_write, "json", value)
    assert await Specimen.objects.acount() == 0


async def test_text_refuses_a_null_character(transaction):
    with pytest.raises(DataError):
        await Specimen.objects.acreate(text="a\x00b")


DIGITS = [Decimal("7" * 5000 + "." + "3" * 5000), Decimal("-" + "9" * 10_000), Decimal("1E-9999")]


@pytest_asyncio.fixture(loop_scope="session")
async def digits(database, unblocked):
    """A table for numbers of any length, which a DecimalField has none for."""
    await db.execute("CREATE TABLE conformance_digits (n numeric)")
    yield
    await db.execute("DROP TABLE conformance_digits")


def stock_sql(sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else None


@pytest.mark.parametrize("number", DIGITS, ids=["both sides", "whole", "small"])
async def test_ten_thousand_digits_survive_both_ways(number, digits):
    write, read = "INSERT INTO conformance_digits VALUES (%s)", "SELECT n FROM conformance_digits"
    await db.execute(write, number)
    ((theirs,),) = await in_thread(stock_sql, read)
    await db.execute("DELETE FROM conformance_digits")
    await in_thread(stock_sql, write, number)
    (row,) = await db.fetch(read)
    assert shape(row["n"]) == shape(theirs) == shape(number.__class__(f"{number:f}"))


FARTHEST = dt.datetime.combine(dt.date.max, dt.time.max)
NEAREST = dt.datetime.combine(dt.date.min, dt.time.min)
FAR = [
    ("date", "infinity", dt.date.max),
    ("date", "-infinity", dt.date.min),
    ("datetime", "infinity", FARTHEST),
    ("datetime", "-infinity", NEAREST),
]


@pytest.mark.parametrize(("name", "text", "value"), FAR)
async def test_infinity_is_read_as_the_farthest_there_is(name, text, value, database, unblocked):
    """psycopg refuses it. Without a time zone, which tells it from a real one."""
    await Specimen.objects.acreate(auto=1)
    await db.execute(f"UPDATE conformance_specimen SET {name} = '{text}'")
    with pytest.raises(DataError):
        await in_thread(stock_read, name)
    assert shape(getattr(await Specimen.objects.aget(auto=1), name)) == shape(value)


@pytest.mark.parametrize("text", ["infinity", "-infinity"])
async def test_infinity_is_the_same_in_every_time_zone(text):
    sent = (2**63 - 1,) if text == "infinity" else (-(2**63),)
    farthest = FARTHEST if text == "infinity" else NEAREST
    for aware in (True, False):
        assert timestamp_decoder(zoneinfo.ZoneInfo("Asia/Tokyo"), aware)(sent) == farthest


async def test_farthest_date_is_written_as_itself(transaction):
    """And not as infinity, which is what asyncpg would make of it."""
    await Specimen.objects.acreate(auto=1, date=dt.date.max)
    sql = "SELECT isfinite(date) AS is_finite, date::text AS text FROM conformance_specimen"
    assert await db.fetch(sql) == [{"is_finite": True, "text": "9999-12-31"}]


SCALARS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40),
    st.binary(max_size=40),
    st.uuids(),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.just(dt.UTC)),
    st.timedeltas(dt.timedelta(days=-900000), dt.timedelta(days=900000)),
    st.ip_addresses(),
    st.lists(st.integers(-(2**40), 2**40), max_size=5),
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))),
    st.none(),
)


def psycopg_echo(values):
    marks = ", ".join(["%s"] * len(values))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SELECT {marks}", values)
        return shape(list(cursor.fetchone()))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=st.lists(SCALARS, min_size=1, max_size=6))
async def test_any_value_comes_back_as_from_psycopg(database, unblocked, values):
    """But floats and decimals: psycopg writes them as bare literals, which lose their type."""
    names = [f"%s AS c{n}" for n in range(len(values))]
    (row,) = await db.fetch("SELECT " + ", ".join(names), *values)
    assert shape(list(row.values())) == await in_thread(psycopg_echo, values)
