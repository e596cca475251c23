"""A proxy between app.db and its server that does what networks do: cut, stall, half-close."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOCKET = ".s.PGSQL.5432"


class Proxy:
    """Listens on a Unix socket in `directory` and passes bytes on to the socket `target`.

    `async with Proxy(...) as proxy:` app.db reaches it with `HOST=proxy.host`. Whatever is done to
    it is done to all of its connections at once.
    """

    def __init__(self, directory: Path, target: str) -> None:
        self.host = str(directory)
        self.target = self.original = target
        self.accepted = 0
        self.is_deaf = False  # accepts, and never says a word
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._triggers: list[tuple[bytes, Callable[[], None], bool]] = []

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_unix_server(self._accept, Path(self.host) / SOCKET)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        self.resume()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What can go wrong

    def cut(self) -> None:
        """Every connection is gone, on both sides, without a goodbye."""
        for pair in tuple(self._pairs):
            for writer in pair:
                writer.transport.abort()

    def stall(self) -> None:
        """Nothing comes through any more, and nobody is told."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def half_close(self) -> None:
        """The client sees the end of what the server says; what it says itself still arrives."""
        for client, _ in self._pairs:
            client.write_eof()

    def on_sent(self, text: bytes, action: Callable[[], None], *, passes_on: bool) -> None:
        """Once, when the client sends `text`: do `action`, before the server gets it or after."""
        self._triggers.append((text, action, passes_on))

    def on_answer(self, text: bytes, action: Callable[[], None]) -> None:
        """Once, when the server answers `text`: do `action` in place of passing it on."""
        self._triggers.append((b"<" + text, action, False))

    # How it passes on

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.is_deaf:
            self._pairs.add((writer, writer))
            with contextlib.suppress(OSError):
                await reader.read(-1)
            self._pairs.discard((writer, writer))
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, server_writer)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, server_writer, b""))
                group.create_task(self._pump(server_reader, writer, b"<"))
        finally:
            self._pairs.discard(pair)
            for each in pair:
                each.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: bytes
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                action, passes_on = self._triggered(direction, data)
                if action is not None and not passes_on:
                    action()
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
                if action is not None and passes_on:
                    action()
        with contextlib.suppress(OSError):
            writer.write_eof()

    def _triggered(self, direction: bytes, data: bytes) -> tuple[Callable[[], None] | None, bool]:
        for trigger in self._triggers:
            text, action, passes_on = trigger
            if text.startswith(b"<") == bool(direction) and text.removeprefix(b"<") in data:
                self._triggers.remove(trigger)
                return action, passes_on
        return None, True


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
