"""Clients of server-sent events on bare sockets, who come back as EventSource does."""

import asyncio
import contextlib
import json
import random
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Watcher:
    """Follows a list from a position on, and remembers the positions that it was told."""

    port: int
    token: str
    position: int
    seen: list[int] = field(default_factory=list)
    returns: int = 0
    path: str = "events/"
    told: list[dict[str, Any]] = field(default_factory=list)
    """What was told, beside its positions; of `events/` nothing."""

    async def run(self) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self.watch()
            self.returns += 1
            await asyncio.sleep(random.uniform(0.2, 1.5))  # as `retry:` has it: not all at once

    async def watch(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(
                f"GET /api/v1/{self.path}?watch=true HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Authorization: Bearer {self.token}\r\nAccept: text/event-stream\r\n"
                f"Last-Event-ID: {self.position}\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n")[0]:
                return  # it starts, or goes, or has enough to do: 503
            async for block in blocks(reader):
                self._hear(block)
        finally:
            writer.close()

    def _hear(self, block: str) -> None:
        number = re.search(r"^id: (\d+)$", block, re.MULTILINE)
        if number and "event: " not in block:
            self.position = int(number[1])
            self.seen.append(self.position)
            if self.path != "events/":
                (data,) = re.findall(r"^data: (.*)$", block, re.MULTILINE)
                self.told.append(json.loads(data)["object"])


async def blocks(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    """The events of a chunked answer; one that is cut off is none."""
    rest = b""
    while size := int(await reader.readline() or b"0", 16):
        rest += await reader.readexactly(size)
        await reader.readexactly(2)
        *whole, rest = rest.split(b"\n\n")
        for block in whole:
            yield block.decode()


@contextlib.asynccontextmanager
async def following(watchers: list[Watcher]):
    """They run for as long as the block does."""
    tasks = [asyncio.create_task(one.run()) for one in watchers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                raise ended
