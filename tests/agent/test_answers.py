"""The table of answers, row by row."""

from datetime import UTC, datetime

import pytest

from app.agent.answers import Verdict, read_answer, rejections_of, retry_after_of

NOW = datetime(2026, 11, 23, 20, 0, 0, tzinfo=UTC)
URL = "http://api.example"


def read(status=200, content=b"{}", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_answer(status, named, content, url=URL, now=NOW)


@pytest.mark.parametrize(
    ("status", "content", "verdict", "told"),
    [
        (200, b'{"stored": 1}', Verdict.ACCEPTED, ""),
        (201, b'{"stored": 1}', Verdict.ACCEPTED, ""),
        (200, b"<html>a proxy's page</html>", Verdict.MISPLACED, "set STOWAGE_URL"),
        (200, b"[]", Verdict.MISPLACED, "set STOWAGE_URL"),
        (302, b"", Verdict.MISPLACED, "leads to nowhere"),
        (404, b"", Verdict.MISPLACED, "answers 404"),
        (405, b"", Verdict.MISPLACED, "answers 405"),
        (401, b'{"detail": "Invalid token."}', Verdict.REFUSED, "401: Invalid token."),
        (403, b'{"detail": "Needs scope agent."}', Verdict.REFUSED, "set STOWAGE_TOKEN"),
        (408, b"", Verdict.BUSY, "answers 408"),
        (425, b"", Verdict.BUSY, "answers 425"),
        (429, b"", Verdict.BUSY, "answers 429"),
        (500, b"", Verdict.LATER, "answers 500"),
        (502, b"", Verdict.LATER, "answers 502"),
        (503, b"", Verdict.LATER, "answers 503"),
        (413, b"", Verdict.TOO_LARGE, "answers 413"),
        (400, b'{"host": ["Name it."]}', Verdict.UNFIT, '{"host": ["Name it."]}'),
        (415, b'{"detail": "No."}', Verdict.UNFIT, "No."),
        (422, b"", Verdict.UNFIT, "answers 422"),
    ],
)
def test_verdict_and_what_is_told(status, content, verdict, told):
    answer = read(status, content)
    assert answer.verdict is verdict
    assert told in answer.reason


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("99999999", 600.0),
        ("Mon, 23 Nov 2026 20:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 19:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        (None, None),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(value, seconds):
    assert retry_after_of(value, NOW) == seconds


def test_retry_after_counts_only_where_trying_again_helps():
    assert read(503, Retry_After="7").retry_after_seconds == 7
    assert read(429, Retry_After="7").retry_after_seconds == 7
    assert read(200, Retry_After="7").retry_after_seconds is None


@pytest.mark.parametrize(
    ("date", "skew"),
    [
        ("Mon, 23 Nov 2026 19:54:48 GMT", 312.0),
        ("Mon, 23 Nov 2026 20:01:00 GMT", -60.0),
        ("not a date", None),
    ],
)
def test_skew_is_how_far_this_clock_is_ahead(date, skew):
    assert read(Date=date).skew_seconds == skew


def test_rejections_are_found_by_position():
    body = {"stored": 1, "rejected": [{"line": 2, "errors": {"at": ["Too old."]}}]}
    assert rejections_of(body) == {1: {"at": ["Too old."]}}
    assert rejections_of({"stored": 2, "rejected": []}) == {}
