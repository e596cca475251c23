"""Hours are rolled up once each sample, late ones too, however often and by whomever."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from app.fleet import histograms, rollups, services
from app.fleet.models import UsageHour, UsageMark
from app.fleet.partitions import HOURS, SAMPLES, maintain_partitions
from app.fleet.services import Sample
from tests.fleet.samples import container, report

HOUR = datetime(2031, 6, 15, 12, tzinfo=UTC)
AFTER = HOUR + timedelta(hours=1, minutes=2)


async def running(*engine_ids: str) -> list[int]:
    """Containers, and the partitions for the tests' day."""
    await maintain_partitions(now=HOUR, keep_days=1, ahead_days=1, series=SAMPLES)
    await maintain_partitions(now=HOUR, keep_days=1, ahead_days=1, series=HOURS)
    observed = await services.observe_host(**report(*(container(one) for one in engine_ids)))
    return [observed.containers[one] for one in engine_ids]


def minutes(container_id: int, *numbers: float, cpu: float = 0.5) -> list[Sample]:
    return [
        Sample(container_id, HOUR + timedelta(minutes=number), cpu, 2**27) for number in numbers
    ]


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestRollingUp:
    async def test_hour_holds_count_sums_and_peaks(self) -> None:
        (one,) = await running("a")
        samples = [
            Sample(one, HOUR, 0.25, 100),
            Sample(one, HOUR + timedelta(minutes=30), 2.0, 300),
            Sample(one, HOUR + timedelta(minutes=59, seconds=59), 0.75, 200),
        ]
        await services.record_usage(samples=samples)
        assert await rollups.roll_up(now=AFTER) == 1
        hour = await UsageHour.objects.aget()
        assert (hour.container_id, hour.hour, hour.samples) == (one, HOUR, 3)
        assert (hour.cpu_sum, hour.cpu_max) == (3.0, 2.0)
        assert (hour.memory_sum, hour.memory_max) == (600.0, 300)
        assert (hour.first_at, hour.last_at) == (samples[0].at, samples[2].at)

    async def test_histograms_are_in_the_buckets_that_python_finds(self) -> None:
        (one,) = await running("a")
        cpus = [0.0, 0.0005, 0.001, 0.0123, 0.5, 0.5, 3.7, 99.0]
        sizes = [0, 1, 10_000_000, 10_000_001, 2**27, 2**30, 2**34, 2**40]
        samples = [
            Sample(one, HOUR + timedelta(minutes=n), cpu, size)
            for n, (cpu, size) in enumerate(zip(cpus, sizes, strict=True))
        ]
        await services.record_usage(samples=samples)
        await rollups.roll_up(now=AFTER)
        hour = await UsageHour.objects.aget()
        cpu, memory = histograms.cpu_buckets(), histograms.memory_buckets()
        assert hour.cpu_histogram == Counter(str(cpu.find(value)) for value in cpus)
        assert hour.memory_histogram == Counter(str(memory.find(value)) for value in sizes)

    async def test_hour_that_is_not_over_waits(self) -> None:
        (one,) = await running("a")
        await services.record_usage(samples=minutes(one, 1))
        assert await rollups.roll_up(now=HOUR + timedelta(minutes=59)) == 0
        assert await rollups.roll_up(now=HOUR + timedelta(minutes=60, seconds=59)) == 0
        assert await rollups.roll_up(now=AFTER) == 1

    async def test_late_sample_is_counted_once_and_others_are_left_alone(self) -> None:
        one, other = await running("a", "b")
        await services.record_usage(samples=minutes(one, 1, 2) + minutes(other, 1))
        assert await rollups.roll_up(now=AFTER) == 2
        await services.record_usage(samples=minutes(one, 2, 3))
        assert await rollups.roll_up(now=AFTER) == 1
        assert (await UsageHour.objects.aget(container_id=one)).samples == 3

    async def test_duplicates_mark_nothing(self) -> None:
        (one,) = await running("a")
        await services.record_usage(samples=minutes(one, 1))
        await rollups.roll_up(now=AFTER)
        await services.record_usage(samples=minutes(one, 1))
        assert await UsageMark.objects.acount() == 0

    async def test_rolling_up_twice_changes_nothing(self) -> None:
        (one,) = await running("a")
        await services.record_usage(samples=minutes(one, 1, 2))
        await rollups.roll_up(now=AFTER)
        assert await rollups.roll_up(now=AFTER) == 0
        assert (await UsageHour.objects.aget()).samples == 2

    async def test_batch_over_two_hours_fills_both(self) -> None:
        (one,) = await running("a")
        await services.record_usage(samples=minutes(one, -1, 0, 59, 60))
        assert await rollups.roll_up(now=AFTER) == 2
        counts = [hour.samples async for hour in UsageHour.objects.order_by("hour")]
        assert counts == [1, 2]
        assert await UsageMark.objects.acount() == 1

    async def test_hours_of_a_container_go_with_it(self) -> None:
        (one,) = await running("a")
        await services.record_usage(samples=minutes(one, 1))
        await rollups.roll_up(now=AFTER)
        host_id = (await UsageHour.objects.select_related("container").aget()).container.host_id
        await services.delete_host(host_id=host_id, force=True)
        assert await UsageHour.objects.acount() == 0


@pytest.mark.asyncio
@pytest.mark.usefixtures("committed")
async def test_everything_is_counted_once_while_samples_come_in_and_workers_roll_up() -> None:
    now = datetime.now(UTC)
    hour = (now - timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)
    observed = await services.observe_host(**report(container("a"), container("b")))
    ids = list(observed.containers.values())

    async def ingest(worker: int) -> None:
        for turn in range(10):
            moment = hour + timedelta(seconds=worker * 100 + turn)
            samples = [Sample(one, moment, 0.5, 10) for one in ids]
            await services.record_usage(samples=samples)

    async def roll_up() -> None:
        for _ in range(15):
            await rollups.roll_up(now=now)

    await asyncio.gather(*(ingest(n) for n in range(4)), roll_up(), roll_up())
    await rollups.roll_up(now=now)
    counts = [hour.samples async for hour in UsageHour.objects.all()]
    assert counts == [40, 40]
    assert await UsageMark.objects.acount() == 0
