"""Delivery against a real API over HTTP: failures, catching up, what is dropped and what never."""

import logging
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from app.agent import deliveries
from app.agent.clients import Client
from app.agent.deliveries import Delivery
from app.agent.observations import Container, Host, Observation, Sample
from app.agent.outboxes import Outbox
from app.agent.rosters import Roster
from tests.agent.apis import Api, Failure


class Bench:
    """A delivery with everything around it, whose waits are recorded instead of waited."""

    def __init__(self, api: Api, *, bound: int = 10_000, draw: float = 1.0) -> None:
        self.api = api
        self.waits: list[float] = []
        self.client = Client(api.url, "stw_ab_secret")
        self.roster = Roster()
        self.outbox = Outbox(bound)
        self.delivery = Delivery(
            self.client,
            roster=self.roster,
            outbox=self.outbox,
            interval_seconds=5.0,
            draw=lambda: draw,
        )
        self.taken = 0

    def observe(self, *engine_ids: str) -> None:
        host = Host(name="vm", cpus=2.0, memory_bytes=2**30, engine="docker", engine_version="20")
        containers = [Container(engine_id=each, name=each, state="running") for each in engine_ids]
        self.roster.note(
            Observation(
                host=host,
                observed_at="2026-11-23T20:00:00.000+00:00",
                images=[],
                containers=containers,
            )
        )

    def sample(self, *engine_ids: str, times: int = 1) -> None:
        for _ in range(times):
            self.taken += 1
            self.delivery.accept(
                [Sample(each, f"at {self.taken:06d}", 0.5, self.taken) for each in engine_ids]
            )

    async def drain(self, steps: int = 1_000) -> None:
        """Steps until nothing is left; each wait is noted."""
        while steps and (self.roster.is_due or len(self.outbox)):
            steps -= 1
            self.waits.append(await self.delivery.step())

    def stored(self) -> list[tuple[str, str]]:
        names = self.api.engine_ids
        return sorted((at, names[container]) for container, at in self.api.usage)


@pytest_asyncio.fixture
async def api():
    api = Api()
    await api.start()
    yield api
    await api.stop()


@asynccontextmanager
async def bench_of(api: Api, **options):
    bench = Bench(api, **options)
    try:
        yield bench
    finally:
        await bench.client.close()


@pytest_asyncio.fixture
async def bench(api):
    async with bench_of(api) as bench:
        yield bench


@pytest.mark.asyncio
async def test_observation_goes_first_and_samples_follow_with_the_ids_it_gave(api, bench):
    bench.observe("a", "b")
    bench.sample("a", "b", times=3)
    await bench.drain()
    assert api.requests[0] == "/api/v1/hosts/observe/"
    assert len(api.usage) == 6
    assert (bench.outbox.acknowledged, bench.outbox.dropped, len(bench.outbox)) == (6, 0, 0)
    assert set(bench.waits) == {0.0}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "failure",
    [
        Failure(500),
        Failure(503, {"Retry-After": "1"}),
        Failure(429),
        Failure(401),
        Failure(404),
        Failure(302, {"Location": "https://elsewhere.example/"}),
    ],
    ids=lambda failure: str(failure.status),
)
async def test_no_failure_loses_or_doubles_a_sample(api, bench, failure):
    bench.observe("a")
    bench.sample("a", times=5)
    await bench.delivery.step()
    api.failures.append(failure)
    await bench.drain()
    assert len(api.usage) == 5
    assert (bench.outbox.acknowledged, bench.outbox.dropped) == (5, 0)
    assert api.duplicates == 0


@pytest.mark.asyncio
async def test_cut_connection_after_storing_makes_duplicates_not_doubles(api, bench):
    bench.observe("a")
    bench.sample("a", times=5)
    await bench.delivery.step()
    api.failures += [Failure(0, stores=True), Failure(0, stores=True)]
    await bench.drain()
    assert len(api.usage) == 5
    assert api.duplicates == 10
    assert bench.outbox.acknowledged == 5


@pytest.mark.asyncio
async def test_retry_after_is_waited_for_and_failures_wait_longer_each_time(api, bench):
    bench.observe("a")
    api.failures += [Failure(503, {"Retry-After": "30"}), Failure(503), Failure(503)]
    await bench.drain()
    assert bench.waits == [31.0, 2.0, 4.0, 0.0]


@pytest.mark.asyncio
async def test_refused_token_is_told_once_with_the_remedy_and_tried_slowly(api, bench, caplog):
    bench.observe("a")
    api.failures += [Failure(401)] * 3
    with caplog.at_level(logging.INFO, "app.agent"):
        await bench.drain()
    assert bench.waits == [90.0, 90.0, 90.0, 0.0]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "set STOWAGE_TOKEN" in told[0]
    assert told[1].startswith("API back after")


@pytest.mark.asyncio
async def test_outage_is_one_line_when_it_begins_and_one_when_it_ends(api, caplog):
    async with bench_of(api, bound=20) as bench:
        bench.observe("a")
        with caplog.at_level(logging.INFO, "app.agent"):
            await bench.drain()
            await api.stop()
            for _ in range(30):
                bench.sample("a")
                await bench.delivery.step()
            await api.start()
            await bench.drain()
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "API connected: host vm (docker), 1 containers"
    assert told[1].startswith("API not available: ")
    assert told[2] == "the buffer of 20 samples is full, the oldest go first"
    assert told[3].endswith("20 samples kept, 10 dropped")
    assert len(told) == 4
    assert [at for at, _ in bench.stored()] == [f"at {number:06d}" for number in range(11, 31)]


@pytest.mark.asyncio
async def test_after_an_outage_the_observation_goes_before_samples(api, bench):
    bench.observe("a")
    await bench.drain()
    bench.sample("a")
    api.failures.append(Failure(503))
    await bench.drain()
    assert [path.split("/")[3] for path in api.requests] == ["hosts", "usage", "hosts", "usage"]


@pytest.mark.asyncio
async def test_busy_api_is_not_burdened_with_another_observation(api, bench):
    bench.observe("a")
    await bench.drain()
    bench.sample("a")
    api.failures.append(Failure(429))
    await bench.drain()
    assert [path.split("/")[3] for path in api.requests] == ["hosts", "usage", "usage"]


@pytest.mark.asyncio
async def test_lost_database_is_observed_anew_and_no_sample_is_lost(api, bench):
    bench.observe("a", "b")
    bench.sample("a", "b")
    await bench.drain()
    api.lose_database()
    bench.sample("a", "b", times=2)
    await bench.drain()
    assert bench.stored() == [
        (f"at {number:06d}", engine_id) for number in (2, 3) for engine_id in ("a", "b")
    ]
    assert bench.outbox.dropped == 0


@pytest.mark.asyncio
async def test_sample_of_a_container_that_nobody_lists_is_sent_once_more_then_dropped(api, bench):
    bench.observe("a", "b")
    await bench.drain()
    bench.observe("a")
    bench.sample("a", "ghost")
    await bench.drain()
    assert [engine_id for _, engine_id in bench.stored()] == ["a"]
    assert (bench.outbox.acknowledged, bench.outbox.dropped) == (1, 1)
    assert len(api.observations) == 3


@pytest.mark.asyncio
async def test_container_that_came_and_went_in_an_outage_keeps_its_samples(api, bench):
    bench.observe("a")
    await bench.drain()
    await api.stop()
    bench.observe("a", "brief")
    bench.sample("a", "brief", times=2)
    await bench.delivery.step()
    bench.observe("a")
    bench.sample("a")
    await api.start()
    await bench.drain()
    assert [engine_id for _, engine_id in bench.stored()] == ["a", "brief", "a", "brief", "a"]
    assert bench.outbox.dropped == 0
    assert api.observations[-1]["containers"][1]["state"] == "removed"


@pytest.mark.asyncio
async def test_backlog_leaves_in_bounded_batches_an_interval_apart(api, bench):
    names = [f"c{number}" for number in range(50)]
    bench.observe(*names)
    await bench.drain()
    bench.sample(*names, times=720)  # an hour at five seconds: 36,000, of which 10,000 are kept
    assert (len(bench.outbox), bench.outbox.dropped) == (10_000, 26_000)
    bench.waits.clear()
    await bench.drain()
    assert max(api.batches) == deliveries.CATCH_UP * 50
    assert len(api.batches) == 50
    assert bench.waits == [7.5] * 49 + [0.0]
    assert len(api.usage) == 10_000


@pytest.mark.asyncio
async def test_large_host_that_keeps_up_never_waits(api, bench):
    names = [f"c{number}" for number in range(2_500)]
    bench.observe(*names)
    await bench.drain()
    bench.sample(*names)
    await bench.drain()
    assert set(bench.waits) == {0.0}
    assert api.batches == [1_000, 1_000, 500]


@pytest.mark.asyncio
async def test_batch_that_is_too_large_is_halved_and_stays_so(api, bench):
    names = [f"c{number}" for number in range(500)]
    bench.observe(*names)
    await bench.drain()
    api.largest_batch = 130
    bench.sample(*names, times=2)
    await bench.drain()
    assert len(api.usage) == 1_000
    assert bench.outbox.dropped == 0
    assert max(api.batches) <= 130
    refused = len(api.requests) - len(api.batches) - len(api.observations)
    assert refused == 3


@pytest.mark.asyncio
async def test_sample_that_spoils_a_batch_is_found_and_dropped_alone(api, bench):
    bench.observe("a")
    await bench.drain()
    bench.sample("a", times=8)
    api.failures += [Failure(400)] * 4  # 8, 4, 2, 1
    await bench.drain()
    assert (bench.outbox.acknowledged, bench.outbox.dropped) == (7, 1)
    assert bench.stored()[0][0] == "at 000002"


@pytest.mark.asyncio
async def test_refused_observation_holds_up_no_samples_and_is_told_once(api, bench, caplog):
    bench.observe("a")
    await bench.drain()
    caplog.clear()
    with caplog.at_level(logging.INFO, "app.agent"):
        for _ in range(3):
            api.failures.append(Failure(400))
            bench.observe("a")
            bench.sample("a")
            await bench.drain()
    assert len(api.usage) == 3
    told = [record.getMessage() for record in caplog.records]
    assert told == ["the API refuses what was observed: it answers 400: As told."]


@pytest.mark.asyncio
async def test_clock_that_is_ahead_is_told_when_it_is_and_when_it_is_no_more(api, bench, caplog):
    bench.observe("a")
    with caplog.at_level(logging.INFO, "app.agent"):
        for seconds in (312, 312, -1, -40):
            bench.delivery._note_skew(seconds)
    told = [record.getMessage() for record in caplog.records]
    assert told[0].startswith("clock is 312 s ahead of the API's")
    assert told[1] == "clock agrees with the API's again"
    assert told[2].startswith("clock is 40 s behind the API's")


@pytest.mark.asyncio
async def test_flush_sends_what_is_left_without_waiting(api, bench):
    bench.observe("a")
    bench.sample("a", times=900)
    await bench.delivery.flush(3.0)
    assert len(api.usage) == 900


@pytest.mark.asyncio
async def test_flush_ends_at_the_first_failure(api, bench):
    bench.observe("a")
    bench.sample("a", times=900)
    await api.stop()
    await bench.delivery.flush(3.0)
    assert len(bench.outbox) == 900


@pytest.mark.asyncio
async def test_redirect_does_not_carry_the_token_elsewhere(api, bench):
    bench.observe("a")
    api.failures.append(Failure(307, {"Location": f"{api.url}/elsewhere/"}))
    await bench.delivery.step()
    assert api.requests == ["/api/v1/hosts/observe/"]
