"""A small Docker engine on a Unix socket: real HTTP, the answers that the agent asks for."""

import asyncio
import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.agent import payloads


class FakeEngine:
    """Speaks `version` and nothing below `minimum`, as Engine 29 does. Containers are by id."""

    def __init__(self, socket: Path, *, version: str = "1.52", minimum: str = "1.44") -> None:
        self.socket = socket
        self.version = version
        self.minimum = minimum
        self.containers: dict[str, dict[str, Any]] = {}
        self.images = deepcopy(payloads.IMAGES)
        self.inspections: list[str] = []
        self.event_queries: list[dict[str, str]] = []
        self.failing_stats: set[str] = set()
        self.cpu_total = 0
        self._streams: list[asyncio.Queue[dict[str, Any] | None]] = []
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/version", self._version)
        for path, handler in {
            "info": self._info,
            "images/json": self._images,
            "containers/json": self._list,
            "containers/{id}/json": self._inspect,
            "containers/{id}/stats": self._stats,
            "events": self._events,
        }.items():
            app.router.add_get("/v{api}/" + path, self._checked(handler))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        self.socket.unlink(missing_ok=True)
        await web.UnixSite(self._runner, str(self.socket)).start()

    async def stop(self) -> None:
        for stream in self._streams:
            stream.put_nowait(None)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self.socket.unlink(missing_ok=True)

    def run(self, engine_id: str, **state: Any) -> None:
        """A container appears, or changes its state; the event follows."""
        inspected = deepcopy(payloads.INSPECTED)
        inspected |= {"Id": engine_id, "Name": f"/{engine_id}"}
        inspected["State"] |= state
        self.containers[engine_id] = inspected
        self.tell("container", "start", engine_id)

    def remove(self, engine_id: str) -> None:
        del self.containers[engine_id]
        self.tell("container", "destroy", engine_id)

    def tell(self, kind: str, action: str, actor: str) -> None:
        event = {
            "Type": kind,
            "Action": action,
            "Actor": {"ID": actor, "Attributes": {}},
            "timeNano": 1_795_467_189_000_000_000 + len(self.inspections),
        }
        for stream in self._streams:
            stream.put_nowait(event)

    def _checked(self, handler: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
        async def check(request: web.Request) -> web.StreamResponse:
            asked = tuple(map(int, request.match_info["api"].split(".")))
            if asked < tuple(map(int, self.minimum.split("."))):
                message = f"client version {asked} is too old. Minimum is {self.minimum}"
                return web.json_response({"message": message}, status=400)
            answer: web.StreamResponse = await handler(request)
            return answer

        return check

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"ApiVersion": self.version, "MinAPIVersion": self.minimum})

    async def _info(self, request: web.Request) -> web.Response:
        return web.json_response(payloads.INFO)

    async def _images(self, request: web.Request) -> web.Response:
        return web.json_response(self.images)

    async def _list(self, request: web.Request) -> web.Response:
        rows = [
            {"Id": each["Id"], "State": each["State"]["Status"]}
            for each in self.containers.values()
        ]
        return web.json_response(rows)

    async def _inspect(self, request: web.Request) -> web.Response:
        self.inspections.append(request.match_info["id"])
        found = self.containers.get(request.match_info["id"])
        return web.json_response(
            found or {"message": "No such container"}, status=200 if found else 404
        )

    async def _stats(self, request: web.Request) -> web.Response:
        if request.match_info["id"] in self.failing_stats:
            return web.json_response({"message": "broken"}, status=500)
        if request.match_info["id"] not in self.containers:
            return web.json_response({"message": "No such container"}, status=404)
        assert request.query["one-shot"] == "true"
        self.cpu_total += 10**9
        stats = deepcopy(payloads.STATS_V2)
        stats["cpu_stats"]["cpu_usage"]["total_usage"] = self.cpu_total
        stats["cpu_stats"]["system_cpu_usage"] = 10 * self.cpu_total
        return web.json_response(stats)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self.event_queries.append(dict(request.query))
        stream: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._streams.append(stream)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while (event := await stream.get()) is not None:
                await response.write(json.dumps(event).encode() + b"\n")
        finally:
            self._streams.remove(stream)
        return response
