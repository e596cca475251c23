"""Headers that were read once: what is kept is bounded, and nobody's request changes another's."""

from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest as DjangosRequest
from hypothesis import given
from hypothesis import strategies as st

from app.rest import heads
from app.rest.asgi_requests import ASGIRequest
from app.rest.bodies import Body
from app.rest.heads import Head, head_of

PLAIN = [(b"host", b"testserver"), (b"accept", b"*/*")]


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "_heads", {})


def request_of(headers: list[tuple[bytes, bytes]]) -> ASGIRequest:
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    return ASGIRequest(scope, Body(scope, None, None))  # type: ignore[arg-type]


def test_same_headers_are_read_once() -> None:
    assert head_of(list(PLAIN)) is head_of(list(PLAIN))
    assert head_of(PLAIN) is not head_of(PLAIN[::-1])


def test_what_a_request_does_to_its_headers_stays_with_it() -> None:
    first = request_of(PLAIN)
    first.META["HTTP_ACCEPT"] = "text/html"
    first.META["HTTP_X_NEW"] = "1"
    first.content_params["charset"] = "latin1"
    second = request_of(PLAIN)
    assert second.META["HTTP_ACCEPT"] == "*/*"
    assert "HTTP_X_NEW" not in second.META
    assert second.content_params == {}


@pytest.mark.parametrize(
    "headers",
    [
        [*PLAIN, (b"content-length", b"2"), (b"content-length", b"3")],
        [*PLAIN, (b"content-length", b"2"), (b"transfer-encoding", b"chunked")],
        [*PLAIN, (b"transfer-encoding", b"chunked")],
        [*PLAIN, (b"x", b"a" * heads.LONGEST)],
    ],
)
def test_heads_of_bodies_and_large_ones_are_not_kept(headers: Any) -> None:
    assert head_of(headers) is not head_of(headers)
    assert not heads._heads


@given(st.lists(st.sampled_from([b"0", b"2", b"007", b"-1", b"", b"x", b"9" * 30])))
def test_lengths_are_read_for_each(lengths: list[bytes]) -> None:
    typed = [*PLAIN, (b"content-type", b"text/csv; charset=latin1")]
    for length in lengths:
        given = [*typed, (b"content-length", length)]
        known, anew = head_of(given), Head(given)
        for name in Head.__slots__:
            assert getattr(known, name) == getattr(anew, name), (name, length)
    assert head_of(typed).length == 0
    assert "CONTENT_LENGTH" not in head_of(typed).meta


def test_heads_of_bodies_are_kept_without_their_length() -> None:
    for number in range(10):
        head_of([*PLAIN, (b"content-length", b"%d" % number)])
    assert list(heads._heads) == [tuple(PLAIN)]


def test_kept_heads_are_bounded_and_the_oldest_goes_first() -> None:
    first = head_of([(b"x", b"first")])
    for number in range(heads.MOST_HEADS - 1):
        head_of([(b"x", b"%d" % number)])
    assert head_of([(b"x", b"first")]) is first
    head_of([(b"x", b"one more")])
    assert len(heads._heads) == heads.MOST_HEADS
    assert head_of([(b"x", b"first")]) is not first


NAMES = st.sampled_from([
    b"host", b"accept", b"cookie", b"content-type", b"content-length", b"transfer-encoding",
    b"x-forwarded-for", b"x_forwarded_for", b"x-a", b"if-none-match",
])  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([b"", b"0", b"12", b"chunked", b"text/html; charset=latin1", b"a/b;c=d", b"x"]),
    st.binary(max_size=8).map(lambda value: value.replace(b"\r", b"").replace(b"\n", b"")),
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_meta_is_djangos(headers: list[tuple[bytes, bytes]]) -> None:
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    try:
        theirs = DjangosRequest(scope, None).META
    except LookupError:
        return  # a charset that Django does not look for; refused here with the body
    ours = request_of(headers).META
    if "HTTP_TRANSFER_ENCODING" in ours and not theirs.get("CONTENT_LENGTH"):
        assert ours.pop("CONTENT_LENGTH") == "-1"  # for DRF, which else sees no body
        theirs.pop("CONTENT_LENGTH", None)
    assert ours == theirs


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([], 0),
        ([(b"content-length", b"7")], 7),
        ([(b"content-length", b"7"), (b"content-length", b"8")], 7),
        ([(b"content-length", b"seven")], 0),
        ([(b"content-length", b"-1")], 0),
        ([(b"content-length", b"9" * 400)], 10**18),
        ([(b"transfer-encoding", b"chunked")], -1),
        ([(b"transfer-encoding", b"chunked"), (b"content-length", b"7")], 7),
    ],
)
def test_length_of_the_body(headers: Any, length: int) -> None:
    assert Head(headers).length == length
