"""Rows are written out as DRF writes the objects that they stand for, one by one and together."""

import datetime
import json
import math
from operator import attrgetter

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.renderers import JSONRenderer as DRFJSONRenderer

from app.db.codecs import load_json_column
from app.fleet.models import Container, Host
from app.rest import serializers
from app.rest.column_converters import OddMomentError, python_text, read_moments
from app.rest.records import record_of
from app.rest.renderers import write_page

UTC = datetime.UTC
INFINITY = datetime.datetime.max  # noqa: DTZ901 - as asyncpg reads it
START = datetime.datetime(2026, 1, 1, tzinfo=UTC)
FAR = datetime.timezone(datetime.timedelta(hours=5, minutes=30))


class TextsSerializer(serializers.ModelSerializer):
    labels = serializers.DictField(child=serializers.CharField())

    class Meta:
        model = Host
        fields = ["id", "name", "cpus", "memory_bytes", "labels", "created_at", "last_seen_at"]


class WholeSerializer(serializers.ModelSerializer):
    host = TextsSerializer(read_only=True)
    host_id = serializers.PrimaryKeyRelatedField(source="host", read_only=True)
    on = serializers.DateTimeField(source="started_at", format="%d.%m.%Y")

    class Meta:
        model = Container
        fields = [
            "id",
            "host",
            "host_id",
            "labels",
            "started_at",
            "on",
            "last_seen_at",
            "exit_code",
        ]


class FormattedSerializer(serializers.ModelSerializer):
    started_at = serializers.DateTimeField(format="%d.%m.%Y %H:%M")

    class Meta:
        model = Container
        fields = ["id", "started_at"]


YEARS = {"min_value": datetime.datetime(1, 1, 3), "max_value": datetime.datetime(9999, 12, 29)}  # noqa: DTZ001
in_utc = st.datetimes(**YEARS, timezones=st.just(UTC)) | st.sampled_from(
    [datetime.datetime(1, 1, 3, tzinfo=UTC), datetime.datetime(999, 12, 31, 23, 59, 59, 1, UTC)]
)
moments = in_utc | st.datetimes(**YEARS, timezones=st.sampled_from([UTC, FAR]))
numbers = st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.dictionaries(st.text(), st.text(), max_size=3)
mixed = st.dictionaries(st.text(), st.text() | st.none() | numbers, max_size=3)
anything = st.none() | numbers | st.text() | st.lists(numbers, max_size=3) | mixed


def objects_with(times, labels):
    return st.lists(
        st.builds(
            Container,
            id=st.integers(1, 9),
            host=st.builds(
                Host, id=st.integers(1), name=st.text(), cpus=st.floats(allow_nan=False),
                memory_bytes=st.integers(), labels=labels, created_at=times,
                last_seen_at=st.none() | times,
            ),
            labels=st.none() | anything,
            started_at=st.none() | times,
            last_seen_at=times,
            exit_code=st.none() | st.integers(),
        ),
        max_size=5,
    )  # fmt: skip


def typed(value):
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    return (type(value), repr(value))


def as_postgresql_writes(moment):
    """By default, with a session in UTC."""
    if moment is None:
        return None
    whole, point, fraction = str(moment.astimezone(UTC).replace(tzinfo=None)).partition(".")
    return f"{whole}{point}{fraction.rstrip('0')}+00"


def as_sent(record, rows):
    """The rows with JSON and moments as the texts that the server sends."""
    sent = [list(row) for row in rows]
    for row in sent:
        for place in record.texts:
            row[place] = None if row[place] is None else json.dumps(row[place])
        for place in record.moments:
            row[place] = as_postgresql_writes(row[place])
    return sent


def rows_of(objects, paths, *more):
    get = [attrgetter(path.replace("__", ".")) for path in paths]
    return [[one(instance) for one in get] + [*more] for instance in objects]


@pytest.mark.timeout(30)  # hundreds of lists of objects
@settings(max_examples=150, deadline=None)
@given(
    objects_with(in_utc, texts) | objects_with(moments, mixed),
    st.sampled_from(["UTC", "UTC", "Asia/Kolkata"]),
    st.booleans(),
)
def test_rows_are_written_out_as_drf_does(objects, zone, is_longer):
    record = record_of(WholeSerializer)
    rows = rows_of(objects, record.paths, *([3] if is_longer else []))
    texts = record.texts | record.moments
    sent = as_sent(record, rows)
    with timezone.override(zone):
        try:
            expected = [typed(WholeSerializer(instance).data) for instance in objects]
        except (OverflowError, AttributeError) as error:  # a year beyond all, None as a text
            with pytest.raises(type(error)):
                record.represent(rows)
            return
        assert [typed(row) for row in record.represent(rows)] == expected
        assert [typed(record.represent_one(row)) for row in rows] == expected
        found = record.represent(sent, texts, load_json_column)
    assert [typed(row) for row in found] == expected
    assert [list(row) for row in found] == [list(WholeSerializer.Meta.fields)] * len(objects)


@pytest.mark.timeout(30)  # as above
@settings(max_examples=150, deadline=None)
@given(
    objects_with(in_utc, texts) | objects_with(moments, mixed),
    st.sampled_from(["UTC", "UTC", "Asia/Kolkata"]),
    st.booleans(),
    st.booleans(),
)
def test_rows_left_to_orjson_are_written_as_drf_does(objects, zone, is_longer, are_sent):
    record = record_of(WholeSerializer)
    rows = rows_of(objects, record.paths, *([3] if is_longer else []))
    if are_sent:
        sent = as_sent(record, rows), record.texts | record.moments, load_json_column
    else:
        sent = (rows,)
    with timezone.override(zone):
        try:
            written = record.written(*sent)
            body = None if written is None else write_page({"results": written})
        except (TypeError, ValueError, AttributeError, OverflowError):
            return  # then they are represented
        if body is None:
            return
        data = [WholeSerializer(instance).data for instance in objects]
    assert body == DRFJSONRenderer().render({"results": data})


def usual_object(**values):
    host = Host(
        id=1, name="\u2028é", cpus=0.5, memory_bytes=2**62, labels={"a": "b"},
        created_at=datetime.datetime(999, 1, 1, tzinfo=UTC),
        last_seen_at=datetime.datetime(2026, 1, 2, 3, 4, 5, 60, UTC),
    )  # fmt: skip
    usual = {"id": 1, "host": host, "labels": {}, "last_seen_at": host.last_seen_at, **values}
    return Container(**usual)


@pytest.mark.parametrize("cpus", [0.5, 0.0, -0.0, -2.5, 0.0001, 9999999999999998.0])
def test_usual_rows_are_left_to_orjson(cpus):
    record = record_of(WholeSerializer)
    for values in ({}, {"started_at": START, "exit_code": 3, "labels": {"a": [None, 1.5, True]}}):
        one = usual_object(**values)
        one.host.cpus = cpus
        rows = record.written(rows_of([one, one], record.paths))
        body = write_page({"results": rows})
        data = [WholeSerializer(one).data] * 2
        assert body == DRFJSONRenderer().render({"results": data})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host__cpus", 1e-05),
        ("host__cpus", 1e16),
        ("host__cpus", -1e300),
        ("host__cpus", math.inf),
        ("host__cpus", math.nan),
        ("labels", [1e-05]),
        ("labels", [math.inf]),
        ("labels", [2**64]),
    ],
)
def test_row_with_an_odd_value_is_not_left_to_orjson(name, value):
    record = record_of(WholeSerializer)
    rows = rows_of([usual_object()], record.paths)
    rows[0][record.paths.index(name)] = value
    try:
        written = record.written(rows)
    except (TypeError, ValueError):
        return
    assert written is None


@pytest.mark.parametrize("moment", [START, START.astimezone(FAR), INFINITY])
def test_moments_are_written_in_any_time_zone(moment):
    record = record_of(WholeSerializer)
    one = usual_object(last_seen_at=moment)
    for zone in ("UTC", "Asia/Kolkata"):
        with timezone.override(zone):
            written = record.written(rows_of([one], record.paths))
            assert written == [WholeSerializer(one).data]


def test_moments_that_are_looked_at_otherwise_come_as_moments():
    record = record_of(WholeSerializer)
    names = {record.paths[place] for place in record.moments}
    assert names == {"host__created_at", "host__last_seen_at", "last_seen_at"}  # no `started_at`


@pytest.mark.parametrize("text", [
    "infinity", "-infinity", "10000-01-01 00:00:00+00", "10000-01-01 00:00:00.12345+00",
    "0044-03-15 00:00:00+00 BC", "0044-03-15 00:00:00.123+00 BC", "0044-03-15 00:00:00.5+00 BC",
    "2026-01-01 05:30:00+05:30", "2026-01-01 01:00:00+01", "2026-01-01 00:00:00", "2026-01-01",
    "2026-01-01 00:00:00.123456", "01.01.2026 00:00:00 UTC", "Thu Jan 01 00:00:00 2026 UTC", "",
    "2026-01-01 00:00:00+00,2026-01-01 00:00:00+00", "2026-01-01 00:00:00.000000,00",
])  # fmt: skip
def test_texts_that_are_no_usual_moments_are_refused(text):
    usual = ["2026-01-01 00:00:00+00", "2026-01-01 00:00:00.00001+00"]
    for column in ([text], [text, usual[0]], [*usual, text], [None, text]):
        with pytest.raises(OddMomentError):
            read_moments(column)
    if "," not in text:
        with pytest.raises(OddMomentError):
            python_text(text)


@given(in_utc)
def test_moments_that_postgresql_wrote_are_those_of_python(moment):
    text = as_postgresql_writes(moment)
    assert python_text(text) == str(moment)
    assert read_moments([text, None]) == [moment, None]
    assert str(read_moments([text])[0]) == str(moment)


def test_column_that_two_fields_show_is_selected_once():
    paths = record_of(WholeSerializer).paths
    assert paths[:3] == ("id", "host_id", "host__name")
    assert len(set(paths)) == len(paths)
