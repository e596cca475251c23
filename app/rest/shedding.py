"""More requests than a worker can serve: the surplus is refused at once, the rest is served.

    application = Shedding(handler, limit=500, exempt={"/healthz"})

Theory of operation. Above saturation a server that takes everything makes everybody wait, until
clients give up on answers that are still being made: it works, and nothing is served. So a request
that finds `limit` others under way gets 503 with `Retry-After`, before anything is done for it: no
body read, no authentication, no connection to the database. What is under way is bounded, and so is
the wait of whoever was let in.

A request is under way until its answer begins. A stream, which may last for hours, counts until its
first bytes; health probes (`exempt`) are always let in. Nothing here waits, so the count is exact.

A full house costs more than a small one: five hundred requests under way take turns, and each waits
for all others. It is worth that for a crowd that comes at once, and soon is served. A crowd that
stays is another thing (as for CoDel, RFC 8289): for all of `CROWD_SECONDS` more than twice `few`
have been under way, and the loop was slow to come round. Then no more than `few` are let in, until
for as long fewer than a tenth were refused, or the loop is quick again. Requests that wait for
something else than this worker are no such crowd: the loop comes round quickly, however many they
are.
"""

import math
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from app.loops import running_loop

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

RETRY_AFTER_SECONDS = 1
LET_IN = "app.rest.shedding.let_in"
"""True in the scope of a request that the server has let in."""

BODY = (
    b'{"detail":"This server has as many requests under way as it takes at once. Send this one'
    b' again after the seconds that Retry-After says."}'
)
HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(BODY)),
    (b"retry-after", b"%d" % RETRY_AFTER_SECONDS),
]
_REFUSAL = {"type": "http.response.start", "status": 503, "headers": HEADERS}
_REFUSAL_BODY = {"type": "http.response.body", "body": BODY}


CROWD_SECONDS = 0.1
SLOW_SECONDS, QUICK_SECONDS = 0.005, 0.001
"""A turn of the loop with a crowd that stays takes longer than the first, and one that has room for
more than `few` again less than the second.
"""


class Counts:
    """Of this worker: requests under way now, and those begun and refused (`shed`) since it
    started. `limit` and `exempt` are those of its `Shedding`; the server, which knows them from
    here, refuses what it can by itself (`app.ops.protocols`), and counts as `coming` what it has
    read until that is begun: of a crowd it reads a hundred before the first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.under_way = self.coming = self.least = 0
        self.begun = self.shed = 0
        self.exempt: frozenset[str] = frozenset()
        self.bound(math.inf)
        self._clock = clock
        self._is_crowded = self._is_measuring = False
        self._begun = self._refused = 0
        self._since = self._turn = 0.0

    def bound(self, limit: float, exempt: Collection[str] = ()) -> None:
        self.limit, self.exempt = limit, frozenset(exempt)
        self.few: float = limit if limit == math.inf else max(limit // 8, min(limit, 32))

    def enter(self) -> None:
        """One more is under way."""
        self.begun += 1
        self.under_way += 1

    def leave(self) -> None:
        """One less is under way."""
        self.under_way -= 1
        if self.under_way < self.least:  # noqa: PLR1730 - min() is a call
            self.least = self.under_way

    def are_full(self) -> bool:
        """Whether a request that comes now is to be refused."""
        return self.under_way + self.coming >= self.few and self._is_refused()

    def _is_refused(self) -> bool:
        now = self._clock()
        if now - self._since >= CROWD_SECONDS:
            self._look_around(now)
        if not self._is_measuring and (loop := running_loop()) is not None:
            self._is_measuring = True
            loop.call_soon(self._note_turn, now)
        number = self.under_way + self.coming
        is_refused = number >= (self.few if self._is_crowded else self.limit)
        self._refused += is_refused
        return is_refused

    def _look_around(self, now: float) -> None:
        """Was it a crowd that stays, since this was asked last?"""
        if self._is_crowded:
            came = self.begun - self._begun + self._refused
            is_one = self._refused * 10 >= came and now - self._since < 2 * CROWD_SECONDS
            self._is_crowded = is_one and self._turn >= QUICK_SECONDS
        else:
            self._is_crowded = self.least >= 2 * self.few and self._turn >= SLOW_SECONDS
        self._since, self._turn = now, 0.0
        self.least, self._begun, self._refused = self.under_way, self.begun, 0

    def _note_turn(self, began_at: float) -> None:
        self._is_measuring = False
        self._turn = max(self._turn, self._clock() - began_at)


counts = Counts()


class Shedding:
    """An ASGI application that lets at most `limit` requests into another at once."""

    def __init__(
        self,
        application: Application,
        *,
        limit: int,
        exempt: Collection[str] = (),
        counts: Counts = counts,
    ) -> None:
        self.application = application
        self.counts = counts
        counts.bound(limit, exempt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        counts, is_under_way = self.counts, True
        if scope["type"] != "http" or scope["path"] in counts.exempt:
            await self.application(scope, receive, send)
            return
        if not scope.get(LET_IN) and counts.are_full():
            counts.shed += 1
            await send(_REFUSAL)
            await send(_REFUSAL_BODY)
            return
        counts.enter()
        teller: Any = getattr(send, "__self__", None)
        if hasattr(teller, "on_begin"):  # a server that tells when the answer begins
            teller.on_begin = counts.leave
            try:
                await self.application(scope, receive, send)
            finally:
                if teller.on_begin is not None:
                    teller.on_begin = None
                    counts.leave()
            return

        def begin_answer(message: Any) -> Awaitable[None]:
            nonlocal is_under_way
            if is_under_way:
                is_under_way = False
                counts.leave()
            return send(message)

        begin_answer.__wrapped__ = send  # type: ignore[attr-defined]  # streams cut its connection
        try:
            await self.application(scope, receive, begin_answer)
        finally:
            if is_under_way:
                counts.leave()
