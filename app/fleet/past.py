"""What happened before a watcher came: pages of the outbox, read once for all who come from the
same place.

After a restart every watcher is back at once, and most of them had come equally far. While somebody
catches up, a group keeps its last pages, encoded; whoever asks for a page that is being read waits
for that reading. So a thousand watchers who come back cost about as much as one. Nothing is kept
when nobody catches up.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from app.fleet.outbox import PAGE, read_events
from app.fleet.services import retention
from app.fleet.topics import Selection
from app.rest.renderers import JSONRenderer
from app.rest.sharing import Shared
from app.rest.sse import ServerSentEvent

KEPT_PAGES = 8


class Page(NamedTuple):
    """What to send, and how far that goes; `last` is 0 when what comes after can't be told."""

    block: bytes
    last: int


class Past:
    """Pages for one group's watchers. `read` makes one: what happened after a position, up to
    another at most.
    """

    def __init__(self, read: Callable[[int, int], Awaitable[Page]]) -> None:
        self.read = read
        self.readers = 0
        self._target = 0
        self._pages: dict[int, Page] = {}
        self._readings: Shared[Page] = Shared()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """For as long as somebody catches up."""
        self.readers += 1
        try:
            yield
        finally:
            self.readers -= 1
            if not self.readers:
                self._pages.clear()

    async def page(self, cursor: int, target: int) -> Page:
        """What happened after `cursor`, up to `target` at most."""
        if target != self._target:
            self._target = target
            self._pages.clear()
        page = self._pages.get(cursor)
        if page is None:
            page = await self._readings.get((cursor, target), partial(self.read, cursor, target))
            self._keep(cursor, target, page)
        return page

    def _keep(self, cursor: int, target: int, page: Page) -> None:
        if target == self._target and page.last and self.readers:
            self._pages[cursor] = page
            if len(self._pages) > KEPT_PAGES:
                del self._pages[next(iter(self._pages))]


async def read_page(selection: Selection, cursor: int, target: int) -> Page:
    """A page of the outbox, as those who made this selection are told of it."""
    events = await read_events(cursor, target)
    # Asked after they were read: what was missing is known to be missing by now.
    until = await retention.compacted_until()
    if cursor < until:
        return Page(gone(f"Events up to {until} are kept no longer.", until), 0)
    block = selection.select_past(await selection.topic.changes(events))
    last = events[-1].position if len(events) == PAGE else target
    assert last is not None
    return Page(block, last)


def gone(detail: str, position: int) -> bytes:
    """The last event of a stream whose next one can't be told."""
    data = JSONRenderer().render({"detail": detail, "position": position})
    return ServerSentEvent(data.decode(), name="gone").encode()
