"""JSON is DRF's to the byte, or refused as DRF refuses it."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.renderers import JSONRenderer as DRFJSONRenderer

from app.rest.renderers import JSONRenderer

(ODD_NAN,) = struct.unpack("<d", b"\x01\0\0\0\0\0\xf4\xff")
floats = st.floats() | st.sampled_from(
    [1e16, 1e-4, 9.5e-5, 1e-5, -1e-5, 1e-6, -0.0, math.nan, math.inf, -math.inf, ODD_NAN]
)
words = st.text(max_size=5) | st.sampled_from(["null", "nan", "1e16", "\u2028", "\u2029é", "\x7f"])
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | floats | words
values = st.recursive(scalars, lambda of: st.lists(of) | st.dictionaries(words, of), max_leaves=8)


def rendered(renderer, data):
    try:
        return renderer.render(data, "application/json", {})
    except ValueError:
        return ValueError


@given(values)
def test_json_is_drfs(data):
    assert rendered(JSONRenderer(), data) == rendered(DRFJSONRenderer(), data)


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf, ODD_NAN])
def test_what_is_no_number_in_json_is_refused_among_nulls(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        JSONRenderer().render([None, {"a": [value]}], "application/json", {})
