"""More requests than a worker can serve: the surplus is refused at once, the rest is served.

    application = Shedding(handler, limit=500, exempt={"/healthz"})

Theory of operation. Above saturation a server that takes everything makes everybody wait, until
clients give up on answers that are still being made: it works, and nothing is served. So a request
that finds `limit` others under way gets 503 with `Retry-After`, before anything is done for it: no
body read, no authentication, no connection to the database. What is under way is bounded, and so is
the wait of whoever was let in.

A request is under way until its answer begins. A stream, which may last for hours, counts until its
first bytes; health probes (`exempt`) are always let in. Nothing here waits, so the count is exact.
"""

import math
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

RETRY_AFTER_SECONDS = 1

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


class Counts:
    """Of this worker: requests under way now, and those refused since it started. `limit` and
    `exempt` are those of a `Shedding` that tells them to its server, which then refuses what it can
    by itself (`app.ops.protocols`).
    """

    def __init__(self) -> None:
        self.under_way = 0
        self.shed = 0
        self.limit: float = math.inf
        self.exempt: frozenset[str] = frozenset()


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
        tells_server: bool = False,
    ) -> None:
        self.application = application
        self.limit = limit
        self.exempt = frozenset(exempt)
        self.counts = counts
        if tells_server:
            counts.limit, counts.exempt = limit, self.exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self.exempt:
            await self.application(scope, receive, send)
            return
        counts, is_under_way = self.counts, True
        if counts.under_way >= self.limit:
            counts.shed += 1
            await send(_REFUSAL)
            await send(_REFUSAL_BODY)
            return
        counts.under_way += 1

        def begin_answer(message: Any) -> Awaitable[None]:
            nonlocal is_under_way
            if is_under_way:
                is_under_way = False
                counts.under_way -= 1
            return send(message)

        begin_answer.__wrapped__ = send  # type: ignore[attr-defined]  # streams cut its connection
        try:
            await self.application(scope, receive, begin_answer)
        finally:
            if is_under_way:
                counts.under_way -= 1
