"""A request to the ASGI application as it stands: every byte of it is the test's own."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

Headers = Sequence[tuple[bytes, bytes]]


@dataclass
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def __getitem__(self, name: str) -> str:
        wanted = name.lower().encode()
        return ", ".join(v.decode("latin1") for n, v in self.headers if n.lower() == wanted)

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    method: str,
    path: str,
    headers: Headers = (),
    chunks: Sequence[bytes] = (),
    *,
    query: bytes = b"",
    application: Any = None,
) -> Answer:
    """The answer to a request with these headers and no others but Host."""
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "path": path,
        "query_string": query, "root_path": "", "scheme": "http",
        "server": ("testserver", 80), "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"testserver"), *headers],
    }  # fmt: skip
    waiting, gone, sent = list(chunks) or [b""], asyncio.Event(), []

    async def receive() -> dict[str, Any]:
        if not waiting:
            await gone.wait()
        chunk = waiting.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    run = application or import_string(settings.ASGI_APPLICATION)
    await run(scope, receive, send)
    start, *rest = sent
    assert start["type"] == "http.response.start"
    assert [one.get("more_body", False) for one in rest][-1] is False
    return Answer(
        start["status"], list(start["headers"]), b"".join(m.get("body", b"") for m in rest)
    )


def with_length(body: bytes, *headers: tuple[bytes, bytes]) -> Headers:
    return [*headers, (b"content-length", str(len(body)).encode())]
