"""The live end of the samples: the journal, read once in each worker for all who watch.

As `app.fleet.tail`, but nobody is woken: while somebody watches, the journal is read twice a
second, and nothing is asked of those who store.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.fleet.models import Container, Usage
from app.fleet.outbox import Compacted
from app.fleet.past import Page, Past, gone
from app.fleet.predicates import Predicate
from app.fleet.serializers import UsageSerializer
from app.fleet.tail import Group, Tail
from app.fleet.usage_journal import Told, last_position, read
from app.rest import sse
from app.rest.breathing import Breather
from app.rest.renderers import JSONRenderer

LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Matches:
    """The filters of a watcher: of the container, as it is now, and of the sample's moment."""

    container: Predicate | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __call__(self, sample: Usage, containers: dict[int, Container]) -> bool:
        if self.since is not None and sample.at < self.since:
            return False
        if self.until is not None and sample.at >= self.until:
            return False
        if self.container is None:
            return True
        container = containers.get(sample.container_id)
        return container is not None and self.container(container)


class Samples:
    """Some samples on their way to several groups: each is encoded once, if anybody is told."""

    def __init__(self, told: Sequence[Told]) -> None:
        self.told = told
        self.containers: dict[int, Container] = {}
        self._blocks: dict[int, bytes] = {}

    async def look_up(self) -> None:
        """The containers, which filters ask about."""
        ids = {one.sample.container_id for one in self.told}
        found = Container.objects.filter(pk__in=ids).only("id", "host_id", "workload_id", "labels")
        self.containers = {container.pk: container async for container in found}

    async def block(self, matches: Matches) -> bytes:
        if matches.container is not None and not self.containers:
            await self.look_up()
        picked = [one for one in self.told if matches(one.sample, self.containers)]
        missing = [one for one in picked if one.position not in self._blocks]
        rows = await UsageSerializer([one.sample for one in missing], many=True).adata
        render = JSONRenderer().render
        breather = Breather()
        for one, row in zip(missing, rows, strict=True):
            body = b'{"type":"ADDED","object":%b}' % render(row)
            self._blocks[one.position] = sse.message(body, one.position)
            await breather.breathe()
        return b"".join(self._blocks[one.position] for one in picked)


class UsageGroup(Group):
    """Those who watch with the same filters."""

    def __init__(self, tail: Tail, key: object, matches: Matches) -> None:
        super().__init__(tail, key, None, None)  # type: ignore[arg-type]
        self.picks = matches
        self.past = Past(self._read)

    async def begin(self, ids: Any) -> None:
        """There is nothing to learn: a sample never changes."""

    async def tell_samples(self, samples: Samples) -> None:
        block = await self.picks_of(samples)
        if block:
            self.told = samples.told[-1].position
            self.publish(block)

    async def picks_of(self, samples: Samples) -> bytes:
        return await samples.block(self.picks)

    async def _read(self, cursor: int, target: int) -> Page:
        try:
            reading = await read(cursor, target)
        except Compacted as error:
            return Page(gone(error.detail, error.position), 0)
        return Page(await self.picks_of(Samples(reading.told)), reading.last)


class UsageTail(Tail):
    """See the module."""

    def make_group(self, key: object, topic: Any, matches: Any) -> Group:
        return UsageGroup(self, key, matches)

    async def newest(self) -> int:
        return await last_position()

    async def _listen(self) -> None:
        self._look_seconds = LOOK_SECONDS

    async def _step(self) -> bool:
        async with self.lock:
            try:
                reading = await read(self.position)
            except Compacted:  # the database was away for longer than the journal is kept
                self._send_away()
                self.position = await self.newest()
                return False
            samples = Samples(reading.told)
            if reading.told:
                for group in list(self.groups.values()):
                    assert isinstance(group, UsageGroup)
                    await group.tell_samples(samples)
                    await asyncio.sleep(0)
            self.position = reading.last
            return not reading.is_whole


usage_tail = UsageTail()
