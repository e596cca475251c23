"""The simulated agents: a coroutine for each host, over HTTP, with a ledger of what was stored."""

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from load.simulation.fleets import Host

RELIST_SECONDS = 60.0
PATIENCE_SECONDS = 60.0
"""How long an API may be away before a run is given up."""


@dataclass
class Ledger:
    """What the API has acknowledged, by the engine's id of the container: count and sums."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    memory: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    seconds: list[float] = field(default_factory=list)
    repeats: int = 0

    def note(self, batch: Sequence[tuple[str, dict[str, Any]]]) -> None:
        for engine_id, sample in batch:
            self.counts[engine_id] += 1
            self.cpu[engine_id] += sample["cpu_cores"]
            self.memory[engine_id] += sample["memory_bytes"]

    @property
    def samples(self) -> int:
        return sum(self.counts.values())


@dataclass
class Agents:
    """All of them. `urls` are the workers of the API; a request that fails goes to another."""

    session: aiohttp.ClientSession
    urls: list[str]
    ledger: Ledger = field(default_factory=Ledger)

    async def report(self, hosts: Sequence[Host], moments: Callable[[], Any]) -> None:
        """Each host reports at each moment that an iterator of `moments()` gives."""
        async with asyncio.TaskGroup() as group:
            for host in hosts:
                group.create_task(self._run(host, moments()))

    async def _run(self, host: Host, moments: Any) -> None:
        ids: dict[str, int] = {}
        seen: tuple[Any, ...] = ()
        observed_at = 0.0
        async for at in moments:
            signature = host.signature(at)
            if signature != seen or at - observed_at >= RELIST_SECONDS:
                answer = await self._post("hosts/observe/", json.dumps(host.observation(at)))
                ids, seen, observed_at = answer["containers"], signature, at
            batch = list(host.samples(at))
            lines = (json.dumps(sample | {"container": ids[key]}) for key, sample in batch)
            answer = await self._post("usage/", "\n".join(lines), "application/x-ndjson")
            if answer["stored"] + answer["duplicates"] != len(batch):
                raise RuntimeError(f"{host.name} sent {len(batch)} samples, of which: {answer}")
            self.ledger.note(batch)

    async def _post(self, path: str, body: str, media_type: str = "application/json") -> Any:
        """The answer, after as many tries as it takes: sending again stores nothing twice."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            url = f"{random.choice(self.urls)}/api/v1/{path}"
            started = time.perf_counter()
            try:
                async with self.session.post(
                    url, data=body, headers={"Content-Type": media_type}
                ) as response:
                    content = await response.read()
                    if response.status < 400:
                        self.ledger.seconds.append(time.perf_counter() - started)
                        return json.loads(content)
                    if response.status not in {408, 429, 500, 502, 503, 504}:
                        raise RuntimeError(f"{url}: {response.status} {content[:500]!r}")
                    problem = f"{response.status} {content[:200]!r}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                problem = repr(error)
            if time.monotonic() > until:
                raise RuntimeError(f"{url} is away for too long: {problem}")
            self.ledger.repeats += 1
            await asyncio.sleep(random.uniform(0.05, 0.5))


@asynccontextmanager
async def agents(urls: list[str], token: str) -> AsyncIterator[Agents]:
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {token}"},
        connector=aiohttp.TCPConnector(limit=64),
        timeout=aiohttp.ClientTimeout(total=30),
    ) as session:
        yield Agents(session, urls)
