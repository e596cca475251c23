"""From Django's %s to PostgreSQL's $n."""

import datetime as dt
import uuid
from decimal import Decimal

import pytest
from django.contrib.postgres.fields.ranges import NumericRange
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from psycopg.types.numeric import Int2, Int4, Int8

from app import db
from app.db.codecs import describe
from app.db.placeholders import bind, recast, rewrite


@pytest.mark.parametrize(
    ("sql", "params", "statement", "arguments"),
    [
        ("SELECT 1", None, "SELECT 1", []),
        ("SELECT '100%'", None, "SELECT '100%'", []),
        ("SELECT '100%%'", [], "SELECT '100%'", []),
        ("a = %s AND b = %s", ["x", None], "a = $1 AND b = $2", ["x", None]),
        ("a LIKE '%%%s'", ["x"], "a LIKE '%$1'", ["x"]),
        ("%%s", [], "%s", []),
        ("%s::jsonb", [Jsonb([1])], "$1::jsonb::jsonb", ["[1]"]),
        ("%s %s", [True, 1], "$1::bool $2::int4", [True, 1]),
        ("%s", [2**40], "$1::int8", [2**40]),
        ("%s", [2**70], "$1::numeric", [Decimal(2**70)]),
        ("%s", [Int4(5)], "$1::int4", [5]),
        ("a = %(x)s OR %(x)s = %(y)s", {"x": "1", "y": "2"}, "a = $1 OR $2 = $3", ["1", "1", "2"]),
        ("q LIMIT 50", [], "q LIMIT $1::int8", [50]),
        ("q %s LIMIT 50 OFFSET 100", ["x"], "q $1 LIMIT $2::int8 OFFSET $3::int8", ["x", 50, 100]),
        ("q LIMIT 1", [], "q LIMIT 1", []),
        ("q LIMIT 21", [], "q LIMIT 21", []),
        ("x IN (q LIMIT 5) y", [], "x IN (q LIMIT 5) y", []),
        ("%s GROUP BY %s", ["a", "a"], "$1 GROUP BY $1", ["a"]),
        ("%s GROUP BY %s, %s", [1, 1, "1"], "$1::int4 GROUP BY $1::int4, $2", [1, "1"]),
    ],
)
def test_placeholders_become_numbers(sql, params, statement, arguments):
    assert bind(sql, params) == (statement, arguments)


@pytest.mark.parametrize(("sql", "count"), [("%s", 0), ("%s", 2), ("%s %s", 1)])
def test_a_wrong_number_of_parameters_is_refused(sql, count):
    with pytest.raises(TypeError, match="placeholders"):
        rewrite(sql, ("",) * count)


def test_any_other_percent_sign_is_refused():
    with pytest.raises(ValueError, match="only %s and %%"):
        bind("a %d", [1])


def test_a_recast_touches_only_its_parameters():
    assert recast("$1 $2 $12 $1", ((1, "date"), (12, "int4"))) == (
        "$1::text::date $2 $12::text::int4 $1::text::date"
    )


@pytest.mark.parametrize(
    ("value", "cast"),
    [
        ("x", ""),
        (None, ""),
        (1.5, "float8"),
        (Int2(3), "int2"),
        (Int2(40_000), "int4"),
        (Int8(3), "int8"),
        (dt.date(2020, 1, 1), "date"),
        (dt.date(9999, 12, 31), "text::date"),
        (dt.datetime(2020, 1, 1), "timestamp"),  # noqa: DTZ001 - a naive one is meant
        (dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "timestamptz"),
        (dt.time(1), "time"),
        (dt.time(1, tzinfo=dt.UTC), "timetz"),
        (dt.timedelta(1), "interval"),
        (uuid.UUID(int=1), "uuid"),
        (b"x", "bytea"),
        ([1, 2], "int4[]"),
        ([uuid.UUID(int=1)], "uuid[]"),
        (["a"], ""),
        ([[1], [2]], "text::int2[]"),
        (NumericRange(1, 2), ""),
    ],
)
def test_a_value_has_the_cast_of_its_type(value, cast):
    assert describe(value)[0] == cast


def test_what_cannot_be_sent_is_refused_before_it_is():
    with pytest.raises(Exception, match="cannot adapt"):
        describe(object())


PIECES = st.lists(
    st.sampled_from(["%s", "%%", "'a%%b'", "''", " ", "é", '"%%"', "||", "\n", "'%%s'"]),
    max_size=12,
)


@given(pieces=PIECES)
def test_rewriting_keeps_all_but_placeholders(pieces):
    sql = "".join(pieces)
    count = pieces.count("%s")
    numbered = rewrite(sql, ("",) * count)
    assert numbered == sql % tuple(f"${n}" for n in range(1, count + 1))


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)


@pytest.mark.asyncio(loop_scope="session")
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(words=st.lists(TEXT, min_size=1, max_size=5), literal=TEXT)
async def test_a_real_server_parses_what_was_rewritten(database, words, literal):
    """Literals with percent signs and quotes stand between parameters."""
    quoted = "'" + literal.replace("'", "''").replace("%", "%%") + "'"
    if "\\" in literal or "$" in literal:
        quoted = "''"
    columns = ", ".join(f"%s || {quoted} AS c{n}" for n in range(len(words)))
    (row,) = await db.fetch(f"SELECT {columns}", *words)
    suffix = "" if quoted == "''" else literal
    assert list(row.values()) == [word + suffix for word in words]
