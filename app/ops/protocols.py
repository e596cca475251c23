"""uvicorn's HTTP/1.1, with bounds on what a client may send before and after a body.

    uvicorn asgi:application --http app.ops.protocols:BoundedProtocol

uvicorn's own (httptools) holds whatever arrives until the head of a request is whole: a client that
never ends its headers, or the trailers after a chunked body, fills the memory. Here what belongs to
no body may come to MAX_HEAD_BYTES; more is answered with 431 (RFC 6585), and the connection closed.
What is no HTTP is a 400 of uvicorn's, in words as here. None can be in a form that the client asked
for: nobody has read what it asks for yet.

A head also has a time to arrive in, settings.REQUEST_HEAD_SECONDS from its first byte, or from the
connection's beginning: uvicorn would wait for ever. A head that is late is a 408; a connection that
never sent any is closed. But for the first, the clock is set only where a piece of a head came and
its end did not, so a request that comes whole, as nearly all do, pays for a comparison. Waiting for
the next request is uvicorn's (`--timeout-keep-alive`), and a body may take its time.

A request that finds as many under way as the worker takes (`app.rest.shedding`) is refused before
anything is made for it, if it has no body: at twice the load that a worker can serve, what the
refusals cost is what the others lack. A GET that came whole and by itself is not even parsed for
it. Nor is a request whose headers are known from one before (`app.ops.known_heads`), refused or
not, and with its body.
"""

import contextvars
import json
import re
from asyncio import Transport
from asyncio.events import TimerHandle
from typing import Any
from urllib.parse import unquote

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.ops import known_heads
from app.ops.cycles import Cycle, WholeCycle
from app.rest import shedding
from app.rest.shedding import LET_IN, counts

__all__ = ["MAX_HEAD_BYTES", "BoundedProtocol"]

MAX_HEAD_BYTES = 64 * 2**10
"""The request's line and its headers. As of uvicorn's other implementation, h11."""

LINGER_SECONDS = 1.0

# Their bodies would have to be read, or they are no requests any more.
_NOT_SHED = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})

_NOT_QUICKLY_SHED = re.compile(
    rb"\n[ \t]*(?:%b|connection)[ \t]*:" % b"|".join(sorted(_NOT_SHED)), re.IGNORECASE
)
_GET, _VERSION, _END = b"GET /", b" HTTP/1.1\r\n", b"\r\n\r\n"

_TOO_LARGE = (
    f"The address and the headers are larger than {MAX_HEAD_BYTES} bytes. Send fewer or shorter"
    " ones; what is long belongs in the body."
)
_TOO_SLOW = (
    "The request's address and headers did not arrive within {} seconds. Send them at once; what"
    " takes its time belongs in the body."
)


class _HeadTooLargeError(Exception):
    """Raised inside the parser, which tells it to uvicorn as a request that can't be read."""


def _path_of_plain(data: bytes) -> bytes | None:
    """The path of one plain GET, whole, of a client that goes on; None for whatever else it is."""
    end = data.find(_VERSION, len(_GET))
    if (
        data.startswith(_GET)
        and end > 0
        and len(data) <= MAX_HEAD_BYTES
        and data.find(_END, end) == len(data) - len(_END)
        and data.find(b"\n") == end + len(_VERSION) - 1
        and data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n")
        and _NOT_QUICKLY_SHED.search(data, end) is None
    ):
        return data[len(_GET) - 1 : end].partition(b"?")[0]
    return None


class _Refusal:
    """The 503 with the headers of any answer, which uvicorn replaces once a second."""

    def __init__(self) -> None:
        self._defaults: Any = None
        self._answer = b""

    def __call__(self, defaults: Any) -> bytes:
        if defaults is not self._defaults:
            parts = [b"HTTP/1.1 503 Service Unavailable\r\n"]
            for name, value in (*defaults, *shedding.HEADERS):
                parts += (name, b": ", value, b"\r\n")
            self._answer = b"".join((*parts, b"\r\n", shedding.BODY))
            self._defaults = defaults
        return self._answer


_refusal = _Refusal()


class BoundedProtocol(HttpToolsProtocol):
    """`_unclaimed`: bytes that came since something of a request was whole. `_is_between`: that the
    parser waits for a request, and has nothing of it.
    """

    # Beyond thirty attributes, Python gives each object a dictionary of its own.
    __slots__ = (
        "_clock", "_closing", "_idle_since", "_is_between", "_is_let_in", "_is_shed",
        "_is_too_large", "_knows_heads", "_unclaimed",
    )  # fmt: skip

    _clock: TimerHandle | None
    _closing: TimerHandle | None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._clock = self._closing = None
        self._is_too_large = self._is_shed = self._is_let_in = False
        self._unclaimed = 0
        self._idle_since = 0.0
        self._is_between = True
        self._knows_heads = self.limit_concurrency is None
        self._set_clock()

    def data_received(self, data: bytes) -> None:
        if self._closing is not None:
            return
        cycle = self.cycle
        is_next = self._is_between and (cycle is None or cycle.response_complete)
        may_be_known = is_next and self._knows_heads
        known = known_heads.recall(data) if may_be_known else None
        if counts.under_way + counts.coming >= counts.few and is_next and self._sheds(data, known):
            return
        if known is not None:
            self._begin(known)
            return
        self._unclaimed += len(data)
        super().data_received(data)
        if self._unclaimed:
            self._wait_for_the_rest()
            return
        if self._clock is not None:
            self._stop_clock()
        if may_be_known and self._is_between and self.cycle is not cycle:
            known_heads.remember(data, self.headers)

    def _begin(self, known: known_heads.Known) -> None:
        """A request that was not parsed."""
        method, raw_path, query, headers, body = known
        if self._clock is not None:
            self._stop_clock()
        self._unclaimed = 0  # an empty line may have come before it
        path = raw_path.decode("ascii")
        if "%" in path:
            path = unquote(path)
        if self.root_path:
            path, raw_path = self.root_path + path, self.root_path.encode("ascii") + raw_path
        scope: Any = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": headers,
            "state": self.app_state.copy(),
        }
        if not counts.are_full():
            scope[LET_IN] = True
        self.cycle = cycle = WholeCycle(self, scope, body)
        self._run(cycle, self.app)

    def _wait_for_the_rest(self) -> None:
        if self._closing is not None:
            return
        if self._unclaimed > MAX_HEAD_BYTES:
            self._is_too_large = True
            self.send_400_response("")
        elif self._clock is None:
            self._set_clock()

    def _set_clock(self) -> None:
        if seconds := settings.REQUEST_HEAD_SECONDS:
            self._clock = self.loop.call_later(seconds, self._end_late_head)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _end_late_head(self) -> None:
        self._clock = None
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._set_clock()  # of the next request, while this one is being answered
        elif self._unclaimed:
            self._refuse("408 Request Timeout", _TOO_SLOW.format(settings.REQUEST_HEAD_SECONDS))
        else:
            self.transport.close()

    def on_message_begin(self) -> None:
        self._is_between = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._unclaimed > MAX_HEAD_BYTES:  # with what came behind it, perhaps
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > MAX_HEAD_BYTES:
                self._is_too_large = True
                raise _HeadTooLargeError
        self._unclaimed = 0
        is_full = counts.are_full()
        if is_full and self._may_shed():
            self._is_shed = True
            return
        self._is_let_in = not is_full
        super().on_headers_complete()
        self._is_let_in = False

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        cycle.__class__ = Cycle  # of uvicorn's own
        cycle.tasks = self.tasks
        if self._is_let_in:
            cycle.scope[LET_IN] = True
        self._run(cycle, app)

    def _run(self, cycle: Any, app: Any) -> None:
        counts.coming += 1
        context = contextvars.Context() if self.config.reset_contextvars else None
        cycle.task = task = self.loop.create_task(cycle.run_asgi(app), context=context)
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        self._unclaimed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unclaimed = 0
        self._is_between = not self.parser.should_upgrade()
        if self._is_shed:
            self._is_shed = False
            self._shed()
        else:
            super().on_message_complete()

    def _sheds(self, data: bytes, known: known_heads.Known | None) -> bool:
        """Refuse what came when a request was waited for, if it is a whole one for what is no
        probe: of a head that is known, or a plain GET. Whatever else it is, it is parsed.
        """
        path = _path_of_plain(data) if known is None else known[1]
        if not path or path.decode("latin1") in counts.exempt or not counts.are_full():
            return False
        if self._clock is not None:
            self._stop_clock()
        self._unclaimed = 0
        self._shed()
        return True

    def _may_shed(self) -> bool:
        """Whether it is a plain request without a body, and the next to be answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        parser = self.parser
        if parser.get_method() == b"HEAD" or parser.get_http_version() == "1.0":
            return False
        if not parser.should_keep_alive():
            return False
        if self.url.partition(b"?")[0].decode("latin1") in counts.exempt:
            return False
        return _NOT_SHED.isdisjoint(name for name, _ in self.headers)

    def _shed(self) -> None:
        counts.shed += 1
        self.transport.write(_refusal(self.server_state.default_headers))
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """uvicorn's, with one timer for a connection where that has one for each of its requests:
        whoever waits for the next one is looked at when it ends.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self._end_idle
            )

    def _unset_keepalive_if_required(self) -> None:
        """Called when something came."""
        self._idle_since = self.loop.time()

    def _end_idle(self) -> None:
        self.timeout_keep_alive_task = None
        if self._unclaimed or not (self.cycle is None or self.cycle.response_complete):
            return  # set again once that is answered
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0 and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(left, self._end_idle)
        else:
            self.timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        if self._is_too_large:
            self._refuse("431 Request Header Fields Too Large", _TOO_LARGE)
        else:
            detail = "This is no HTTP request that can be read. Look at its first line and headers."
            self._refuse("400 Bad Request", detail)

    def _refuse(self, status: str, detail: str) -> None:
        """Unless another answer is on its way: then the connection is all that ends. What is still
        being sent is thrown away for a while: closed at once, the client would not read why.
        """
        self._stop_clock()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = json.dumps({"detail": detail}).encode()
            defaults: Any = self.server_state.default_headers
            self.transport.write(b"".join([
                b"HTTP/1.1 ", status.encode(), b"\r\n",
                *(part for name, value in defaults for part in (name, b": ", value, b"\r\n")),
                b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body),
                b"connection: close\r\n\r\n", body,
            ]))  # fmt: skip
            if self.transport.can_write_eof():
                self.transport.write_eof()
        self._closing = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        if self._closing is not None:
            self._closing.cancel()
        super().connection_lost(exc)
        super()._unset_keepalive_if_required()
        tell = getattr(self.cycle, "on_disconnect", None)
        if tell is not None:
            tell()
