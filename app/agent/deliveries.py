"""Sends what roster and outbox hold, one request at a time, and decides when the next may leave.

    step ─▶ observation due? ─yes─▶ POST hosts/observe/ ─┐
                 └─no─▶ a batch of samples ─▶ POST usage/ ┴─▶ verdict ─▶ seconds until the next step

- While the API keeps up, samples leave as they come. A backlog leaves in bounded batches, in each
  interval at most CATCH_UP times what is measured in one: a fleet that catches up is no spike for
  the API that came back.
- After an outage the observation goes first: ids may belong to another database now.
- A sample that the API refuses for its container waits for one more observation and is sent once
  more; refused again, it is dropped and counted. One that is refused for itself (too old, in the
  future) is dropped at once.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from app.agent.answers import Answer, Verdict, rejections_of
from app.agent.backoffs import Backoff
from app.agent.links import Link
from app.agent.observations import Sample
from app.agent.outboxes import Outbox
from app.agent.rosters import Roster
from app.agent.schedules import Sleep

logger = logging.getLogger("app.agent")

BATCH = 1_000  # samples in a request, about 100 kB
CATCH_UP = 4
LEAST_BUDGET = 100
LEAST_BATCH = 10
SKEW_SECONDS = 30.0
UNKNOWN = {"container": ["The API has given it no id."]}


class Reporter(Protocol):
    """The part of a Client that a delivery needs."""

    async def observe(self, observation: Mapping[str, Any]) -> Answer: ...

    async def record(self, samples: Iterable[tuple[int, Sample]]) -> Answer: ...


class Delivery:
    """One task calls `run`, and when that has ended `flush`. The rest is called at any time."""

    def __init__(
        self,
        reporter: Reporter,
        *,
        roster: Roster,
        outbox: Outbox,
        interval_seconds: float,
        draw: Callable[[], float] = random.random,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.link = Link("API")
        self._reporter = reporter
        self._roster = roster
        self._outbox = outbox
        self._interval = interval_seconds
        self._draw = draw
        self._sleep = sleep
        self._backoff = Backoff(draw)
        self._work = asyncio.Event()
        self._size = self._largest = BATCH
        self._tick = 0  # samples that came together last
        self._burst = 0  # samples sent since the last pause
        self._answered = 0  # observations that the API answered
        self._questioned: dict[str, int] = {}  # containers that the API did not know, and when
        self._dropped_before = 0
        self._complaints: dict[str, str] = {}
        self._is_skewed = False

    def report(self) -> None:
        """The roster has something new."""
        self._work.set()

    def accept(self, samples: list[Sample]) -> None:
        """Takes what was sampled just now."""
        before = self._outbox.dropped
        self._outbox.put(samples)
        if self._outbox.dropped > before:
            self._complain(
                "buffer", f"the buffer of {self._outbox.bound} samples is full, the oldest go first"
            )
        self._tick = len(samples)
        self._work.set()

    async def run(self) -> None:
        """Sends until it is cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._has_work():
                await self._sleep(await self.step())

    async def flush(self, seconds: float) -> None:
        """Sends what is left, without pauses, until the first failure or until time is up."""
        try:
            async with asyncio.timeout(seconds):
                while self._has_work():
                    await self.step()
                    if not self.link.is_up:
                        return
        except TimeoutError:
            return

    async def step(self) -> float:
        """Sends one thing; the seconds to wait before the next."""
        if self._roster.is_due:
            return await self._send_observation()
        return await self._send_samples()

    def _has_work(self) -> bool:
        return self._roster.is_due or len(self._outbox) > 0

    async def _send_observation(self) -> float:
        body = self._roster.report(self._outbox.engine_ids())
        answer = await self._reporter.observe(body)
        if answer.verdict in {Verdict.UNFIT, Verdict.TOO_LARGE}:
            self._roster.set_aside()
            self._answered += 1
            self._complain("list", f"the API refuses what was observed: {answer.reason}")
            return 0.0
        if answer.verdict is not Verdict.ACCEPTED:
            return self._fail(answer)
        waiting = self._outbox.engine_ids()
        self._roster.learn(answer.body.get("containers") or {}, waiting)
        self._answered += 1
        self._questioned = {key: at for key, at in self._questioned.items() if key in waiting}
        self._complaints.pop("list", None)
        self._succeed(answer)
        return 0.0

    async def _send_samples(self) -> float:
        budget = max(LEAST_BUDGET, CATCH_UP * self._tick)
        batch = self._outbox.take(min(self._size, budget))
        ids = [self._roster.id_of(sample.engine_id) for sample in batch]
        known = [(id_, sample) for id_, sample in zip(ids, batch, strict=True) if id_ is not None]
        try:
            answer = await self._reporter.record(known) if known else Answer(Verdict.ACCEPTED)
        except BaseException:
            self._outbox.give_back()
            raise
        if answer.verdict is Verdict.ACCEPTED:
            self._settle(answer, batch, ids)
            return self._pace(len(batch), budget)
        if answer.verdict in {Verdict.UNFIT, Verdict.TOO_LARGE}:
            self._divide(answer, len(batch))
            return 0.0
        self._outbox.give_back()
        return self._fail(answer)

    def _settle(self, answer: Answer, batch: list[Sample], ids: list[int | None]) -> None:
        """The batch was answered sample by sample: stored, to be sent once more, or lost."""
        rejections = rejections_of(answer.body)
        retry: list[Sample] = []
        complaints: list[str] = []
        position = 0
        for sample, id_ in zip(batch, ids, strict=True):
            errors = UNKNOWN if id_ is None else rejections.get(position)
            position += id_ is not None
            if errors is None:
                self._questioned.pop(sample.engine_id, None)
            elif "container" in errors and self._may_retry(sample.engine_id):
                retry.append(sample)
            else:
                complaints.append(f"{errors}")
        self._outbox.settle(retry=retry, dropped=len(complaints))
        self._size = min(self._largest, self._size * 2)
        if complaints:
            self._complain(
                "samples", f"the API rejects samples, which are dropped: {complaints[0]}"
            )
        elif not retry:
            self._complaints.pop("samples", None)
        if not len(self._outbox):
            self._complaints.pop("buffer", None)
        if any(id_ is not None for id_ in ids):
            self._succeed(answer)

    def _may_retry(self, engine_id: str) -> bool:
        """Once: until the API has answered one more observation."""
        if self._questioned.setdefault(engine_id, self._answered) < self._answered:
            return False
        self._roster.forget(engine_id)
        self._roster.repeat()
        return True

    def _divide(self, answer: Answer, count: int) -> None:
        """The batch can't be stored as it is: half of it next, and a single one never."""
        if count == 1:
            self._outbox.settle(dropped=1)
            self._size = self._largest
            self._complain(
                "samples", f"the API refuses a sample, which is dropped: {answer.reason}"
            )
            return
        self._outbox.give_back()
        self._size = count // 2
        if answer.verdict is Verdict.TOO_LARGE:
            self._largest = max(self._size, LEAST_BATCH)

    def _pace(self, sent: int, budget: int) -> float:
        """No pause while the API keeps up; in a backlog, one interval after each budget."""
        self._burst = self._burst + sent if len(self._outbox) else 0
        if self._burst < budget:
            return 0.0
        self._burst = 0
        return self._interval * (0.5 + self._draw())

    def _fail(self, answer: Answer) -> float:
        if self.link.is_up is not False:
            self._dropped_before = self._outbox.dropped
        self.link.lose(answer.reason, f"up to {self._outbox.bound} samples are kept")
        if answer.verdict is not Verdict.BUSY:
            self._roster.repeat()
        if answer.verdict in {Verdict.REFUSED, Verdict.MISPLACED}:
            return self._backoff.fail_slowly()
        return self._backoff.fail(answer.retry_after_seconds)

    def _succeed(self, answer: Answer) -> None:
        self._backoff.succeed()
        if self.link.is_up is None:
            self.link.restore(self._roster.describe())
        elif not self.link.is_up:
            dropped = self._outbox.dropped - self._dropped_before
            self.link.restore(f"{len(self._outbox)} samples kept, {dropped} dropped")
        if answer.skew_seconds is not None:
            self._note_skew(answer.skew_seconds)

    def _note_skew(self, seconds: float) -> None:
        is_skewed = abs(seconds) > SKEW_SECONDS
        if is_skewed and not self._is_skewed:
            logger.warning(
                "clock is %.0f s %s the API's: synchronise it (NTP), "
                "for the API rejects samples from the future",
                abs(seconds),
                "ahead of" if seconds > 0 else "behind",
            )
        elif self._is_skewed and not is_skewed:
            logger.info("clock agrees with the API's again")
        self._is_skewed = is_skewed

    def _complain(self, topic: str, complaint: str) -> None:
        """Says so once, until things are well or the complaint is another."""
        if complaint != self._complaints.get(topic):
            logger.warning("%s", complaint)
        self._complaints[topic] = complaint
