"""An API that is gone for an hour, by a clock that is told the time and over HTTP that is real.

The clock stands still while a request is on its way, so a second of it holds all that is sent at
once: what is counted in a second is the worst that the API could see.
"""

import asyncio
import gc
import random
import tracemalloc
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from app.agent.clients import Client
from app.agent.deliveries import CATCH_UP, Delivery
from app.agent.observations import Container, Host, Observation, Sample, moment
from app.agent.outboxes import Outbox
from app.agent.rosters import Roster
from tests.agent.apis import Api

pytestmark = pytest.mark.asyncio

BEGAN_AT = datetime(2026, 11, 23, 20, tzinfo=UTC)
INTERVAL = 5.0
HOUR = 3600.0
CONTAINERS = 50
LINE_BYTES = 110  # of a sample as NDJSON, at the most


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Machine:
    """A delivery that is given samples at its interval and steps when it says so."""

    def __init__(
        self, client: Client, name: str, *, containers: int, bound: int, seed: int
    ) -> None:
        self.engine_ids = [f"{name}-{number}" for number in range(containers)]
        self.outbox, self.roster = Outbox(bound), Roster()
        self.taken: list[Sample] | deque[Sample] = []
        self.most_kept = 0
        self.delivery = Delivery(
            client,
            roster=self.roster,
            outbox=self.outbox,
            interval_seconds=INTERVAL,
            draw=random.Random(seed).random,
        )
        host = Host(name=name, cpus=2.0, memory_bytes=2**30, engine="docker", engine_version="29")
        listed = [Container(engine_id=one, name=one, state="running") for one in self.engine_ids]
        at = moment(BEGAN_AT)
        self.roster.note(Observation(host=host, observed_at=at, images=[], containers=listed))
        self.next_sample = self.next_step = 0.0

    @property
    def due_at(self) -> float:
        has_work = self.roster.is_due or len(self.outbox) > 0
        return min(self.next_sample, self.next_step) if has_work else self.next_sample

    async def act(self, now: float) -> None:
        if self.next_sample <= now:
            self.next_sample += INTERVAL
            at = moment(BEGAN_AT + timedelta(seconds=now))
            samples = [Sample(one, at, 0.123456, 2**30) for one in self.engine_ids]
            self.delivery.accept(samples)
            self.taken += samples
            self.most_kept = max(self.most_kept, len(self.outbox))
        else:
            self.next_step = now + await self.delivery.step()


async def pass_time(clock: Clock, until: float, *machines: Machine) -> None:
    while True:
        machine = min(machines, key=lambda one: max(one.due_at, clock.now))
        due_at = max(machine.due_at, clock.now)
        if due_at > until:
            clock.now = until
            return
        clock.now = due_at
        await machine.act(due_at)
        await asyncio.sleep(0)  # the machines share the loop with the API


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    await api.start()
    yield api
    await api.stop()


@pytest.fixture
def clock(api: Api) -> Clock:
    api.clock = clock = Clock()
    return clock


@asynccontextmanager
async def machines_of(
    api: Api, count: int, *, containers: int = CONTAINERS, bound: int = 50_000
) -> AsyncIterator[list[Machine]]:
    async with AsyncExitStack() as stack:
        machines = []
        for number in range(count):
            client = Client(api.url, "stw_ab_secret")
            stack.push_async_callback(client.close)
            machines.append(
                Machine(client, f"vm{number}", containers=containers, bound=bound, seed=number)
            )
        yield machines


def most_in_a_second(api: Api, measure: Callable[[str, int, int], int], since: float) -> int:
    """The most of it in any second, whenever it begins."""
    moments = [
        (at, measure(path, lines, size)) for at, path, lines, size in api.arrivals if at >= since
    ]
    most = inside = begin = 0
    for at, amount in moments:
        inside += amount
        while moments[begin][0] <= at - 1.0:
            inside -= moments[begin][1]
            begin += 1
        most = max(most, inside)
    return most


def traced_memory() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def stored(api: Api) -> Counter[tuple[str, str]]:
    names = api.engine_ids
    return Counter((names[container], at) for container, at in api.usage)


def named(samples: Iterable[Sample]) -> Counter[tuple[str, str]]:
    return Counter((sample.engine_id, sample.at) for sample in samples)


@pytest.mark.timeout(60)  # half an hour of catching up is 300 requests, the outage 120 tries
async def test_after_an_hour_all_is_sent_at_a_bounded_rate(api: Api, clock: Clock) -> None:
    async with machines_of(api, 1) as (machine,):
        await pass_time(clock, 60.0, machine)
        await api.stop()
        await pass_time(clock, 60.0 + HOUR, machine)
        backlog = len(machine.outbox)
        assert backlog >= CONTAINERS * (HOUR / INTERVAL - 1)
        await api.start()
        back = clock.now
        await pass_time(clock, back + HOUR, machine)
        assert (len(machine.outbox), machine.outbox.dropped, api.duplicates) == (0, 0, 0)
        assert stored(api) == named(machine.taken)
        budget = CATCH_UP * CONTAINERS
        assert most_in_a_second(api, lambda _path, lines, _size: lines, back) <= budget + CONTAINERS
        assert most_in_a_second(api, lambda *_: 1, back) <= 3  # the full list, a batch, new samples
        in_bytes = most_in_a_second(api, lambda _path, lines, size: size if lines else 0, back)
        assert in_bytes <= (budget + CONTAINERS) * LINE_BYTES
        # Pauses are an interval and a half at the most: slower than that it can't be.
        last = max(at for at, _, lines, _ in api.arrivals if lines > CONTAINERS)
        assert last - back <= 60.0 + 1.5 * INTERVAL * backlog / (budget - 1.5 * CONTAINERS)


@pytest.mark.timeout(60)
async def test_full_buffer_keeps_the_newest_in_bounded_memory(api: Api, clock: Clock) -> None:
    bound = 10_000
    async with machines_of(api, 1, bound=bound) as (machine,):
        await pass_time(clock, 60.0, machine)
        acknowledged = stored(api)
        await api.stop()
        machine.taken = deque(machine.taken, maxlen=bound)  # grows no more than the buffer
        tracemalloc.start()
        try:
            await pass_time(clock, 60.0 + HOUR / 2, machine)
            half = traced_memory()
            await pass_time(clock, 60.0 + HOUR, machine)
            whole = traced_memory()
        finally:
            tracemalloc.stop()
        assert (machine.most_kept, len(machine.outbox)) == (bound, bound)
        assert machine.outbox.dropped == CONTAINERS * HOUR / INTERVAL - bound
        assert whole - half < 300_000  # the 18,000 samples that were taken meanwhile are 2 MB
        newest = named(machine.taken)
        await api.start()
        machine.next_sample = float("inf")  # what comes meanwhile would take the place of others
        await pass_time(clock, clock.now + HOUR, machine)
        assert stored(api) == acknowledged + newest


@pytest.mark.timeout(60)
async def test_agents_that_lost_the_api_together_come_back_one_by_one(
    api: Api, clock: Clock
) -> None:
    agents, containers, outage = 60, 5, 300.0
    async with machines_of(api, agents, containers=containers) as machines:
        await pass_time(clock, 30.0, *machines)
        await api.stop()
        await pass_time(clock, 30.0 + outage, *machines)
        backlog = sum(len(one.outbox) for one in machines)
        await api.start()
        back = clock.now
        await pass_time(clock, back + outage, *machines)
        lists = [at for at, path, *_ in api.arrivals if path.endswith("observe/") and at >= back]
        assert len(lists) == agents
        assert max(lists) - back <= 60.0
        # As many a second as would come by chance, all of them being spread over a minute.
        assert most_in_a_second(api, lambda path, *_: path.endswith("observe/"), back) <= 10
        per_second = most_in_a_second(api, lambda _path, lines, _size: lines, back)
        assert per_second <= backlog / 5
        assert (sum(len(one.outbox) for one in machines), api.duplicates) == (0, 0)
