"""Every row of a list in one answer: `?format=ndjson` or `csv`, out of a server-side cursor.

    class HostViewSet(ExportMixin, viewsets.ModelViewSet): ...

Filters, ordering and the serializer are the list's; pages are not. Memory is a chunk of rows,
however many there are and however slowly the client reads. An export holds a database connection
while it lasts, so a worker runs a few at once and answers the next with 503; a client that leaves,
or takes nothing for a while, gives its own back, and the query ends on the server.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import orjson
from rest_framework.utils.encoders import JSONEncoder

from app.errors import Unavailable
from app.rest.mixins import data_of
from app.rest.renderers import BaseRenderer, JSONRenderer
from app.rest.streams import Stream

CHUNK_ROWS = 200
AT_ONCE = 4


class StreamRenderer(BaseRenderer):
    """Lets a client ask for a stream by `Accept` or `?format=`. What is refused is told as JSON."""

    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        response = (renderer_context or {}).get("response")
        if response is not None:
            response["Content-Type"] = "application/json"
        rendered: bytes = JSONRenderer().render(data)
        return rendered


class RowsRenderer(StreamRenderer):
    """Encodes rows, some at a time."""

    def heading(self, columns: Sequence[str]) -> bytes:
        return b""

    def encode(self, columns: Sequence[str], rows: Sequence[Any]) -> bytes:
        raise NotImplementedError


class NDJSONRowsRenderer(RowsRenderer):
    """One JSON object a line."""

    media_type = "application/x-ndjson"
    format = "ndjson"

    def encode(self, columns: Sequence[str], rows: Sequence[Any]) -> bytes:
        render = JSONRenderer().render
        return b"".join(render(row) + b"\n" for row in rows)


class CSVRowsRenderer(RowsRenderer):
    """A table with a heading (RFC 4180). What is neither text, number nor moment is JSON."""

    media_type = "text/csv"
    format = "csv"

    def heading(self, columns: Sequence[str]) -> bytes:
        return _table([columns])

    def encode(self, columns: Sequence[str], rows: Sequence[Any]) -> bytes:
        return _table([[_cell(row.get(name)) for name in columns] for row in rows])


def _table(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, bool)):
        return value
    try:
        written = orjson.dumps(value, _encoder.default).decode()
    except TypeError:
        written = json.dumps(value, cls=JSONEncoder)
    return written[1:-1] if written.startswith('"') else written  # a moment, a UUID


_encoder = JSONEncoder()


class ExportMixin:
    """Put before a list's other classes."""

    request: Any
    export_renderers: tuple[type[RowsRenderer], ...] = (NDJSONRowsRenderer, CSVRowsRenderer)

    def get_renderers(self) -> list[Any]:
        renderers: list[Any] = super().get_renderers()  # type: ignore[misc]
        if getattr(self, "action", None) == "list":
            renderers += [renderer() for renderer in self.export_renderers]
        return renderers

    async def list(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(request.accepted_renderer, RowsRenderer):
            return await self.export(request.accepted_renderer)
        return await super().list(request, *args, **kwargs)  # type: ignore[misc]

    async def export(self, renderer: RowsRenderer) -> Stream:
        """Raises Unavailable when the worker has enough to do."""
        view: Any = self
        queryset = await view.afilter_queryset(view.get_queryset())
        rows = _Counted(_encoded(view, queryset, renderer))
        await rows.begin()
        response = Stream(rows, content_type=renderer.media_type)
        if renderer.format == "csv":
            name = queryset.model._meta.verbose_name_plural.replace(" ", "-")
            response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
        return response


async def _encoded(view: Any, queryset: Any, renderer: RowsRenderer) -> AsyncIterator[bytes]:
    child = view.get_serializer([], many=True).child
    columns = [name for name, field in child.fields.items() if not field.write_only]
    text = renderer.heading(columns)
    chunk: list[Any] = []
    async with aclosing(queryset.aiterator(chunk_size=CHUNK_ROWS)) as items:
        async for item in items:
            chunk.append(item)
            if len(chunk) == CHUNK_ROWS:
                rows = await data_of(view.get_serializer(chunk, many=True))
                yield text + renderer.encode(columns, rows)
                text, chunk = b"", []
    if chunk or text:
        rows = await data_of(view.get_serializer(chunk, many=True))
        yield text + renderer.encode(columns, rows)


class _Counted:
    """An export from its first chunk, which is made before the answer begins: what fails by then
    has an answer of its own.
    """

    running = 0

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.chunks: Any = chunks
        self.first: bytes | None = None
        self.is_counted = False

    async def begin(self) -> None:
        if _Counted.running >= AT_ONCE:
            raise Unavailable(
                f"{AT_ONCE} exports run on this worker. Try again shortly, or read pages.",
                retry_after_seconds=5,
            )
        _Counted.running += 1
        self.is_counted = True
        try:
            self.first = await anext(self.chunks, b"")
        except BaseException:
            self._count_out()
            raise

    def __aiter__(self) -> "_Counted":
        return self

    async def __anext__(self) -> bytes:
        if self.first is not None:
            first, self.first = self.first, None
            return first
        chunk: bytes = await anext(self.chunks)
        return chunk

    async def aclose(self) -> None:
        try:
            await self.chunks.aclose()
        finally:
            self._count_out()

    def _count_out(self) -> None:
        if self.is_counted:
            self.is_counted = False
            _Counted.running -= 1

    def __del__(self) -> None:
        self._count_out()  # an answer that was never sent
