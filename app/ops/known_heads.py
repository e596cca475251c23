"""Heads of requests that were read before: what follows their first line is not parsed again.

A client sends the same headers with each of its requests; that is what HPACK (RFC 7541) makes use
of in HTTP/2. So what httptools read below the first line is kept by these very bytes, for those
that came last. A request that comes whole, whose lines below the first are known, has its first
line read here, if that is plain: a GET without a body, or a POST, PUT or PATCH with one; an
absolute path of the characters of RFC 3986, perhaps a query, and HTTP/1.1. Of a body the length may
be another each time: its digits are left out of the bytes that heads are known by. Anything else,
and whatever is seen for the first time, is read by httptools.

Kept are heads of connections that go on, which wait for nothing: nothing of them depends on the
first line. There are at most `MOST` of each of the two kinds, of at most `LONGEST` bytes each (as
the first line); the oldest goes first. A body of more than `LONGEST_BODY` bytes is left to uvicorn,
which stops reading then.
"""

import re
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

__all__ = ["Headers", "Known", "recall", "remember"]

MOST, LONGEST = 1024, 2048
LONGEST_BODY = HIGH_WATER_LIMIT
_MOST_DIGITS = len(str(LONGEST_BODY))

Headers = list[tuple[bytes, bytes]]

_SAFE = rb"A-Za-z0-9\-._~!$&'()*+,;=:@%/"
_LINE = re.compile(rb"([A-Z]+) (/(?!/)[%b]*)(?:\?([%b?]*))? HTTP/1\.1\r\n" % (_SAFE, _SAFE))
_METHODS_WITH_BODY = {b"POST": "POST", b"PUT": "PUT", b"PATCH": "PATCH"}
_END = b"\r\n\r\n"
_LENGTHS = (b"\nContent-Length: ", b"\ncontent-length: ")
_LENGTH = b"content-length"
_NOT_KEPT = frozenset({
    b"connection", b"expect", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade",
})  # fmt: skip
_heads: dict[bytes, Headers] = {}
_heads_with_body: dict[bytes, tuple[Headers, int]] = {}
"""And the place of the length."""


#: A request that was not parsed: its method, path, query, headers, body.
Known = tuple[str, bytes, bytes, Headers, bytes]


def recall(data: bytes) -> Known | None:
    """What came, if it is a whole request whose head is known."""
    if not data.startswith(b"GET "):
        return _recall_with_body(data)
    first = data.find(b"\n") + 1
    headers = _heads.get(data[first:])
    line = _LINE.fullmatch(data, 0, first) if headers and first <= LONGEST else None
    if headers is None or line is None:
        return None
    return "GET", line[2], line[3] or b"", headers.copy(), b""


def _recall_with_body(data: bytes) -> Known | None:
    first = data.find(b"\n") + 1
    line = _LINE.fullmatch(data, 0, first) if first <= LONGEST else None
    method = None if line is None else _METHODS_WITH_BODY.get(line[1])
    parts = None if method is None else _parts_of(data, first)
    known = None if parts is None else _heads_with_body.get(parts[0])
    if line is None or method is None or parts is None or known is None:
        return None
    headers, place = known
    headers = headers.copy()
    headers[place] = _LENGTH, parts[1]
    return method, line[2], line[3] or b"", headers, parts[2]


def _parts_of(data: bytes, first: int) -> tuple[bytes, bytes, bytes] | None:
    """The lines below the first without the digits of the body's length, these, and the body, if
    all of it is there and nothing else.
    """
    end = data.find(_END, first, first + LONGEST)
    start = -1
    for name in _LENGTHS:
        if start < 0:
            start = data.find(name, first - 1, end)
    if end < 0 or start < 0:
        return None
    start += len(_LENGTHS[0])
    stop = data.find(b"\r", start)
    digits, body = data[start:stop], data[end + len(_END) :]
    is_whole = digits.isdigit() and len(digits) <= _MOST_DIGITS and int(digits) == len(body)
    if not is_whole or len(body) > LONGEST_BODY:
        return None
    return data[first:start] + data[stop:end], digits, body


def remember(data: bytes, headers: Headers) -> None:
    """Keep what httptools read of a request, if it came whole and by itself."""
    first = data.find(b"\n") + 1
    line = _LINE.fullmatch(data, 0, first) if 0 < first <= LONGEST else None
    end = data.find(_END)
    if (
        line is None
        or end > first + LONGEST
        or not _are_lines(data[: end + len(_END)], len(headers) + 2)
        or not _NOT_KEPT.isdisjoint(name for name, _ in headers)
    ):
        return
    lengths = [place for place, (name, _) in enumerate(headers) if name == _LENGTH]
    if line[1] == b"GET" and not lengths and end == len(data) - len(_END):
        _make_room(_heads)
        _heads[data[first:]] = headers.copy()
    elif line[1] in _METHODS_WITH_BODY and len(lengths) == 1:
        parts = _parts_of(data, first)
        if parts is not None:
            _make_room(_heads_with_body)
            _heads_with_body[parts[0]] = headers.copy(), lengths[0]


def _are_lines(head: bytes, count: int) -> bool:
    """Whether each line of a head is a header of its own."""
    return head.count(b"\r") == head.count(b"\n") == head.count(b"\r\n") == count


def _make_room(heads: dict[bytes, Any]) -> None:
    if len(heads) >= MOST:
        del heads[next(iter(heads))]
