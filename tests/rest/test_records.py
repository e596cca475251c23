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
    as_sent = [list(row) for row in rows]
    for row in as_sent:
        for place in record.texts:
            row[place] = None if row[place] is None else json.dumps(row[place])
    with timezone.override(zone):
        try:
            expected = [typed(WholeSerializer(instance).data) for instance in objects]
        except (OverflowError, AttributeError) as error:  # a year beyond all, None as a text
            with pytest.raises(type(error)):
                record.represent(rows)
            return
        assert [typed(row) for row in record.represent(rows)] == expected
        assert [typed(record.represent_one(row)) for row in rows] == expected
        found = record.represent(as_sent, record.texts, load_json_column)
    assert [typed(row) for row in found] == expected
    assert [list(row) for row in found] == [list(WholeSerializer.Meta.fields)] * len(objects)


@pytest.mark.timeout(30)  # as above
@settings(max_examples=150, deadline=None)
@given(
    objects_with(in_utc, texts) | objects_with(moments, mixed),
    st.sampled_from(["UTC", "UTC", "Asia/Kolkata"]),
    st.booleans(),
)
def test_rows_left_to_orjson_are_written_as_drf_does(objects, zone, is_longer):
    record = record_of(WholeSerializer)
    rows = rows_of(objects, record.paths, *([3] if is_longer else []))
    with timezone.override(zone):
        try:
            written = record.written(rows)
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
        ("last_seen_at", INFINITY),
        ("last_seen_at", START.astimezone(FAR)),
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


def test_rows_are_not_left_to_orjson_in_another_time_zone():
    record = record_of(WholeSerializer)
    rows = rows_of([usual_object()], record.paths)
    assert record.written(rows) is not None
    with timezone.override("Asia/Kolkata"):
        assert record.written(rows) is None
        assert record_of(FormattedSerializer).written([(1, START)]) == [
            {"id": 1, "started_at": "01.01.2026 05:30"}
        ]


def test_column_that_two_fields_show_is_selected_once():
    paths = record_of(WholeSerializer).paths
    assert paths[:3] == ("id", "host_id", "host__name")
    assert len(set(paths)) == len(paths)
