"""What a column's kind leaves to orjson, it writes as DRF's encoder writes what the field makes."""

import datetime
import decimal
import uuid

import pytest
from django.db.models import JSONField
from django.db.models import fields as columns
from rest_framework import fields as drf
from rest_framework.renderers import JSONRenderer as DRFJSONRenderer

from app.rest import compilation
from app.rest.renderers import write_page
from app.rest.written_columns import AS_IT_IS, Kind, kind_of

DAY = datetime.date(987, 6, 5)
MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.UTC)


class Own(JSONField):
    def from_db_value(self, value, expression, connection):
        return {"at": MOMENT}


CASES = [
    (columns.CharField(), drf.CharField(), "é\u2028\x7f", Kind.PLAIN),
    (columns.IntegerField(), drf.IntegerField(), -(2**63), Kind.PLAIN),
    (columns.BooleanField(), drf.BooleanField(), False, Kind.PLAIN),
    (columns.FloatField(), drf.FloatField(), 0.1, Kind.FLOAT),
    (columns.UUIDField(), drf.UUIDField(), uuid.UUID(int=7), Kind.PLAIN),
    (columns.UUIDField(), drf.UUIDField(format="hex"), uuid.UUID(int=7), Kind.CONVERTED),
    (columns.CharField(), drf.UUIDField(), "text", Kind.CONVERTED),
    (columns.IntegerField(), drf.CharField(), 12, Kind.CONVERTED),
    (columns.CharField(), drf.IntegerField(), "12", Kind.CONVERTED),
    (columns.DateTimeField(), drf.DateTimeField(), MOMENT, Kind.CONVERTED),
    (columns.DateTimeField(), drf.DateTimeField(format="%d.%m.%y"), MOMENT, Kind.CONVERTED),
    (columns.DateField(), drf.DateField(), DAY, Kind.CONVERTED),
    (columns.TimeField(), drf.TimeField(), datetime.time(1, 2, 3, 4), Kind.CONVERTED),
    (columns.DurationField(), drf.DurationField(), datetime.timedelta(1, 2, 3), Kind.CONVERTED),
    (
        columns.DecimalField(max_digits=9, decimal_places=4),
        drf.DecimalField(max_digits=9, decimal_places=4),
        decimal.Decimal("1.5"),
        Kind.CONVERTED,
    ),
    (columns.CharField(), drf.ChoiceField(["a", ("b", "B")]), "b", Kind.PLAIN),
    (columns.CharField(), drf.ChoiceField(["a"]), "gone", Kind.PLAIN),
    (columns.CharField(), drf.ChoiceField([("g", [("a", "A")])]), "", Kind.PLAIN),
    (columns.IntegerField(), drf.ChoiceField([1, 2]), 2, Kind.PLAIN),
    (columns.CharField(), drf.ChoiceField([1, "a"]), "1", Kind.UNKNOWN),
    (columns.IntegerField(), drf.ChoiceField(["1"]), 1, Kind.UNKNOWN),
    (columns.FloatField(), drf.ChoiceField([1.0]), 1.0, Kind.UNKNOWN),
    (columns.IntegerField(), drf.FloatField(), 1, Kind.UNKNOWN),
    (columns.DateTimeField(), drf.ReadOnlyField(), MOMENT, Kind.UNKNOWN),
    (columns.DateTimeField(), drf.DateTimeField(format=None), MOMENT, Kind.UNKNOWN),
    (JSONField(), drf.JSONField(), {"a": [1.5]}, Kind.ANY_JSON),
    (JSONField(), drf.DictField(child=drf.CharField()), {"a": "b"}, Kind.TEXTS),
    (JSONField(), drf.DictField(child=drf.FloatField()), {"a": 1}, Kind.ANY_JSON),
    (Own(), drf.JSONField(), {}, Kind.UNKNOWN),
    (JSONField(decoder=dict), drf.JSONField(), {}, Kind.UNKNOWN),
]


@pytest.mark.parametrize(("column", "field", "value", "kind"), CASES)
def test_kind_leaves_to_orjson_what_it_writes_as_drf_does(column, field, value, kind):
    convert = compilation.converter(field)
    is_plain = isinstance(column, {str: columns.CharField, int: columns.IntegerField,
                                   float: columns.FloatField}.get(convert, ()))  # fmt: skip
    if is_plain or convert is compilation.convert_boolean:
        convert = None  # as `records` has it of such a column
    assert kind_of(convert, column) is kind
    if kind is Kind.UNKNOWN:
        return
    field.bind("field", drf.Field())
    shown = value if kind in AS_IT_IS or convert is None else convert(value)
    expected = DRFJSONRenderer().render({"": field.to_representation(value)})
    assert write_page({"": shown}) == expected
