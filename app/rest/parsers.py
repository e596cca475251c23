"""DRF's parsers, on a body that is in memory by the time they run, and NDJSON.

Malformed input is a ParseError (400) that says where: DRF's message carries line and column;
nesting beyond what Python follows and numbers beyond what it reads are refused likewise.
"""

import io
import json
from collections.abc import Iterator
from typing import Any

from rest_framework import parsers as drf
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, DataAndFiles, FileUploadParser

from app.rest.renderers import JSONRenderer

__all__ = [
    "BaseParser",
    "DataAndFiles",
    "FileUploadParser",
    "FormParser",
    "JSONParser",
    "MultiPartParser",
    "NDJSONParser",
]


class JSONParser(drf.JSONParser):
    renderer_class = JSONRenderer

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - The value is nested too deeply.") from None
        except LookupError as exc:
            raise ParseError(f"JSON parse error - {exc}") from exc


class FormParser(drf.FormParser):
    pass


class MultiPartParser(drf.MultiPartParser):
    pass


class Lines:
    """The lines of an NDJSON body: `(line_number, value_or_ParseError)`, parsed as they are taken.

    Line numbers start at 1 and count every line; blank lines are passed over. May be gone through
    more than once.
    """

    def __init__(self, body: bytes, strict: bool = True) -> None:
        self.body = body
        self.strict = strict

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        for number, line in enumerate(io.BytesIO(self.body), start=1):
            if line.strip():
                yield number, self._parse(line)

    def _parse(self, line: bytes) -> Any:
        try:
            return json.loads(line.decode(), parse_constant=_refuse if self.strict else None)
        except RecursionError:
            return ParseError("JSON parse error - The value is nested too deeply.")
        except ValueError as exc:
            return ParseError(f"JSON parse error - {exc}")


def _refuse(constant: str) -> None:
    raise ValueError(f"Out of range float values are not JSON compliant: {constant!r}")


class NDJSONParser(BaseParser):
    """`application/x-ndjson`: one JSON value a line. `request.data` is a `Lines`."""

    media_type = "application/x-ndjson"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Any = None
    ) -> Lines:
        return Lines(stream.read())
