"""A small API that speaks the agent protocol over real HTTP, and fails on request."""

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


async def until(condition: Callable[[], object], seconds: float = 4.0) -> None:
    """Waits for what another task, or another process, brings about."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nobody can tell us
            await asyncio.sleep(0.005)


@dataclass
class Failure:
    """What to answer instead. Status 0 cuts the connection; `stores` does so after storing."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    stores: bool = False


class Api:
    """Keeps what it acknowledged. `failures` are answered first, one for each request."""

    def __init__(self) -> None:
        self.failures: deque[Failure] = deque()
        self.requests: list[str] = []
        self.batches: list[int] = []
        self.observations: list[dict[str, Any]] = []
        self.largest_batch = 10_000
        self.ids: dict[str, int] = {}
        self.usage: dict[tuple[int, str], dict[str, Any]] = {}
        self.duplicates = 0
        self.clock: Callable[[], float] = time.monotonic
        self.arrivals: list[tuple[float, str, int, int]] = []
        """Of each answered request: when, its path, the samples in it, its bytes."""
        self._next_id = itertools.count(1)
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def engine_ids(self) -> dict[int, str]:
        return {id_: engine_id for engine_id, id_ in self.ids.items()}

    async def start(self) -> None:
        """Listens, on the same port as before where there was one."""
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/api/v1/hosts/observe/", self._observe)
        app.router.add_post("/api/v1/usage/", self._record)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def lose_database(self) -> None:
        """Everything that was stored is gone; ids begin elsewhere."""
        self.ids.clear()
        self.usage.clear()
        self._next_id = itertools.count(1_000)

    async def _observe(self, request: web.Request) -> web.StreamResponse:
        if (answer := self._fail(request)) is not None:
            return answer
        body = await request.json()
        self._note(request, await request.text())
        self.observations.append(body)
        for container in body["containers"]:
            if container["engine_id"] not in self.ids:
                self.ids[container["engine_id"]] = next(self._next_id)
        ids = {each["engine_id"]: self.ids[each["engine_id"]] for each in body["containers"]}
        return web.json_response({"host": 1, "containers": ids})

    async def _record(self, request: web.Request) -> web.StreamResponse:
        if self.failures and self.failures[0].stores:
            self._store(await request.text())
        if (answer := self._fail(request)) is not None:
            return answer
        text = await request.text()
        if text.count("\n") > self.largest_batch:
            return web.json_response({"detail": "Too large."}, status=413)
        self._note(request, text)
        self.batches.append(text.count("\n"))
        stored, duplicates, rejected = self._store(text)
        return web.json_response({"stored": stored, "duplicates": duplicates, "rejected": rejected})

    def _note(self, request: web.Request, text: str) -> None:
        lines = text.count("\n") if request.path.startswith("/api/v1/usage/") else 0
        self.arrivals.append((self.clock(), request.path, lines, len(text)))

    def _store(self, text: str) -> tuple[int, int, list[dict[str, Any]]]:
        stored, duplicates, rejected = 0, 0, []
        known = set(self.ids.values())
        for number, line in enumerate(text.splitlines(), 1):
            sample = json.loads(line)
            key = (sample["container"], sample["at"])
            if sample["container"] not in known:
                errors = {"container": ["Unknown."]}
                rejected.append({"line": number, "errors": errors})
            elif key in self.usage:
                duplicates += 1
            else:
                self.usage[key] = sample
                stored += 1
        self.duplicates += duplicates
        return stored, duplicates, rejected

    def _fail(self, request: web.Request) -> web.StreamResponse | None:
        self.requests.append(request.path)
        if not self.failures:
            return None
        failure = self.failures.popleft()
        if failure.status == 0:
            assert request.transport is not None
            request.transport.abort()
            raise asyncio.CancelledError
        return web.json_response(
            {"detail": "As told."}, status=failure.status, headers=dict(failure.headers)
        )
