"""Answers that are sent bit by bit: server-sent events without end, rows of a table one by one.

    return EventStream(events())                    an async iterator of ServerSentEvent or bytes
    return Stream(lines(), content_type="text/csv") an async iterator of bytes

Theory of operation.

- One task serves a stream: the request's own. By the time that it sends, nothing of the request is
  left but the iterator: no view, no response, no database connection unless the iterator has one.
- Back-pressure is the server's: `send` waits while the client's buffer is full. A client that takes
  nothing for `STALL_SECONDS` is cut off, and what the iterator holds is given back.
- Events for many go through a `Hub`: each is encoded once, and the same bytes lie in the `Channel`
  of every client. A channel that is over `BACKLOG_BYTES` belongs to a client that reads too slowly:
  it is cut off, and memory does not grow. It comes back with `Last-Event-ID`.
- An event stream ends after `STREAM_SECONDS`, and when the server drains, with a last event
  `reconnect` and a `retry:` that differs from client to client, so that they don't come back all at
  once. Whoever comes back is authenticated anew.
- A stream that fails is cut off, not ended: the client of a chunked answer sees that it is not
  whole.
"""

import asyncio
import contextlib
import contextvars
import json
import random
import socket
import struct
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from django.conf import settings
from django.http import StreamingHttpResponse

from app.rest.sse import HEARTBEAT, MEDIA_TYPE, ServerSentEvent

Send = Callable[[Mapping[str, Any]], Awaitable[None]]

HEARTBEAT_SECONDS = 15.0
STALL_SECONDS = 30.0
BACKLOG_BYTES = 256 * 1024
SPREAD_MS = (500, 3000)
"""When a client that was sent away comes back."""

_PIECE_BYTES = 64 * 1024

# Why a stream's task was cancelled, where it wasn't by the client's leaving.
_TOO_SLOW, _SENT_AWAY = "the client reads too slowly", "the client is sent away"


class Stream(StreamingHttpResponse):
    """Sends what `source` yields, as it is yielded. Any ASGI handler can serve it; this project's
    lets go of the request first.
    """

    is_endless = False

    def __init__(self, source: AsyncIterable[bytes], **kwargs: Any) -> None:
        super().__init__(source, **kwargs)
        self["X-Accel-Buffering"] = "no"  # nginx would wait for a page of it

    def detach(self) -> "Sending":
        """What is left to do once the head of the answer is sent."""
        source: Any = vars(self)["_iterator"]
        self.streaming_content = _nothing()
        return Sending(source, is_endless=self.is_endless)


class EventStream(Stream):
    """Server-sent events. Comments keep the connection alive while `source` is silent."""

    is_endless = True

    def __init__(
        self,
        source: AsyncIterable[ServerSentEvent | bytes],
        *,
        heartbeat_seconds: float | None = HEARTBEAT_SECONDS,
        **kwargs: Any,
    ) -> None:
        """None: `source` sees to its heartbeats itself, as what comes from a Hub does."""
        chunks = _encoded(source)
        if heartbeat_seconds is not None:
            chunks = _beating(chunks, heartbeat_seconds)
        super().__init__(chunks, content_type=MEDIA_TYPE, **kwargs)
        self["Cache-Control"] = "no-cache"


class Sending:
    """One stream on its way to its client."""

    __slots__ = ("is_endless", "source", "task")

    def __init__(self, source: AsyncIterator[bytes], *, is_endless: bool) -> None:
        self.source = source
        self.is_endless = is_endless
        self.task: asyncio.Task[Any] | None = None

    async def run(self, send: Send) -> None:
        """Send all of it. Raises what the source raises; the answer is left unfinished then."""
        self.task = asyncio.current_task()
        timer = None
        if self.is_endless:
            registry.open.add(self)
            seconds = settings.STREAM_SECONDS * random.uniform(0.9, 1.0)  # noqa: S311 - spread
            if registry.is_stopping:
                seconds = 0
            # In a context of its own: a copy of the request's would keep what that holds.
            timer = asyncio.get_running_loop().call_later(
                seconds, self.send_away, context=contextvars.Context()
            )
        try:
            await self._run(send)
        finally:
            registry.open.discard(self)
            if timer is not None:
                timer.cancel()

    async def _run(self, send: Send) -> None:
        try:
            async with aclosing(self.source) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    await _deliver(send, chunk)
            await _deliver(send, b"", more=False)
        except asyncio.CancelledError as error:
            if error.args == (_TOO_SLOW,):
                await break_off(send)
            elif error.args == (_SENT_AWAY,):
                with contextlib.suppress(_StalledError):
                    await _deliver(send, farewell(), more=False)
            else:
                raise
            assert self.task is not None
            self.task.uncancel()
        except _StalledError:
            await break_off(send)

    def send_away(self) -> None:
        """End it with a last event that tells the client to come back."""
        if self.task is not None:
            self.task.cancel(_SENT_AWAY)

    async def close(self) -> None:
        """Instead of `run`: for an answer without a body (HEAD)."""
        if hasattr(self.source, "aclose"):
            await self.source.aclose()


class _StalledError(Exception):
    """The client has taken nothing for STALL_SECONDS."""


async def _deliver(send: Send, chunk: bytes, *, more: bool = True) -> None:
    for start in range(0, len(chunk) or 1, _PIECE_BYTES):
        piece = chunk if len(chunk) <= _PIECE_BYTES else chunk[start : start + _PIECE_BYTES]
        is_last = not more and start + _PIECE_BYTES >= len(chunk)
        message = {"type": "http.response.body", "body": piece, "more_body": not is_last}
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await send(message)
        except TimeoutError:
            raise _StalledError from None


async def break_off(send: Send) -> None:
    """Cut the connection, with what lies in its buffer.

    ASGI has no word for it, and a server that merely closes would first wait for the client to take
    the rest, for ever. uvicorn's `send` is a method of what holds the transport. On another server
    the answer is left unfinished, which makes it close.
    """
    while hasattr(send, "__wrapped__"):
        send = send.__wrapped__
    cycle = getattr(send, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:  # the system forgets what it still has to send, too
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        for _ in range(100):  # uvloop takes some turns to tell the server, which complains else
            await asyncio.sleep(0)
            if getattr(cycle, "disconnected", True):
                break


class Registry:
    """The event streams that this worker serves; none is begun once it `is_stopping`."""

    def __init__(self) -> None:
        self.open: set[Sending] = set()
        self.is_stopping = False

    def send_away(self) -> None:
        """Tell every client to come back later, and end its stream: now, and when it begins."""
        self.is_stopping = True
        for sending in list(self.open):
            sending.send_away()


registry = Registry()
send_all_away = registry.send_away


def farewell() -> bytes:
    """The last event of a stream that the server ends."""
    wait = random.randint(*SPREAD_MS)  # noqa: S311 - spread
    data = json.dumps({"detail": "The stream ends here; go on with Last-Event-ID."})
    return ServerSentEvent(data, name="reconnect", retry_ms=wait).encode()


# What event streams are made of


async def _nothing() -> AsyncIterator[bytes]:
    none: tuple[bytes, ...] = ()
    for chunk in none:
        yield chunk


async def _encoded(source: AsyncIterable[ServerSentEvent | bytes]) -> AsyncIterator[bytes]:
    iterator = aiter(source)
    try:
        async for event in iterator:
            yield event if isinstance(event, bytes) else event.encode()
    finally:
        if hasattr(iterator, "aclose"):
            await iterator.aclose()


async def _beating(source: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    """`source`, and a comment whenever it was silent for so long."""
    pending: asyncio.Task[bytes] | None = None
    try:
        while True:
            pending = asyncio.ensure_future(anext(source))
            while not (await asyncio.wait({pending}, timeout=seconds))[0]:
                yield HEARTBEAT
            try:
                chunk = pending.result()
            except StopAsyncIteration:
                return
            yield chunk
    finally:
        if pending is not None and not pending.done():
            pending.cancel()
            await asyncio.wait({pending})
        if hasattr(source, "aclose"):
            await source.aclose()


class Channel:
    """What waits to be sent to one client; made and read by the task that serves it.

    More than `limit` bytes, and the task is cancelled with the client cut off.
    """

    __slots__ = ("_chunks", "_limit", "_size", "_task", "_waiter")

    def __init__(self, limit: int = BACKLOG_BYTES) -> None:
        self._chunks: list[bytes] = []  # an empty deque takes 760 bytes
        self._limit = limit
        self._size = 0
        self._task = asyncio.current_task()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, chunk: bytes) -> None:
        """Add what comes next. Never waits."""
        if self._size > self._limit:
            return  # it is being cut off
        self._size += len(chunk)
        if self._size > self._limit:
            self._chunks.clear()
            if self._task is not None:
                self._task.cancel(_TOO_SLOW)
            return
        self._chunks.append(chunk)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def send_away(self) -> None:
        """End the stream with a last event that tells the client to come back."""
        if self._task is not None:
            self._task.cancel(_SENT_AWAY)

    def __aiter__(self) -> "Channel":
        return self

    async def __anext__(self) -> bytes:
        """What waits, as far as it fits into one piece."""
        while not self._chunks:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
            self._waiter = None
        count, size = 1, len(self._chunks[0])
        for chunk in self._chunks[1:]:
            size += len(chunk)
            if size > _PIECE_BYTES:
                break
            count += 1
        chunk = self._chunks[0] if count == 1 else b"".join(self._chunks[:count])
        del self._chunks[:count]
        self._size -= len(chunk)
        return chunk


class Hub:
    """The same bytes for many clients, and one timer for the heartbeats of all.

    async with hub.channel() as chunks:
        async for chunk in chunks: ...
    """

    def __init__(self, *, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        self.heartbeat_seconds = heartbeat_seconds
        self.channels: set[Channel] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._was_busy = False

    def publish(self, chunk: bytes) -> None:
        """Never waits. Encode an event once, then publish the bytes."""
        self._was_busy = True
        for channel in list(self.channels):
            channel.put(chunk)

    def heartbeat(self) -> bytes:
        """What is sent to all when nothing was published for a while."""
        return HEARTBEAT

    def add(self, channel: Channel) -> None:
        self.channels.add(channel)
        if self._timer is None:
            self._set_timer()

    def remove(self, channel: Channel) -> None:
        self.channels.discard(channel)
        if not self.channels and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @contextlib.contextmanager
    def channel(self) -> Any:
        """A new client's channel, for as long as the block runs."""
        channel = Channel()
        self.add(channel)
        try:
            yield channel
        finally:
            self.remove(channel)

    def _set_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.heartbeat_seconds, self._beat)

    def _beat(self) -> None:
        if not self._was_busy:
            self.publish(self.heartbeat())
        self._was_busy = False
        self._set_timer()
