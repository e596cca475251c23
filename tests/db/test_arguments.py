"""Values of compiled statements are prepared as the columns prepare them."""

import datetime
import json
import uuid
from decimal import Decimal

import pytest
from django.db import models as stock
from hypothesis import given
from hypothesis import strategies as st

from app.db import codecs
from app.db.arguments import PLAIN, preparer
from app.db.connections import new_wrapper
from app.db.insertions import json_argument

FIELDS = [*PLAIN, stock.DateTimeField, stock.DateField, stock.UUIDField]
FAR = datetime.timezone(datetime.timedelta(hours=-3))
EDGES = [datetime.datetime(year, 2, 2, tzinfo=datetime.UTC) for year in (1, 2, 9998, 9999)]
moments = st.datetimes(timezones=st.sampled_from([datetime.UTC, FAR]))
numbers = st.integers() | st.sampled_from([2**15, 2**31, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1])
values = st.one_of(
    numbers,
    numbers.map(str),
    st.floats(),
    st.decimals(-(10**20), 10**20) | st.sampled_from([Decimal("NaN"), Decimal("Infinity")]),
    st.booleans(),
    st.none(),
    st.text(),
    moments,
    moments.map(str),
    st.sampled_from(EDGES) | st.sampled_from(EDGES).map(str),
    st.dates() | st.dates().map(str),
    st.sampled_from(["", "x", "٣", "1e3", " 7", "2026-W01-1", "2026-01-01T00:00Z", "7" * 5000]),
)


def outcome(make, value):
    try:
        made = make(value)
    except Exception as error:  # noqa: BLE001 - which one is compared
        return type(error)
    return type(made), repr(made)


@pytest.mark.filterwarnings("ignore:DateTimeField")  # moments without a zone
@pytest.mark.parametrize("kind", FIELDS)
@given(value=values)
def test_argument_is_the_columns(kind, value):
    field, wrapper = kind(), new_wrapper()
    field.set_attributes_from_name("column")

    def prepare(value):
        return codecs.describe(field.get_db_prep_value(value, wrapper, prepared=False))[1]

    short, long = outcome(preparer(field, wrapper), value), outcome(prepare, value)
    assert short == long


@given(values)
def test_argument_without_a_column_is_what_its_type_says(value):
    make = preparer(None, new_wrapper())
    assert outcome(make, value) == outcome(lambda one: codecs.describe(one)[1], value)


keys = st.text() | st.sampled_from(["\ud800", 1, None, 1.5])
scalars = st.text() | st.sampled_from(["\ud800", 10**20, None, 0.1, 1e-5])


@given(st.dictionaries(keys, scalars | st.lists(scalars)) | st.lists(scalars))
def test_json_is_sent_as_django_sends_it(value):
    assert json.loads(json_argument(value)) == json.loads(json.dumps(value))


@pytest.mark.parametrize("value", [datetime.UTC, datetime.date(2026, 1, 1), uuid.UUID(int=1)])
def test_what_json_has_not_is_refused_as_django_refuses_it(value):
    with pytest.raises(TypeError):
        json_argument({"a": value})
