"""RFC 9110's conditional requests, on headers and validators alone; Django's are the oracle."""

from datetime import UTC, datetime

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.cache import get_conditional_response
from django.utils.http import http_date
from hypothesis import given
from hypothesis import strategies as st

from app.rest.exceptions import ValidationError
from app.rest.preconditions import (
    ANY,
    EntityTag,
    Outcome,
    Preconditions,
    Validators,
    parse_tags,
    preconditions_of,
)

STRONG, WEAK, OTHER = EntityTag("a"), EntityTag("a", is_weak=True), EntityTag("b")
CHANGED_AT = datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)
SECOND = int(CHANGED_AT.timestamp())


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ("*", ANY),
        (" * ", ANY),
        ('"a"', (STRONG,)),
        ('W/"a"', (WEAK,)),
        (' "a" ,W/"a", "b"', (STRONG, WEAK, OTHER)),
        ('"a",,\t,"b",', (STRONG, OTHER)),
        ('"a,b"', (EntityTag("a,b"),)),
        ('""', (EntityTag(""),)),
        ('"\xe9"', (EntityTag("\xe9"),)),
    ],
)
def test_list_of_tags_is_read(value, tags):
    assert parse_tags(value, "If-Match") == tags


@pytest.mark.parametrize(
    "value", ["", " ", ",", "a", '"a', 'a"', "'a'", '"a" "b"', 'w/"a"', '"a b"', '*, "a"', '"\x00"']
)
def test_list_that_cannot_be_read_is_refused_by_its_header(value):
    with pytest.raises(ValidationError) as refused:
        parse_tags(value, "If-None-Match")
    assert list(refused.value.detail) == ["If-None-Match"]


def test_long_list_is_read_in_one_pass():
    assert len(parse_tags('"a",' * 100_000, "If-Match")) == 100_000


def test_request_without_conditions_has_none():
    assert preconditions_of({"HTTP_ACCEPT": "*/*"}) is None


P, N, F = Outcome.PROCEED, Outcome.NOT_MODIFIED, Outcome.FAILED


@pytest.mark.parametrize(
    ("conditions", "own", "on_get", "on_put"),
    [
        ({"if_match": (STRONG,)}, STRONG, P, P),
        ({"if_match": (OTHER, STRONG)}, STRONG, P, P),
        ({"if_match": (OTHER,)}, STRONG, F, F),
        ({"if_match": (WEAK,)}, STRONG, F, F),
        ({"if_match": (WEAK,)}, WEAK, F, F),
        ({"if_match": ANY}, STRONG, P, P),
        ({"if_none_match": (STRONG,)}, STRONG, N, F),
        ({"if_none_match": (WEAK,)}, STRONG, N, F),
        ({"if_none_match": (STRONG,)}, WEAK, N, F),
        ({"if_none_match": (OTHER,)}, STRONG, P, P),
        ({"if_none_match": ANY}, STRONG, N, F),
        ({"if_modified_since": SECOND}, STRONG, N, P),
        ({"if_modified_since": SECOND - 1}, STRONG, P, P),
        ({"if_unmodified_since": SECOND}, STRONG, P, P),
        ({"if_unmodified_since": SECOND - 1}, STRONG, F, F),
        # Which comes first, and which is not asked at all.
        ({"if_match": (STRONG,), "if_unmodified_since": SECOND - 1}, STRONG, P, P),
        ({"if_none_match": (OTHER,), "if_modified_since": SECOND}, STRONG, P, P),
        ({"if_match": (STRONG,), "if_none_match": (STRONG,)}, STRONG, N, F),
        ({"if_match": (OTHER,), "if_none_match": (STRONG,)}, STRONG, F, F),
    ],
)
def test_conditions_are_evaluated_in_the_order_of_the_rfc(conditions, own, on_get, on_put):
    current = Validators(own, CHANGED_AT)
    asked = Preconditions(**conditions)
    assert [asked.evaluate(method, current) for method in ("GET", "HEAD", "PUT", "DELETE")] == [
        on_get, on_get, on_put, on_put,
    ]  # fmt: skip


def test_dates_are_passed_over_where_no_date_is_known():
    asked = Preconditions(if_modified_since=SECOND, if_unmodified_since=0)
    assert asked.evaluate("GET", Validators(STRONG)) is Outcome.PROCEED


tags = st.sampled_from(['"a"', 'W/"a"', '"b"', "*", '"a", W/"b"'])
dates = st.sampled_from([http_date(SECOND + more) for more in (-1, 0, 1)] + ["nonsense"])


@given(
    st.sampled_from(["GET", "HEAD", "PUT", "POST"]),
    st.fixed_dictionaries(
        {},
        optional={
            "HTTP_IF_MATCH": tags,
            "HTTP_IF_NONE_MATCH": tags,
            "HTTP_IF_MODIFIED_SINCE": dates,
            "HTTP_IF_UNMODIFIED_SINCE": dates,
        },
    ),
    st.sampled_from([STRONG, WEAK]),
)
def test_outcome_is_the_one_of_django(method, headers, own):
    request = RequestFactory().generic(method, "/", **headers)
    answer = get_conditional_response(request, str(own), SECOND, HttpResponse())
    asked = preconditions_of(request.META) or Preconditions()
    assert asked.evaluate(method, Validators(own, CHANGED_AT)).value == answer.status_code
