"""What the API's answer means for what was sent. One table, without I/O.

verdict     answers                          what follows
ACCEPTED    2xx                              done
LATER       5xx, no answer                   the same again, after a backoff, not before Retry-After
BUSY        408, 425, 429                    likewise; but the API is well, and has lost nothing
REFUSED     401, 403                         the same again, slowly: a person has to give another
token MISPLACED   3xx, 404, 405, not JSON          the same again, slowly: a person has to correct
STOWAGE_URL TOO_LARGE   413                              in smaller parts, from now on UNFIT
every other 4xx                  in smaller parts, until the part that is bad is found
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, NamedTuple

BUSY = {408, 425, 429}
LONGEST_RETRY_AFTER_SECONDS = 600.0  # a server that asks for more is asked again nevertheless


class Verdict(Enum):
    ACCEPTED = "accepted"
    LATER = "later"
    BUSY = "busy"
    REFUSED = "refused"
    MISPLACED = "misplaced"
    TOO_LARGE = "too large"
    UNFIT = "unfit"


class Answer(NamedTuple):
    """`reason` is for people, `skew_seconds` how far this machine's clock is ahead of the API's."""

    verdict: Verdict
    reason: str = ""
    body: Mapping[str, Any] = {}
    retry_after_seconds: float | None = None
    skew_seconds: float | None = None


def read_answer(
    status: int, headers: Mapping[str, str], content: bytes, *, url: str, now: datetime
) -> Answer:
    """The Answer to a request that got this far."""
    verdict, reason = judge(status, headers, content, url)
    body = decode(content) if verdict is Verdict.ACCEPTED else {}
    if body is None:
        verdict, reason, body = Verdict.MISPLACED, misplaced(url, "answers, but not as Stowage"), {}
    date = moment_of(headers.get("Date"))
    return Answer(
        verdict,
        reason,
        body,
        retry_after_of(headers.get("Retry-After"), now)
        if status in BUSY or status >= 500
        else None,
        (now - date).total_seconds() if date else None,
    )


def judge(status: int, headers: Mapping[str, str], content: bytes, url: str) -> tuple[Verdict, str]:
    """The verdict on a status, and what to tell."""
    if 200 <= status < 300:
        return Verdict.ACCEPTED, ""
    if status in BUSY or status >= 500:
        return Verdict.BUSY if status in BUSY else Verdict.LATER, f"it answers {status}"
    if status in {401, 403}:
        return Verdict.REFUSED, (
            f"it refuses the token ({status}: {excerpt(content)}): make one with the scope agent "
            "by `manage.py create_token`, and set STOWAGE_TOKEN to it"
        )
    if status < 400:
        return Verdict.MISPLACED, misplaced(url, f"leads to {headers.get('Location', 'nowhere')}")
    if status in {404, 405}:
        return Verdict.MISPLACED, misplaced(url, f"answers {status}")
    verdict = Verdict.TOO_LARGE if status == 413 else Verdict.UNFIT
    return verdict, f"it answers {status}: {excerpt(content)}"


def misplaced(url: str, what: str) -> str:
    return f"{url} {what}: set STOWAGE_URL to the address of a Stowage API"


def excerpt(content: bytes) -> str:
    """The sentence of an error's body, or its beginning."""
    body = decode(content) or {}
    text = body.get("detail") if isinstance(body.get("detail"), str) else None
    return " ".join((text or content[:300].decode("utf-8", "replace")).split())


def decode(content: bytes) -> dict[str, Any] | None:
    """The body as a JSON object; None when it is anything else."""
    try:
        body = json.loads(content)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def rejections_of(body: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Why samples of a batch were rejected, by their position in it; `body` counts lines from 1."""
    return {
        int(rejected["line"]) - 1: rejected.get("errors") or {}
        for rejected in body.get("rejected") or []
    }


def retry_after_of(value: str | None, now: datetime) -> float | None:
    """`Retry-After`, seconds or a date (RFC 9110, 10.2.3), as seconds from now."""
    if value is None:
        return None
    if value.strip().isdigit():
        seconds = float(value)
    elif date := moment_of(value):
        seconds = (date - now).total_seconds()
    else:
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def moment_of(value: str | None) -> datetime | None:
    """An HTTP date as a moment in UTC."""
    try:
        moment = parsedate_to_datetime(value) if value else None
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC) if moment else None
