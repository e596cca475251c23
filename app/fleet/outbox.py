"""Reading the outbox by position: pages of events, the last position, and how far back it goes."""

import time
from collections.abc import Awaitable, Callable

from app import db
from app.errors import DomainError
from app.fleet.models import Event
from app.rest.sharing import Shared

PAGE = 200
LASTING_SECONDS = 5.0

LAST = """
    SELECT greatest(
        (SELECT max(position) FROM fleet_event),
        (SELECT max(position) FROM fleet_event_compaction),
        0
    ) AS position
"""

BOUNDS = LAST.replace(
    "SELECT", "SELECT coalesce((SELECT max(position) FROM fleet_event_compaction), 0) AS until,", 1
)
_bounds: Shared[tuple[int, int]] = Shared()


class Compacted(DomainError):  # noqa: N818 - as its siblings in app.errors
    """Events after that position are kept no longer, or it was never given."""

    code = "gone"

    def __init__(self, detail: str, position: int) -> None:
        super().__init__(f"{detail} Read the objects anew, then go on after {position}.")
        self.position = position


async def last_position() -> int:
    """Every event up to here is visible to whoever reads after this."""
    return int((await db.fetch(LAST))[0]["position"])


async def read_events(after: int, until: int | None = None, limit: int = PAGE) -> list[Event]:
    """Events after a position, in order."""
    events = Event.objects.committed().after(after)
    if until is not None:
        events = events.filter(position__lte=until)
    return [event async for event in events[:limit]]


async def read_bounds() -> tuple[int, int]:
    """Up to which position events may be missing, and the last position."""
    (row,) = await db.fetch(BOUNDS)
    return row["until"], row["position"]


async def check_position(after: int) -> None:
    """Raises Compacted when what happened after that position can't be told any more."""
    until, last = await _bounds.get(None, read_bounds)
    if after > last:  # given since that reading, which others share, began
        until, last = await read_bounds()
    if after < until:
        raise Compacted(f"Events up to {until} are kept no longer.", until)
    if after > last:  # of another database, or of this one before it was restored
        raise Compacted(f"Position {after} was never given: the last is {last}.", last)


class PositionCache:
    """A position for lists to tell: some seconds old at most, so that it costs them nothing.

    One that is old is as right: a watch from there tells of some changes that the list has already.
    """

    def __init__(self, read: Callable[[], Awaitable[int]]) -> None:
        self.read = read
        self.position = 0
        self.until = 0.0

    async def get(self) -> int:
        now = time.monotonic()
        if now > self.until:
            self.position = await self.read()
            self.until = now + LASTING_SECONDS
        return self.position

    def forget(self) -> None:
        self.until = 0.0


positions = PositionCache(last_position)
