"""DRF's parsers, on a body that is in memory by the time they run, and NDJSON.

Malformed input is a ParseError (400) that says where: DRF's message carries line and column;
nesting beyond what Python follows and numbers beyond what it reads are refused likewise, and so is
what would be lost in silence: keys that stand twice, parts and text of forms that can't be read.
"""

import codecs
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.http import QueryDict
from rest_framework import parsers as drf
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, DataAndFiles

from app.rest import forms, uploads
from app.rest.bodies import Body
from app.rest.body_headers import parameters_of
from app.rest.duplicates import find_duplicate_key
from app.rest.exceptions import UnsupportedContent
from app.rest.json_lines import parse_lines
from app.rest.renderers import JSONRenderer

__all__ = [
    "BaseParser",
    "DataAndFiles",
    "FileUploadParser",
    "FormParser",
    "JSONParser",
    "MultiPartParser",
    "NDJSONParser",
    "NDJSONStreamParser",
    "Records",
]


def _refuse(constant: str) -> None:
    raise ValueError(f"Out of range float values are not JSON compliant: {constant!r}")


_STRICT = json.JSONDecoder(parse_constant=_refuse)
_LAX = json.JSONDecoder()


class JSONParser(drf.JSONParser):
    """DRF's. A key that stands twice in one object is refused (`duplicates`)."""

    renderer_class = JSONRenderer

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        encoding = encoding_of(parser_context)
        try:
            return loads(stream.read().decode(encoding), strict=self.strict)
        except RecursionError:
            raise ParseError("JSON parse error - The value is nested too deeply.") from None
        except (LookupError, ValueError) as exc:
            raise ParseError(f"JSON parse error - {exc}") from exc


def loads(text: str, *, strict: bool = True) -> Any:
    """The value of a JSON text; strict, without NaN and infinities. Raises ValueError, also for a
    key that stands twice.
    """
    if text.startswith("\ufeff"):
        raise ValueError("It starts with a byte order mark. Send UTF-8 without one.")
    value = (_STRICT if strict else _LAX).decode(text)
    doubled = find_duplicate_key(text, value)
    if doubled is not None:
        raise ValueError(doubled)
    return value


class FormParser(drf.FormParser):
    """DRF's. Text that is not in the charset is refused, and its field named."""

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Any = None
    ) -> QueryDict:
        body, encoding = stream.read(), encoding_of(parser_context)
        forms.check_form(body, encoding)
        return QueryDict(body, encoding=encoding)


def encoding_of(parser_context: Any) -> str:
    """The charset of the body. Raises ParseError for one that is of no text."""
    encoding: str = drf.get_encoding(parser_context or {})
    return encoding


class UploadMixin:
    """A large body is parsed as it arrives (`uploads`). `max_bytes`: of all of it, at most."""

    max_bytes: int | None = None

    def streams(self, body: Body) -> bool:
        return not uploads.is_small(body)

    async def aparse(self, body: Body, media_type: str, parser_context: Any) -> DataAndFiles:
        parse: Any = super().parse  # type: ignore[misc]
        limit = uploads.max_bytes(self)
        parsed: DataAndFiles = await uploads.parse_streamed(
            parse, body, media_type, parser_context, limit
        )
        return parsed


class CheckedMultiPartParser(drf.MultiPartParser):
    """DRF's. A part that can't be read, text of another charset, a missing end are refused."""

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Any = None
    ) -> DataAndFiles:
        _, parameters = parameters_of(media_type or "")
        boundary = parameters.get("boundary", "")
        if boundary and boundary.isascii():
            stream = forms.CheckedMultipart(stream, boundary, encoding_of(parser_context))
        return super().parse(stream, media_type, parser_context)


class MultiPartParser(UploadMixin, CheckedMultiPartParser):
    pass


class FileUploadParser(UploadMixin, drf.FileUploadParser):
    """The body is the file; its name is in the URL or in Content-Disposition."""


class Lines:
    """The lines of an NDJSON body: `(line_number, value_or_ParseError)`, parsed as they are taken.

    Line numbers start at 1 and count every line; blank lines are passed over. May be gone through
    more than once.
    """

    def __init__(self, body: bytes, strict: bool = True) -> None:
        self.body = body
        self.strict = strict

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        decoder = _STRICT if self.strict else _LAX
        return parse_lines(self.body, decoder, self._parse)

    def _parse(self, line: bytes) -> Any:
        return parse_line(line, strict=self.strict)


def parse_line(line: bytes, *, strict: bool = True) -> Any:
    """The value of a line of NDJSON; a ParseError if it holds none."""
    try:
        return loads(line.decode(), strict=strict)
    except RecursionError:
        return ParseError("JSON parse error - The value is nested too deeply.")
    except ValueError as exc:
        return ParseError(f"JSON parse error - {exc}")


class NDJSONParser(BaseParser):
    """`application/x-ndjson`: one JSON value a line. `request.data` is a `Lines`."""

    media_type = "application/x-ndjson"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Any = None
    ) -> Lines:
        check_utf_8(encoding_of(parser_context))
        return Lines(stream.read())


def check_utf_8(encoding: str) -> None:
    """NDJSON has no other charset. Raises UnsupportedContent."""
    if codecs.lookup(encoding).name not in ("utf-8", "ascii"):
        message = f"NDJSON is UTF-8, not {encoding}. Send it as UTF-8."
        raise UnsupportedContent({"Content-Type": [message]})


class Records:
    """The lines of an NDJSON body while it arrives: `async for number, value in request.data`.

    Line numbers start at 1 and count every line; blank lines are passed over. `value` is a
    ParseError where a line holds no JSON; the lines after it are read. Raises RequestTooLarge past
    `limit` bytes, ParseError for a line longer than `max_line_bytes`. May be gone through once.
    """

    def __init__(self, body: Body, *, limit: int | None, max_line_bytes: int) -> None:
        self._incoming = uploads.Incoming(body, limit)
        self.max_line_bytes = max_line_bytes

    async def __aiter__(self) -> AsyncIterator[tuple[int, Any]]:
        number, rest = 0, b""
        async for chunk in self._incoming:
            *lines, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else (rest + chunk,)
            for line in lines:
                number += 1
                if self._check(line, number).strip():
                    yield number, parse_line(line)
            self._check(rest, number + 1)
        if rest.strip():
            yield number + 1, parse_line(rest)

    def _check(self, line: bytes, number: int) -> bytes:
        if len(line) > self.max_line_bytes:
            message = f"Line {number} is longer than {self.max_line_bytes} bytes. Split it."
            raise ParseError(message)
        return line


class NDJSONStreamParser(NDJSONParser):
    """`application/x-ndjson` of any length at constant memory: `request.data` is a `Records`."""

    max_bytes: int | None = None
    max_line_bytes = 2**20

    def streams(self, body: Body) -> bool:
        return True

    async def aparse(self, body: Body, media_type: str, parser_context: Any) -> Records:
        check_utf_8(encoding_of(parser_context))
        return Records(body, limit=self.max_bytes, max_line_bytes=self.max_line_bytes)
