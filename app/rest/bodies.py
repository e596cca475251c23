"""The body of a request, read from the server when somebody asks for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from django.core.exceptions import RequestAborted

from app.rest.exceptions import RequestTooLarge
from app.rest.heads import head_of
from app.rest.moments import Moment

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Body:
    """The body of a request, read from the server when asked for, never beyond `limit` bytes."""

    __slots__ = (
        "_begun", "_complete", "_is_streamed", "_reading", "content", "head", "length", "limit",
        "receive",
    )  # fmt: skip

    def __init__(self, scope: dict[str, Any], receive: Receive, limit: int | None) -> None:
        self.receive = receive
        self.limit = limit
        self._complete: Moment | None = None
        self.content: bytes | None = None
        self.head = head_of(scope["headers"])
        self.length = self.head.length
        self._reading: asyncio.Lock | None = None
        self._begun: Moment | None = None
        self._is_streamed = False

    @property
    def complete(self) -> Moment:
        """That all of it has come."""
        if self._complete is None:
            self._complete = Moment()
        return self._complete

    @property
    def begun(self) -> Moment:
        """That somebody reads it."""
        if self._begun is None:
            self._begun = Moment()
        return self._begun

    @property
    def is_untouched(self) -> bool:
        """Whether nobody has begun to read it."""
        return self._begun is None or not self._begun.is_set()

    async def read(self) -> bytes:
        """The whole body. Raises RequestTooLarge, or RequestAborted when the client left."""
        if self.content is None:
            self.begun.set()
            self._check(self.length)
            if not self._take():
                if self._reading is None:
                    self._reading = asyncio.Lock()
                async with self._reading:
                    if self.content is None:
                        self.content = await self._read()
        assert self.content is not None
        return self.content

    def _take(self) -> bool:
        """Have the whole body at once, of a server that has all of it and says so
        (`app.ops.cycles`). Raises RequestTooLarge.
        """
        if self._reading is not None or self._is_streamed:
            return False
        take = getattr(getattr(self.receive, "__self__", None), "take_body", None)
        content: bytes | None = None if take is None else take()
        if content is None:
            return False
        self._check(len(content))
        self.complete.set()
        self.content = content
        return True

    async def wait_for_client_to_leave(self) -> bool:
        """True once the client has left; False if a body too large to read hides that."""
        try:
            if self.length:
                await self.begun.wait()  # whoever reads it decides how
            if self._is_streamed:
                await self.complete.wait()
            else:
                await self.read()
            return (await self.receive())["type"] == "http.disconnect"
        except RequestAborted:
            return True
        except RequestTooLarge:
            return False

    async def _read(self) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in self._chunks():
            size += len(chunk)
            self._check(size)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, whatever its size; for views that never hold all of it."""
        self.begun.set()
        self._is_streamed = True
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        more = not self.complete.is_set()
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise RequestAborted
            more = message.get("more_body", False)
            if not more:
                self.complete.set()
            if message.get("body"):
                yield message["body"]

    def _check(self, size: int) -> None:
        if self.limit is not None and size > self.limit:
            raise RequestTooLarge(self.limit)
