"""Heads of requests that were read before: what follows their first line is not parsed again.

A client sends the same headers with each of its requests; that is what HPACK (RFC 7541) makes use
of in HTTP/2. So what httptools read below the first line is kept by these very bytes, for those
that came last. A GET that comes whole, whose lines below the first are known, has its first line
read here, if that is plain: an absolute path of the characters of RFC 3986, perhaps a query, and
HTTP/1.1. Anything else, and whatever is seen for the first time, is read by httptools.

Kept are heads without a body, and of connections that go on: nothing of them depends on the first
line. There are at most `MOST`, of at most `LONGEST` bytes each (as the first line); the oldest
goes first.
"""

import re

__all__ = ["Headers", "recall", "remember"]

MOST, LONGEST = 1024, 2048

Headers = list[tuple[bytes, bytes]]

_SAFE = rb"A-Za-z0-9\-._~!$&'()*+,;=:@%/"
_LINE = re.compile(rb"GET (/(?!/)[%b]*)(?:\?([%b?]*))? HTTP/1\.1\r\n" % (_SAFE, _SAFE))
_END = b"\r\n\r\n"
_NOT_KEPT = frozenset({
    b"connection", b"content-length", b"expect", b"keep-alive", b"proxy-connection",
    b"transfer-encoding", b"upgrade",
})  # fmt: skip
_heads: dict[bytes, Headers] = {}


def recall(data: bytes) -> tuple[bytes, bytes, Headers] | None:
    """Path, query and headers of what came, if it is a whole GET whose head is known."""
    first = data.find(b"\n") + 1
    headers = _heads.get(data[first:])
    if headers is None or first > LONGEST:
        return None
    line = _LINE.fullmatch(data, 0, first)
    if line is None:
        return None
    path, query = line.groups(b"")
    return path, query, headers.copy()


def remember(data: bytes, headers: Headers) -> None:
    """Keep what httptools read of a request, if it came whole and by itself."""
    first = data.find(b"\n") + 1
    if (
        first > LONGEST
        or len(data) - first > LONGEST
        or _LINE.fullmatch(data, 0, first) is None
        or data.find(_END) != len(data) - len(_END)
        or not data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n") == len(headers) + 2
        or not _NOT_KEPT.isdisjoint(name for name, _ in headers)
    ):
        return
    if len(_heads) >= MOST:
        del _heads[next(iter(_heads))]
    _heads[data[first:]] = headers.copy()
