"""A query is read as Django reads it."""

from urllib.parse import quote_plus, unquote_plus, unquote_to_bytes

import pytest
from django.core.exceptions import TooManyFieldsSent
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from app.rest.exceptions import ValidationError
from app.rest.pagination import _escaped
from app.rest.query_strings import check_query, parsed, unescaped

PIECES = ["a", "b", "page", "=", "=", "&", "&", "+", "%20", "%2B", "%3d", "%26", "%C3%A9", "%E9",
          "%", "%zz", "é", ";", " ", "10"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_query_is_djangos(query):
    expected, found = QueryDict(query), parsed(query)
    assert (found, type(found)) == (expected, QueryDict)
    assert list(found.lists()) == list(expected.lists())
    assert found.urlencode() == expected.urlencode()
    assert vars(found) == vars(expected)
    with pytest.raises(AttributeError):
        found["a"] = "b"
    assert found.copy() == expected.copy()


ESCAPES = ["%3A", "%3a", "%2B", "%3D", "%", "%2", "3A", "2B", "+", " ", ":", "%25", "%C3", "%c3",
           "%A9", "é", "%g", "%F"]  # fmt: skip


@given(st.lists(st.sampled_from(ESCAPES)).map("".join))
def test_escapes_are_read_as_python_reads_them(text):
    assert unescaped(text) == unquote_plus(text)
    assert _escaped(text) == quote_plus(text)


@given(st.lists(st.sampled_from(ESCAPES)).map("".join))
def test_bytes_that_are_no_text_are_refused(text):
    try:
        unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        with pytest.raises(ValidationError, match="UTF-8"):
            check_query(f"a={text}")
    else:
        check_query(f"a={text}")


def test_query_of_another_charset_or_of_too_many_parameters_is_djangos(settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 2
    assert parsed("a=1&b=2") == QueryDict("a=1&b=2")
    with pytest.raises(TooManyFieldsSent):
        parsed("a=1&b=2&c=3")
    settings.DEFAULT_CHARSET = "latin-1"
    assert parsed("a=%E9")["a"] == QueryDict("a=%E9")["a"] == "é"
