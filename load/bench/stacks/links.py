"""The links of a page, as Django REST framework writes them, for the stacks that have none."""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus


def page_links(
    address: str, page: int, page_size: int, count: int, query: Mapping[str, object]
) -> dict[str, str | None]:
    """`next` and `previous` of a numbered page."""
    size = f"&page_size={page_size}" if "page_size" in query else ""
    before = f"page={page - 1}{size}" if page > 2 else size.removeprefix("&")
    previous = f"{address}?{before}" if before else address
    return {
        "next": f"{address}?page={page + 1}{size}" if page * page_size < count else None,
        "previous": previous if page > 1 else None,
    }


def cursor_links(
    address: str, host_id: int, results: Sequence[Mapping[str, Any]], *, has_next: bool
) -> dict[str, str | None]:
    """`next` and `previous` of a page in the middle, latest first."""
    return {
        "next": _link(address, host_id, "", results[-1]["at"]) if has_next else None,
        "previous": _link(address, host_id, "r=1&", results[0]["at"]) if results else None,
    }


def write_cursor(at: datetime, prefix: str = "") -> str:
    return b64encode(f"{prefix}p={quote_plus(str(at))}".encode()).decode()


def read_cursor(text: str) -> datetime:
    """The moment that a cursor points to. Raises ValueError."""
    try:
        at = datetime.fromisoformat(parse_qs(b64decode(text).decode())["p"][0])
    except KeyError as error:
        raise ValueError("no position") from error
    if at.tzinfo is None:
        raise ValueError("no offset")
    return at


def _link(address: str, host_id: int, prefix: str, at: datetime) -> str:
    return f"{address}?cursor={quote(write_cursor(at, prefix))}&host={host_id}&ordering=-at"
