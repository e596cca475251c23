"""The source for a Docker engine: its containers, a few questions at a time.

An observation inspects what is new, what changed its state and what an event named; `full` inspects
everything. `sample` asks with `one-shot=true`, which spares the engine a second of waiting for each
container: CPU comes from two successive samples of our own. Engine 20.10 still answers only when
its own collector comes round, once a second: where answers are slow, more is asked at once.

The engine remembers only 256 events, so a new connection asks for those since the last one *and*
everything is read anew.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from app.agent import inspections
from app.agent.counters import Counters
from app.agent.engines import SAMPLE_SECONDS, Engine, EngineRefusedError
from app.agent.observations import Container, Observation, Sample, moment
from app.agent.sources import SourceUnavailableError

# What changes an observation. Health checks raise three events each, and change nothing.
EVENTS = {
    "type": ["container", "image"],
    "event": [
        *("create", "start", "die", "oom", "pause", "unpause", "rename", "update", "destroy"),
        *("pull", "import", "load", "tag", "untag", "delete"),
    ],
}
EVERYTHING, IMAGES = "*", "images"  # beside the ids of containers, what `_dirty` may hold

AT_ONCE, MOST_AT_ONCE = 8, 64
SLOW_SECONDS = 1.0  # a sample that takes longer makes the next one ask more at once

Answer = TypeVar("Answer")


class Containers:
    """A Source. Each method is for one caller at a time; different methods may overlap."""

    def __init__(
        self,
        engine: Engine,
        *,
        host_name: str = "",
        reserved_cpus: float | None = None,
        reserved_memory_bytes: int | None = None,
    ) -> None:
        self._engine = engine
        self._host_name = host_name
        self._reserved_cpus = reserved_cpus
        self._reserved_memory_bytes = reserved_memory_bytes
        self._info: dict[str, Any] = {}
        self._images: list[dict[str, Any]] = []
        self._reservations: dict[str, tuple[float | None, int | None]] = {}
        self._inspected: dict[str, dict[str, Any]] = {}
        self._dirty: set[str] = {EVERYTHING}
        self._running: list[tuple[str, str | None]] = []
        self._counters = Counters()
        self._at_once = AT_ONCE
        self._since: str | None = None

    async def observe(self, *, full: bool) -> Observation:
        dirty, self._dirty = self._dirty, set()
        try:
            await self._read_anew(dirty | {EVERYTHING} if full else dirty)
        except BaseException:
            self._dirty |= dirty
            raise
        return self._observation()

    async def sample(self) -> list[Sample]:
        at, began_at, running = moment(), time.monotonic(), list(self._running)
        ids = [key[0] for key in running]
        answers, errors = await gather_bounded(ids, self._read, self._at_once)
        if time.monotonic() - began_at > SLOW_SECONDS and len(ids) > self._at_once:
            self._at_once = min(2 * self._at_once, MOST_AT_ONCE)
        gone = [error for error in errors if not isinstance(error, EngineRefusedError)]
        if gone and len(errors) == len(running):
            raise gone[0]
        samples = []
        for key, stats in zip(running, answers, strict=True):
            reading = inspections.reading_from(stats) if stats else None
            cores = self._counters.advance(key, reading) if reading else None
            if reading and cores is not None:
                samples.append(Sample(key[0], at, round(cores, 6), reading.memory_bytes))
        self._counters.keep(self._running)
        return samples

    async def changes(self) -> AsyncGenerator[None, None]:
        params = {"filters": json.dumps(EVENTS)}
        if self._since:
            params["since"] = self._since
        async with aclosing(self._engine.events(**params)) as events:
            async for event in events:
                self._note(event)
                yield

    async def close(self) -> None:
        await self._engine.close()

    def _note(self, event: dict[str, Any] | None) -> None:
        """Marks what the event touched; None, a new connection, touches everything."""
        if event is None:
            self._dirty.add(EVERYTHING)
            return
        nanoseconds = int(event["timeNano"])
        self._since = f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"
        self._dirty.add(IMAGES if event["Type"] == "image" else event["Actor"]["ID"])

    async def _read_anew(self, dirty: set[str]) -> None:
        everything = EVERYTHING in dirty
        if everything:
            self._info = await self._engine.get("info")
            self._reservations = await self._read_reservations()
        if everything or IMAGES in dirty:
            self._images = await self._engine.get("images/json") or []
        listed = await self._engine.get("containers/json", all="1") or []
        stale = [
            row["Id"]
            for row in listed
            if everything or row["Id"] in dirty or not self._is_current(row)
        ]
        answers, errors = await gather_bounded(stale, self._inspect)
        if errors:
            raise errors[0]
        known = {**self._inspected, **dict(zip(stale, answers, strict=True))}
        found = {row["Id"]: known.get(row["Id"]) for row in listed}
        self._inspected = {key: value for key, value in found.items() if value is not None}

    async def _read_reservations(self) -> dict[str, tuple[float | None, int | None]]:
        if not (self._info.get("Swarm") or {}).get("ControlAvailable"):
            return {}
        return inspections.reservations_from(await self._engine.get("services") or [])

    async def _inspect(self, engine_id: str) -> dict[str, Any] | None:
        found = await self._engine.get(f"containers/{engine_id}/json")
        return None if found is None else inspections.essentials_of(found)

    async def _read(self, engine_id: str) -> dict[str, Any] | None:
        stats: dict[str, Any] | None = await self._engine.get(
            f"containers/{engine_id}/stats",
            seconds=SAMPLE_SECONDS,
            **{"stream": "false", "one-shot": "true"},
        )
        return stats

    def _is_current(self, row: dict[str, Any]) -> bool:
        known = self._inspected.get(row["Id"])
        return known is not None and known["State"]["Status"] == row["State"]

    def _observation(self) -> Observation:
        by_id = {image["Id"]: image for image in self._images}
        images = {
            (image.reference, image.digest): image
            for image in inspections.images_from(self._images)
        }
        containers: list[Container] = []
        for inspected in self._inspected.values():
            image = inspections.image_of(inspected, by_id)
            images.setdefault((image.reference, image.digest), image)
            container = inspections.container_from(inspected, image)
            containers.append(inspections.reserve(container, self._reservations))
        self._running = [
            (container.engine_id, container.started_at)
            for container in containers
            if container.state in inspections.RUNNING
        ]
        host = inspections.host_from(
            self._info,
            name=self._host_name,
            reserved_cpus=self._reserved_cpus,
            reserved_memory_bytes=self._reserved_memory_bytes,
        )
        return Observation(
            host=host, observed_at=moment(), images=list(images.values()), containers=containers
        )


async def gather_bounded(
    keys: Sequence[str],
    ask: Callable[[str], Awaitable[Answer | None]],
    limit: int = AT_ONCE,
) -> tuple[list[Answer | None], list[SourceUnavailableError]]:
    """The answers in the order of `keys`, None for none, and the errors; `limit` at once."""
    answers: list[Answer | None] = [None] * len(keys)
    errors: list[SourceUnavailableError] = []
    waiting = iter(enumerate(keys))

    async def work() -> None:
        for position, key in waiting:
            try:
                answers[position] = await ask(key)
            except SourceUnavailableError as error:
                errors.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(limit, len(keys))):
            group.create_task(work())
    return answers, errors
