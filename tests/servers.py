"""A real uvicorn in the test's own loop, on a port that the kernel chooses; raw clients of it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from app.ops.protocols import BoundedProtocol


class _Server(uvicorn.Server):
    """Leaves signals to pytest."""

    def capture_signals(self) -> Any:
        return contextlib.nullcontext()


async def until(is_so: Callable[[], object], seconds: float = 4.0) -> None:
    """Wait until it is so. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(application: Any, **options: Any) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """uvicorn with the application, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(application, **{
            "http": BoundedProtocol, "ws": "none", "lifespan": "off", "log_config": None,
            "access_log": False, "timeout_graceful_shutdown": 2, **options,
        })  # fmt: skip
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        try:
            yield server, listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


class RawClient:
    """One connection that sends a GET and reads what comes, bytes for bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.head = b""

    @classmethod
    async def get(cls, port: int, path: str, **headers: str) -> "RawClient":
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = [f"GET {path} HTTP/1.1", "Host: testserver"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        client = cls(reader, writer)
        client.head = await reader.readuntil(b"\r\n\r\n")
        return client

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    async def chunk(self) -> bytes | None:
        """The next chunk of a chunked body; None at its proper end. Raises IncompleteReadError."""
        size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
        data = await self.reader.readexactly(size + 2)
        return data[:-2] if size else None

    async def event(self) -> dict[str, str]:
        """The next server-sent event, comments passed over; a chunk holds one here."""
        while True:
            chunk = await self.chunk()
            assert chunk is not None, "the stream has ended"
            fields = [line.partition(": ") for line in chunk.decode().strip().split("\n")]
            found = {name: value for name, _, value in fields if name and not name.startswith(":")}
            if found:
                return found

    async def body(self) -> bytes:
        chunks = []
        while (chunk := await self.chunk()) is not None:
            chunks.append(chunk)
        return b"".join(chunks)

    async def leave(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
