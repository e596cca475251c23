"""Uploads: parsed while they arrive, at bounded memory, without blocking the event loop.

Theory of operation. Django's multipart parser is synchronous and pulls its input. `drive` runs it
on a second stack of the same thread (a greenlet): where it asks for input, the coroutine that
drives it awaits the next chunk from the server; where an upload handler would write to the disk, it
awaits a thread that does. So no thread is held while a slow client sends, and memory holds one
chunk.

- A body of at most `FILE_UPLOAD_MAX_MEMORY_SIZE` is small: it is read and parsed in memory, with no
  thread at all, as before.
- A larger one, or one of unknown length, is streamed. Its files go where `FILE_UPLOAD_HANDLERS` put
  them: a temporary file, by default. Each chunk of 64 KiB that is written is one hop; Django's
  handlers, and anybody's, run unchanged.
- All of it may come to `STOWAGE["MAX_UPLOAD_BYTES"]`, or the parser's `max_bytes`; more is a 413,
  before it is read. What is no file counts against `DATA_UPLOAD_MAX_MEMORY_SIZE`, as in Django.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.core.files.images import get_image_dimensions
from django.core.files.uploadedfile import InMemoryUploadedFile
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.db import models
from greenlet import getcurrent, greenlet

from app.rest.bodies import Body
from app.rest.breathing import Breather
from app.rest.exceptions import RequestTooLarge, ServiceUnavailable

__all__ = ["Incoming", "achunks", "aread", "astore_files", "drive", "is_small"]

T = TypeVar("T")

DEFAULT_MAX_BYTES = 64 * 2**20
CHUNK_BYTES = 64 * 2**10


async def offload(function: Callable[..., T], *args: Any) -> T:
    """The one hop of this module: call what reads or writes a disk in a thread. A cancelled request
    waits until the thread has done: what it was making can then be closed.
    """
    hop = asyncio.ensure_future(sync_to_async(function, thread_sensitive=False)(*args))
    try:
        return await asyncio.shield(hop)
    except asyncio.CancelledError:
        await asyncio.wait([hop])
        raise


# A second stack


async def drive(function: Callable[..., T], *args: Any) -> T:
    """Call `function` here; whatever it passes to `wait` is awaited by this coroutine."""
    driver = getcurrent()
    other = greenlet(function, driver)
    other.gr_context = driver.gr_context
    result: Any = other.switch(*args)
    while not other.dead:
        try:
            value = await result
        except BaseException as error:  # noqa: BLE001 - raised again, on the other stack
            result = other.throw(error)
        else:
            result = other.switch(value)
    return result


def wait(awaitable: Awaitable[T]) -> T:
    """Inside `drive`: the result of `awaitable`, while the event loop goes on."""
    parent = getcurrent().parent
    assert parent is not None
    value: T = parent.switch(awaitable)
    return value


# What arrives


class Incoming:
    """The body of a request as it arrives, up to `limit` bytes. May be gone through once."""

    def __init__(self, body: Body, limit: int | None) -> None:
        self.limit = limit
        if limit is not None and body.length > limit:
            raise RequestTooLarge(limit)
        self._chunks = body.chunks()
        self._buffer = b""
        self._size = 0
        self._breather = Breather()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self._size += len(chunk)
            if self.limit is not None and self._size > self.limit:
                raise RequestTooLarge(self.limit)
            yield chunk
            await self._breather.breathe()  # what has arrived already is given without waiting

    def as_file(self) -> "_File":
        """The same, for a parser that pulls from a file; inside `drive`."""
        return _File(aiter(self))


class _File:
    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks: Any = chunks
        self._rest = b""

    def read(self, size: int | None = None) -> bytes:
        """At most `size` bytes; none at the end."""
        if not self._rest:
            self._rest = wait(anext(self._chunks, b""))
        taken, self._rest = (self._rest, b"") if size is None else _split(self._rest, size)
        return taken


def _split(content: bytes, size: int) -> tuple[bytes, bytes]:
    return content[:size], content[size:]


def is_small(body: Body) -> bool:
    """Whether a body is parsed in memory."""
    return 0 <= body.length <= settings.FILE_UPLOAD_MAX_MEMORY_SIZE


def max_bytes(parser: Any) -> int:
    own = getattr(parser, "max_bytes", None)
    default = getattr(settings, "STOWAGE", {}).get("MAX_UPLOAD_BYTES", DEFAULT_MAX_BYTES)
    return int(default if own is None else own)


class Offloading:
    """An upload handler whose writing waits in a thread; Django's in memory only computes."""

    _WRITING = frozenset(
        ("new_file", "receive_data_chunk", "upload_complete", "upload_interrupted")
    )

    def __init__(self, handler: Any) -> None:
        self.handler = handler
        self.made: list[Any] = []

    def file_complete(self, size: int) -> Any:
        file = self._call("file_complete", size)
        self.made.append(file)
        return file

    def close(self) -> None:
        """Close every file that was begun: the upload failed, and nobody else will."""
        for file in (*self.made, getattr(self.handler, "file", None)):
            if file is not None:
                file.close()

    def _call(self, name: str, *args: Any) -> Any:
        method = getattr(self.handler, name)
        if isinstance(self.handler, MemoryFileUploadHandler):
            return method(*args)
        return wait(offload(method, *args))

    def __getattr__(self, name: str) -> Any:
        if name in self._WRITING:
            return partial(self._call, name)
        return getattr(self.handler, name)


async def parse_streamed(parse: Any, body: Body, media_type: str, context: Any, limit: int) -> Any:
    """DRF's parser's `parse`, on a body as it arrives."""
    incoming = Incoming(body, limit)
    request = context["request"]._request
    handlers = [Offloading(handler) for handler in request.upload_handlers]
    request._upload_handlers = handlers
    if body.length < 0:  # Django's parser wants to know; the handlers take it for a large one
        request.META["CONTENT_LENGTH"] = str(limit)
    try:
        return await drive(parse, incoming.as_file(), media_type, context)
    except OSError as error:
        await _close(handlers)
        message = "The upload cannot be stored now. Try again later."
        raise ServiceUnavailable(message, wait=60) from error
    except BaseException:
        await _close(handlers)
        raise
    finally:
        request._upload_handlers = [one.handler for one in handlers]


async def _close(handlers: list[Offloading]) -> None:
    def close() -> None:
        for handler in handlers:
            handler.close()

    await asyncio.shield(offload(close))  # also when the request is being cancelled


# What was uploaded


async def achunks(file: Any, size: int = CHUNK_BYTES) -> AsyncIterator[bytes]:
    """An uploaded file's content, from its start, without blocking."""
    file.seek(0)
    while chunk := (file.read(size) if _is_in_memory(file) else await offload(file.read, size)):
        yield chunk


async def aread(file: Any) -> bytes:
    """The whole content of an uploaded file."""
    return b"".join([chunk async for chunk in achunks(file)])


def _is_in_memory(file: Any) -> bool:
    return isinstance(file, InMemoryUploadedFile)


async def astore_files(model: Any, values: dict[str, Any], instance: Any = None) -> dict[str, Any]:
    """`values` with each new file given to its field's storage, and its stored name in its place.

    A storage with an `async def asave(name, content, max_length=...)` is awaited; any other saves
    in a thread, one hop a file.
    """
    files = {
        field: values[field.name]
        for field in model._meta.concrete_fields
        if isinstance(field, models.FileField) and _is_new(values.get(field.name))
    }
    if not files:
        return values
    owner = model(**_columns(model, values)) if instance is None else instance
    stored = dict(values)
    for field, file in files.items():
        name = field.generate_filename(owner, file.name)
        save: Any = getattr(field.storage, "asave", None)
        if iscoroutinefunction(save):
            name = await save(name, file, max_length=field.max_length)
        else:
            name = await offload(_save, field, name, file)
        is_measured = getattr(field, "width_field", None) or getattr(field, "height_field", None)
        stored[field.name] = await _measured(field, owner, name, file) if is_measured else name
    return stored


async def _measured(field: Any, owner: Any, name: str, file: Any) -> Any:
    """The stored image with its size: its model writes that into columns of its own, and would open
    the file to learn it.
    """
    image = getattr(file, "image", None)  # as ImageField leaves it
    stored = field.attr_class(owner, field, name)
    stored._dimensions_cache = (
        await offload(get_image_dimensions, file) if image is None else image.size
    )
    return stored


def _save(field: Any, name: str, file: Any) -> str:
    stored: str = field.storage.save(name, file, max_length=field.max_length)
    return stored


def _is_new(value: Any) -> bool:
    """Whether a value is a file that no storage holds yet."""
    return hasattr(value, "chunks") and not getattr(value, "_committed", False)


def _columns(model: Any, values: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in model._meta.concrete_fields}
    return {name: value for name, value in values.items() if name in names}
