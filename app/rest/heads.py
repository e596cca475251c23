"""What the headers of a request say, read once for clients that send the same ones again.

A client sends the same headers with each of its requests, but for those of a body. So what was
made of them is kept, for the `MOST_HEADS` that were read last, by the headers themselves: whatever
differs is read anew. Nothing here is ever changed; each request takes copies.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from app.rest.body_headers import codec_of, parameters_of
from app.rest.exceptions import ValidationError

__all__ = ["Head", "head_of"]

MOST_HEADS = 1024
LONGEST = 2048
"""Bytes; larger ones are read anew each time: what strangers send shall not fill the memory."""

_MOST_BYTES = 10**18
_PLAIN_TYPES = {"", "application/json", "application/x-ndjson"}

Headers = Iterable[tuple[bytes, bytes]]


@lru_cache(maxsize=512)
def meta_key(name: bytes) -> str:
    """A header's name as META spells it; empty for one that could pass for another."""
    text = name.decode("latin1")
    if "_" in text:
        return ""
    if text in {"content-length", "content-type"}:
        return text.upper().replace("-", "_")
    return f"HTTP_{text.upper().replace('-', '_')}"


_OF_EACH_REQUEST: dict[str, Any] = {
    "REQUEST_METHOD": "",
    "QUERY_STRING": "",
    "SCRIPT_NAME": "",
    "PATH_INFO": "",
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "SERVER_NAME": "unknown",
    "SERVER_PORT": "0",
    "REMOTE_ADDR": "",
    "REMOTE_HOST": "",
    "REMOTE_PORT": 0,
}


class Head:
    """`meta`: the headers as `request.META` has them, beside what each request fills in. `length`
    of the body in bytes: -1 if it comes in pieces of a number unknown, 0 if it can't be read.
    `codec`: None for none that is known.
    """

    __slots__ = ("codec", "content_params", "content_type", "length", "meta")

    def __init__(self, headers: Headers) -> None:
        self.length = 0
        self.meta = _OF_EACH_REQUEST.copy()
        self._read(headers)
        meta = self.meta
        if "HTTP_TRANSFER_ENCODING" in meta and not meta.get("CONTENT_LENGTH"):
            # DRF takes a request without a length for one without a body.
            meta["CONTENT_LENGTH"] = "-1"
        self.content_type: str = meta.get("CONTENT_TYPE", "")
        self.content_params: dict[str, str] = {}
        self.codec: str | None = None
        if self.content_type not in _PLAIN_TYPES:
            self._read_content_type()

    def _read(self, headers: Headers) -> None:
        meta, has_length = self.meta, False
        for name, value in headers:
            key, text = meta_key(name), value.decode("latin1")
            if key in meta:
                meta[key] = f"{meta[key]},{text}"
            elif key:
                meta[key] = text
            if name == b"content-length" and not has_length:
                has_length = True
                self.length = _number_of(value)
            elif name == b"transfer-encoding" and not has_length:
                self.length = -1

    def of_length(self, length: bytes) -> "Head":
        """The same headers, and a Content-Length."""
        head = object.__new__(Head)
        head.length = _number_of(length)
        head.meta = self.meta.copy()
        head.meta["CONTENT_LENGTH"] = length.decode("latin1")
        head.content_type, head.content_params = self.content_type, self.content_params
        head.codec = self.codec
        return head

    def _read_content_type(self) -> None:
        """Django's, for any header: what can't be read is refused when the body is."""
        whole = self.content_type
        try:
            self.content_type, self.content_params = parameters_of(whole)
        except ValidationError:
            self.content_type, self.content_params = whole.partition(";")[0].strip(), {}
        self.codec = codec_of(self.content_params.get("charset", ""))


def _number_of(value: bytes) -> int:
    if not value.isdigit():
        return 0
    return int(value) if len(value) < len(str(_MOST_BYTES)) else _MOST_BYTES


_heads: dict[tuple[tuple[bytes, bytes], ...], Head] = {}


def head_of(headers: Headers) -> Head:
    """The head of these headers, whose names are in lower case (ASGI)."""
    key = tuple(headers)
    try:
        return _heads[key]
    except KeyError:
        pass
    except TypeError:  # a test's, of lists
        return Head(key)
    # Of a body each says another length.
    lengths = [value for name, value in key if name == b"content-length"]
    if not lengths:
        return _kept(key)
    head = None
    if len(lengths) == 1:
        head = _kept(tuple([pair for pair in key if pair[0] != b"content-length"]))
    return Head(key) if head is None or head.length else head.of_length(lengths[0])


def _kept(key: tuple[tuple[bytes, bytes], ...]) -> Head:
    head = _heads.get(key)
    if head is None:
        head = Head(key)
        if not head.length and sum(len(name) + len(value) for name, value in key) <= LONGEST:
            if len(_heads) >= MOST_HEADS:
                del _heads[next(iter(_heads))]
            _heads[key] = head
    return head
