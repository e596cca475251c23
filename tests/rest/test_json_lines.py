"""NDJSON at a stretch reads what reading it line by line does."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.rest import json_lines
from app.rest.parsers import Lines, parse_line

PARTS = st.sampled_from(
    [
        *('{"a":1}', '{"a":1,"a":2}', '{"a":{"b":[]}}', '{"a":1},{"b":2}', "1", "1,2", "NaN", "[]"),
        *("", " ", "\r", "\ufeff", '{"x":[{"y":1}', '{"z":1}]}', '"a', ' {"a" :1}\r', "\n", "\n\n"),
        *("\x0b", "\x85", '{"a":"\\u2028\u2028"}', "{", "}"),
    ]
)


def by_line(body):
    lines = enumerate(body.split(b"\n"), 1)
    return [(number, parse_line(line)) for number, line in lines if line.strip()]


def shown(pairs):
    return [(number, repr(value)) for number, value in pairs]


@given(st.lists(PARTS, max_size=8), st.sampled_from([1, 2, 500]))
@example(['{"a":1},{"b":2}', "\n", '{"x":[{"y":1}', "\n", '{"z":1}]}'], 500)
@example(['{"a":1', "\n", ',"b":2}'], 500)
def test_any_text_is_read_as_line_by_line(parts, size):
    body = "".join(parts).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lines, "LINES_A_STRETCH", size)
        assert shown(Lines(body)) == shown(by_line(body))


def test_text_of_no_encoding_is_told_of_its_line_alone():
    body = b'{"a":1}\n\xff\n{"b":2}'
    (_, first), (number, error), (_, last) = Lines(body)
    assert (first, number, last) == ({"a": 1}, 2, {"b": 2})
    assert "JSON parse error" in str(error)
    assert shown(Lines(body)) == shown(by_line(body))


def test_lines_are_read_anew_each_time_they_are_gone_through():
    lines = Lines(b'{"a":1}\n' * 1200)
    assert len(list(lines)) == len(list(lines)) == 1200
