"""uvicorn's request and response, which sends an answer that is whole in one write.

uvicorn writes an answer's head when the application gives it, and its body when that comes: two
calls of the system, and two packets on the way. Here the head waits for the first of the body (as
ASGI has it), and both go together. An application that knows the server gives both at once, and as
text (`Cycle.answer_at_once`): messages and their headers are made for nobody then. What is out of
the ordinary (a stream, HEAD, an answer without a length, a connection that is to be closed, a
client that reads slowly) is left to uvicorn.
"""

import logging
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

from app.rest.moments import Moment
from app.rest.shedding import counts

__all__ = ["Cycle"]

MOST_LINES = 1024
LONGEST = 256
"""Bytes of a line that is remembered."""

_STATUS_LINES = {status: line.decode("latin1") for status, line in STATUS_LINE.items()}
_names: dict[bytes, bytes] = {}
_lines: dict[tuple[bytes, bytes], bytes] = {}
_NOT_PLAIN = frozenset({b"connection", b"transfer-encoding", b"content-length"})
_OF_ONE_REQUEST = frozenset({b"ratelimit", b"etag", b"last-modified", b"location", b"set-cookie"})

_texts: dict[tuple[str, str], str] = {}
_NO_NAME = re.compile(HEADER_RE.pattern.decode("latin1"))
_NO_VALUE = re.compile(HEADER_VALUE_RE.pattern.decode("latin1"))
_WITHOUT_BODY = frozenset({204, 304})


class _Defaults:
    """The headers that the server adds to each answer, and their lines. uvicorn makes a list of
    them once a second.
    """

    def __init__(self) -> None:
        self.headers: Any = None
        self.text = ""

    def write(self, headers: Any) -> str:
        self.text = "".join(
            f"{name.decode('latin1')}: {value.decode('latin1')}\r\n" for name, value in headers
        )
        self.headers = headers
        return self.text


_defaults = _Defaults()


class Cycle(RequestResponseCycle):
    """`_head`: that of the answer, until its body comes. `on_disconnect`: called once the client
    has left, for who asked to be told (`app.rest.departures`). `on_begin`: likewise, before the
    first of the answer is sent (`app.rest.shedding`). `task`: what runs it, which the server knows
    in `tasks` until it ends.
    """

    _head: Any = None
    task: Any = None
    tasks: set[Any]
    on_disconnect: Callable[[], None] | None = None
    on_begin: Callable[[], None] | None = None

    async def run_asgi(self, app: Any) -> None:
        counts.coming -= 1
        try:
            await super().run_asgi(app)
        finally:
            # Called when it is done, that would be a turn of the loop for each request.
            self.tasks.discard(self.task)
            self.task = None

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

    def answer_at_once(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> bool:
        """Send a whole answer; False, and nothing was sent, if it is to go by `send`."""
        if (
            self.response_started
            or not self.keep_alive
            or self._head is not None
            or self.access_log
            or self.disconnected
            or self.flow.write_paused
            or self.scope["method"] == "HEAD"
        ):
            return False
        has_length = status in _WITHOUT_BODY and not body
        defaults = self.default_headers
        text = _defaults.text if _defaults.headers is defaults else _defaults.write(defaults)
        lines = [_STATUS_LINES[status], text]
        for pair in headers:
            line = _texts.get(pair)
            if line is None:
                name, value = pair
                if name == "Content-Length":
                    if has_length or value != str(len(body)):
                        return False
                    has_length = True
                    line = f"content-length: {value}\r\n"
                else:
                    line = _text_of(name, value)
                    if line is None:
                        return False
            lines.append(line)
        if not has_length:
            return False
        lines.append("\r\n")
        try:
            head = "".join(lines).encode("latin1")
        except UnicodeEncodeError:
            return False
        if self.on_begin is not None:
            begin, self.on_begin = self.on_begin, None
            begin()
        self._complete(head + body)
        return True

    def take_body(self) -> bytes | None:
        """What `receive` would give, if that is all of the body and it is there."""
        if self.more_body or self.disconnected or self.response_complete:
            return None
        if self.waiting_for_100_continue or not self.message_event.is_set():
            return None
        self.message_event.clear()
        body, self.body = bytes(self.body), bytearray()
        return body

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
        if "message_event" in self.__dict__:
            self.message_event.set()
        self.on_response()

    async def send_500_response(self) -> None:
        self._head = None  # of an answer that broke before its body came
        await super().send_500_response()


class _WholeRequest:
    """`message_event` of a request that is there, made for whoever waits for what comes next."""

    def __get__(self, cycle: Any, owner: Any = None) -> Any:
        event = cycle.__dict__["message_event"] = Moment()
        event.set()
        return event


class WholeCycle(Cycle):
    """Of a request, all of which is there; made with what may differ from one to the next."""

    logger = logging.getLogger("uvicorn.error")
    access_logger = logging.getLogger("uvicorn.access")
    disconnected = waiting_for_100_continue = more_body = False
    response_started = response_complete = False
    chunked_encoding = None
    expected_content_length = 0
    keep_alive = True
    message_event: Any = _WholeRequest()

    def __init__(self, protocol: Any, scope: Any, body: bytes) -> None:
        self.body: Any = body
        self.tasks = protocol.tasks
        self.scope = scope
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.access_log = protocol.access_log
        self.default_headers = protocol.server_state.default_headers
        self.on_response = protocol.on_response_complete


def _text_of(name: str, value: str) -> str | None:
    """A header's line; None for one that is for uvicorn, to act on or to refuse."""
    prefix, is_kept = _prefix_of(name)
    if not prefix or _NO_VALUE.search(value):
        return None
    line = f"{prefix}{value}\r\n"
    if is_kept and len(line) <= LONGEST and len(_texts) < MOST_LINES:
        _texts[name, value] = line
    return line


@lru_cache(maxsize=MOST_LINES)
def _prefix_of(name: str) -> tuple[str, bool]:
    """What a header's line begins with, empty for one that is for uvicorn; whether others will say
    the same.
    """
    known = name.lower().encode("ascii", "ignore")
    if known in _NOT_PLAIN or len(known) != len(name) or _NO_NAME.search(name):
        return "", False
    return f"{known.decode()}: ", known not in _OF_ONE_REQUEST


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
