"""The agent: owns the tasks of a source and a delivery, from first observation to last flush.

    watch   ── the source's changes ──▶ signal
    observe ── at start, on the signal, every 30 s ──▶ roster ─┐
    sample  ── every interval ──▶ outbox ───────────────────────┴─▶ deliver

A source that is gone is tried again with a backoff by each task that needs it; the first to notice
says so. An error that nobody foresaw ends all tasks and the process: whoever supervises it starts
it anew.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from app.agent.backoffs import Backoff
from app.agent.deliveries import Delivery, Reporter
from app.agent.links import Link
from app.agent.outboxes import Outbox
from app.agent.rosters import Roster
from app.agent.schedules import Signal, ticks
from app.agent.sources import Source, SourceUnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often what is done, in seconds."""

    interval: float
    first_sample: float = 1.0  # after the first reading: the first figures don't take an interval
    settle: float = 1.0  # changes that come together make one observation
    report: float = 30.0  # a host that is not heard of for a minute counts as stale
    relist: float = 60.0  # everything read anew, not only what may have changed
    source_backoff: float = 15.0
    flush: float = 5.0


class Agent:
    """One source, one API. `run` is called once."""

    def __init__(
        self,
        *,
        source: Source,
        reporter: Reporter,
        pace: Pace,
        buffer_samples: int,
        source_name: str = "source",
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.source_link = Link(source_name, reasons=1)
        self.outbox = Outbox(buffer_samples)
        self.roster = Roster()
        self.delivery = Delivery(
            reporter,
            roster=self.roster,
            outbox=self.outbox,
            interval_seconds=pace.interval,
            draw=draw,
        )
        self._source = source
        self._pace = pace
        self._draw = draw
        self._signal = Signal(pace.settle)

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set, then sends what is left, for a bounded time."""
        async with asyncio.TaskGroup() as group:
            work = (self._watch(), self._observe(), self._sample(), self.delivery.run())
            tasks = [group.create_task(part) for part in work]
            await stop.wait()
            for task in tasks:
                task.cancel()
        await self.delivery.flush(self._pace.flush)

    async def _watch(self) -> None:
        backoff = self._source_backoff()
        while True:
            try:
                async with aclosing(self._source.changes()) as changes:
                    async for _ in changes:
                        backoff.succeed()
                        self._signal.set()
            except SourceUnavailableError as error:
                self._lose_source(error)
            await asyncio.sleep(backoff.fail())

    async def _observe(self) -> None:
        backoff = self._source_backoff()
        full_at = -math.inf
        while True:
            began_at = time.monotonic()
            full = began_at - full_at >= self._pace.relist
            try:
                self.roster.note(await self._source.observe(full=full))
            except SourceUnavailableError as error:
                self._lose_source(error)
                full_at = -math.inf
                await asyncio.sleep(backoff.fail())
                continue
            backoff.succeed()
            self.source_link.restore(self.roster.describe())
            self.delivery.report()
            full_at = began_at if full else full_at
            relist_in = full_at + self._pace.relist - time.monotonic()
            await self._signal.wait(max(0.0, min(self._pace.report, relist_in)))

    async def _sample(self) -> None:
        await self._take_sample()
        await asyncio.sleep(min(self._pace.first_sample, self._pace.interval))
        async with aclosing(ticks(self._pace.interval)) as moments:
            async for _ in moments:
                await self._take_sample()

    async def _take_sample(self) -> None:
        try:
            samples = await self._source.sample()
        except SourceUnavailableError as error:
            self._lose_source(error)
            return
        if self.source_link.is_up is False:
            self._signal.set()  # it answers again: whatever happened meanwhile is to be observed
        if samples:
            self.delivery.accept(samples)

    def _lose_source(self, error: SourceUnavailableError) -> None:
        self.source_link.lose(str(error), "it is tried again until it answers")

    def _source_backoff(self) -> Backoff:
        return Backoff(self._draw, longest_seconds=self._pace.source_backoff)
