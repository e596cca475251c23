"""Server-sent events as WHATWG's HTML standard has them (9.2): events to bytes. Pure.

    id: 17
    event: bookmark
    data: {"position": 17}

An event ends with a blank line. A client that was cut off comes back by itself, and says in
`Last-Event-ID` how far it had come. A line that starts with a colon is a comment, and tells only
that the connection lives.
"""

import re
from dataclasses import dataclass
from typing import Any

from rest_framework.exceptions import ValidationError

MEDIA_TYPE = "text/event-stream"
HEARTBEAT = b":\n\n"

# What ends a line: CR LF, LF or CR, and nothing else that Python would take for an end.
_LINE_ENDS = re.compile("\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """`data` is text; without a name the browser calls `onmessage`. `retry_ms`: how long a client
    that is cut off waits before it comes back.
    """

    data: str = ""
    name: str = ""
    id: str | None = None
    retry_ms: int | None = None

    def encode(self) -> bytes:
        """Raises ValueError for a name or an id that the format has no room for."""
        lines = []
        if self.retry_ms is not None:
            lines.append(f"retry: {int(self.retry_ms)}")
        if self.id is not None:
            if any(character in self.id for character in "\r\n\0"):
                raise ValueError(f"An id is one line, without U+0000: {self.id!r}")
            lines.append(f"id: {self.id}")
        if self.name:
            if _LINE_ENDS.search(self.name):
                raise ValueError(f"A name is one line: {self.name!r}")
            lines.append(f"event: {self.name}")
        if self.data or self.name or not lines:
            lines += [f"data: {line}" for line in _LINE_ENDS.split(self.data)]
        return ("\n".join(lines) + "\n\n").encode()


def message(data: bytes, id: int) -> bytes:  # noqa: A002 - the field's name
    """An event whose data is one line that is encoded already, such as JSON."""
    return b"id: %d\ndata: %b\n\n" % (id, data)


def last_position(request: Any) -> int | None:
    """`Last-Event-ID` where ids are numbers; None without it.

    Raises ValidationError (400) for what is none.
    """
    text = request.META.get("HTTP_LAST_EVENT_ID", "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < 2**63):
        raise ValidationError(
            {"Last-Event-ID": ["Write the id of the last event that came, or leave it out."]}
        )
    return int(text)
