"""uvicorn's request and response, which sends an answer that is whole in one write.

uvicorn writes an answer's head when the application gives it, and its body when that comes: two
calls of the system, and two packets on the way. Here the head waits for the first of the body (as
ASGI has it), and both go together. What is out of the ordinary (a stream, HEAD, an answer without a
length, a connection that is to be closed, a client that reads slowly) is left to uvicorn.
"""

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

from app.rest.shedding import counts

__all__ = ["Cycle"]

MOST_LINES = 1024
LONGEST = 256
"""Bytes of a line that is remembered."""

_names: dict[bytes, bytes] = {}
_lines: dict[tuple[bytes, bytes], bytes] = {}
_NOT_PLAIN = frozenset({b"connection", b"transfer-encoding", b"content-length"})
_OF_ONE_REQUEST = frozenset({b"ratelimit", b"etag", b"last-modified", b"location", b"set-cookie"})


class Cycle(RequestResponseCycle):
    """`_head`: that of the answer, until its body comes. `on_disconnect`: called once the client
    has left, for who asked to be told (`app.rest.departures`). `on_begin`: likewise, before the
    first of the answer is sent (`app.rest.shedding`).
    """

    _head: Any = None
    on_disconnect: Callable[[], None] | None = None
    on_begin: Callable[[], None] | None = None

    async def run_asgi(self, app: Any) -> None:
        counts.coming -= 1
        await super().run_asgi(app)

    async def send(self, message: Any) -> None:
        head = self._head
        if head is None:
            if self.on_begin is not None:
                begin, self.on_begin = self.on_begin, None
                begin()
            is_head = message["type"] == "http.response.start" and not self.response_started
            if is_head and not (self.access_log or self.disconnected):
                self._head = message
            else:
                await super().send(message)
            return
        self._head = None
        is_last = message["type"] == "http.response.body" and not message.get("more_body")
        if is_last and not (self.flow.write_paused or self.disconnected):
            whole = self._whole(head, message.get("body", b""))
            if whole is not None:
                self._complete(whole)
                return
        await super().send(head)
        await super().send(message)

    def _whole(self, head: Any, body: bytes) -> bytes | None:
        """The answer as it goes over the wire; None for one that uvicorn is to write."""
        if not self.keep_alive or self.scope["method"] == "HEAD":
            return None
        length = -1
        parts = [STATUS_LINE[head["status"]]]
        for name, value in self.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for pair in head.get("headers", ()):
            line = _lines.get(pair)
            if line is not None:
                parts.append(line)
                continue
            name, value = pair
            known = name.lower()
            if known in _NOT_PLAIN:
                if known != b"content-length" or not value.isdigit() or length >= 0:
                    return None
                length = int(value)
            line = _line(name, known, value)
            if line is None:
                return None
            parts.append(line)
        if length != len(body):
            return None
        parts += (b"\r\n", body)
        return b"".join(parts)

    def _complete(self, whole: bytes) -> None:
        """What uvicorn does once an answer is sent."""
        self.response_started = True
        self.waiting_for_100_continue = False
        self.chunked_encoding = False
        self.transport.write(whole)
        self.response_complete = True
        self.message_event.set()
        self.on_response()

    async def send_500_response(self) -> None:
        self._head = None  # of an answer that broke before its body came
        await super().send_500_response()


def _line(name: bytes, known: bytes, value: bytes) -> bytes | None:
    """A header's line; None for one that uvicorn will refuse."""
    prefix = _names.get(name)
    if prefix is None:
        if HEADER_RE.search(name):
            return None
        prefix = known + b": "
        if len(_names) < MOST_LINES:
            _names[name] = prefix
    if HEADER_VALUE_RE.search(value):
        return None
    line = b"%b%b\r\n" % (prefix, value)
    is_kept = known not in _NOT_PLAIN and known not in _OF_ONE_REQUEST
    if is_kept and len(line) <= LONGEST and len(_lines) < MOST_LINES:
        _lines[name, value] = line
    return line
