"""Forms, checked while Django's parsers read them.

Django passes over a part of a multipart body that it can't read, takes bytes that are no UTF-8 for
U+FFFD, and a body that was cut off for a whole one. What was sent would be lost, and nobody told:
here each is a 400 that says which field, or which part.
"""

import codecs
from typing import Any
from urllib.parse import unquote_plus, unquote_to_bytes

from django.utils.http import parse_header_parameters
from rest_framework.exceptions import ParseError, ValidationError

__all__ = ["CheckedMultipart", "check_form", "text_error"]

MOST_HEAD_BYTES = 1024
"""Of the headers of a part, as in Django."""


def text_error(field: str, encoding: str) -> ValidationError:
    name = codecs.lookup(encoding).name.upper()
    return ValidationError({field[:100]: [f"Holds bytes that are no {name}. Send text as {name}."]})


def check_form(body: bytes, encoding: str) -> None:
    """Raises ValidationError that names the first field whose text can't be read."""
    try:
        unquote_to_bytes(body).decode(encoding)
    except UnicodeError:
        for pair in body.split(b"&"):
            try:
                unquote_to_bytes(pair).decode(encoding)
            except UnicodeError:
                name = pair.partition(b"=")[0].decode("ascii", "backslashreplace")
                name = unquote_plus(name, errors="backslashreplace")
                raise text_error(name, encoding) from None


class CheckedMultipart:
    """A multipart body that a parser reads through this. Raises ParseError or ValidationError
    where it is broken, and at its end if its last boundary never came.

    Theory of operation. `_buffer` holds what was read and not yet judged: the headers of a part, or
    the last bytes of its content, which may be half of a boundary. Memory holds a chunk.
    """

    def __init__(self, stream: Any, boundary: str, encoding: str) -> None:
        self._stream = stream
        self._boundary = b"--" + boundary.encode()
        self._encoding = encoding
        self._buffer = b"\r\n"  # the first boundary may stand at the very start
        self._state = self._content
        self._part = 0
        self._field = ""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._skip = 0
        self._is_complete = False

    def read(self, size: int | None = None) -> bytes:
        content: bytes = self._stream.read() if size is None else self._stream.read(size)
        if not self._is_complete:
            self._buffer += content
            while self._state():
                pass
            if not content and not self._is_complete:
                shown = self._boundary.decode()
                raise ParseError(
                    f"Multipart form parse error - The body ends without its last line, {shown}--."
                    " It was cut off, or the boundary in Content-Type is another."
                )
        return content

    # States: each judges what it can, and says whether there may be more to judge.

    def _content(self) -> bool:
        place = self._buffer.find(self._boundary)
        if place < 0:
            keep = len(self._boundary) + 1
            self._judge_text(self._buffer[:-keep])
            self._buffer = self._buffer[-keep:]
            return False
        if self._buffer[place - 2 : place] != b"\r\n":
            raise self._broken("holds the boundary inside a line. Choose another boundary")
        self._judge_text(self._buffer[: place - 2], final=True)
        self._buffer = self._buffer[place + len(self._boundary) :]
        self._state = self._after_boundary
        return True

    def _after_boundary(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer.startswith(b"--"):
            self._is_complete, self._buffer = True, b""
            return False
        self._part += 1
        if self._buffer[:1] not in b"\r \t":
            raise self._broken("starts on the boundary's own line")
        self._state = self._head
        return True

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 and len(self._buffer) <= MOST_HEAD_BYTES:
            return False
        if end < 0 or end > MOST_HEAD_BYTES:
            raise self._broken(f"has more than {MOST_HEAD_BYTES} bytes of headers")
        self._read_head(self._buffer[:end])
        self._buffer = self._buffer[end + 2 :]  # a boundary may follow at once
        self._state = self._content
        return True

    def _read_head(self, head: bytes) -> None:
        disposition: dict[str, str] | None = None
        for line in head.split(b"\r\n"):
            try:
                value, parameters = parse_header_parameters(line.decode())
            except UnicodeDecodeError:
                raise self._broken("has headers that are no UTF-8") from None
            except (LookupError, TypeError, ValueError):
                raise self._broken("has headers that can't be read") from None
            if value.partition(":")[0] == "content-disposition":
                disposition = parameters
        if disposition is None or not disposition.get("name", "").strip():
            raise self._broken(
                'has no name: it needs a line such as Content-Disposition: form-data; name="field"'
            )
        self._field = disposition["name"].strip()
        is_file = bool(disposition.get("filename"))
        self._decoder = None if is_file else codecs.getincrementaldecoder(self._encoding)()
        self._skip = 2

    def _judge_text(self, content: bytes, final: bool = False) -> None:
        if self._decoder is None:
            return
        if self._skip:  # the end of the headers' last line
            content, self._skip = content[self._skip :], max(0, self._skip - len(content))
        try:
            self._decoder.decode(content, final)
        except UnicodeError:
            raise text_error(self._field, self._encoding) from None

    def _broken(self, what: str) -> ParseError:
        return ParseError(f"Multipart form parse error - Part {self._part} {what}.")
