"""The summary of a container: always what all of its hours come to, late samples and kills too."""

import asyncio
import json
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError

from app import db
from app.fleet import histograms, rollups, services
from app.fleet.models import OOMKill, UsageHour, UsageSummary
from app.fleet.partitions import HOURS, SAMPLES, maintain_partitions
from app.fleet.policy import DEFAULT
from app.fleet.rightsizing_queries import build_evidence, fetch_observed
from app.fleet.services import Sample
from tests.fleet.samples import container, report

pytestmark = pytest.mark.asyncio
HOUR = datetime(2031, 6, 15, 12, tzinfo=UTC)
HALF_LIFE = timedelta(hours=DEFAULT.histogram_half_life_hours)
MIB = 2**20


async def running(**more: Any) -> int:
    for series in (SAMPLES, HOURS):
        await maintain_partitions(now=HOUR, keep_days=1, ahead_days=1, series=series)
    observed = await services.observe_host(**report(container("a", **more)))
    return observed.containers["a"]


def samples(one: int, *moments: tuple[float, float, int]) -> list[Sample]:
    """(hours after HOUR, cores, MiB)"""
    return [Sample(one, HOUR + timedelta(hours=h), cpu, mib * MIB) for h, cpu, mib in moments]


async def check_summary() -> None:
    """The summary is the merge of the hours, computed by Python from all of them."""
    summary = await UsageSummary.objects.aget()
    hours = [hour async for hour in UsageHour.objects.order_by("hour")]
    assert summary.reference == hours[-1].hour
    assert summary.samples == sum(hour.samples for hour in hours)
    assert summary.first_at == min(hour.first_at for hour in hours)
    assert summary.last_at == max(hour.last_at for hour in hours)
    for resource in ("cpu", "memory"):
        merged = histograms.merge(
            [(hour.hour, getattr(hour, f"{resource}_histogram")) for hour in hours],
            at=summary.reference,
            half_life=HALF_LIFE,
        )
        weights = {int(key): one for key, one in getattr(summary, f"{resource}_weights").items()}
        assert weights == pytest.approx(merged, abs=1e-5)


@pytest.mark.usefixtures("transaction")
class TestSummaries:
    async def test_hours_are_decayed_and_added(self) -> None:
        one = await running()
        await services.record_usage(samples=samples(one, (0, 0.1, 100), (0.5, 0.2, 200)))
        await rollups.roll_up(now=HOUR + timedelta(hours=1, minutes=2))
        await check_summary()
        await services.record_usage(samples=samples(one, (5, 0.1, 300), (6, 4.0, 50)))
        await rollups.roll_up(now=HOUR + timedelta(hours=8))
        await check_summary()

    async def test_late_samples_are_put_where_they_belong(self) -> None:
        one = await running()
        await services.record_usage(samples=samples(one, (0, 0.1, 100), (6, 0.2, 200)))
        await rollups.roll_up(now=HOUR + timedelta(hours=8))
        await services.record_usage(samples=samples(one, (0, 0.1, 100), (0.2, 8, 900), (3, 1, 1)))
        await rollups.roll_up(now=HOUR + timedelta(hours=8))
        await check_summary()
        summary = await UsageSummary.objects.aget()
        assert summary.samples == 4
        (peaks,) = summary.peaks.values()
        assert peaks == [8.0, 900 * MIB]

    @pytest.mark.parametrize("seed", range(4))
    async def test_samples_in_any_order_doubled_and_late_come_to_the_same(self, seed: int) -> None:
        """In parts of any size, rolled up between them, against all of them in one and in order."""
        chance = random.Random(seed)
        one = await running()
        other = (await services.observe_host(**report(container("b"), name="b"))).containers["b"]
        sent = samples(
            one,
            *((n / 12, chance.randrange(4096) / 1024, chance.randrange(4000)) for n in range(72)),
        )
        arriving = sent + chance.sample(sent, 24)
        chance.shuffle(arriving)
        stored = 0
        while arriving:
            cut = chance.randint(1, 24)
            batch, arriving = arriving[:cut], arriving[cut:]
            stored += (await services.record_usage(samples=batch)).stored
            await rollups.roll_up(now=HOUR + timedelta(hours=chance.randint(1, 7), minutes=2))
        await services.record_usage(
            samples=[Sample(other, sample.at, *sample[2:]) for sample in sent]
        )
        await rollups.roll_up(now=HOUR + timedelta(hours=7, minutes=2))
        assert stored == len(sent)
        for model in (UsageHour, UsageSummary):
            kept: dict[int, list[Any]] = {one: [], other: []}
            rows = (
                model.objects.order_by("pk")
                if model is UsageSummary
                else (model.objects.order_by("hour"))
            )
            async for row in rows:
                values = {
                    field.attname: getattr(row, field.attname)
                    for field in row._meta.concrete_fields
                    if field.attname not in {"id", "pk", "container_id"}
                }
                kept[row.container_id].append(values)
            assert len(kept[one]) == (6 if model is UsageHour else 1)
            for found, expected in zip(kept[one], kept[other], strict=True):
                for name, value in expected.items():
                    if name.endswith("_weights"):  # rounded at each turn
                        assert found[name] == pytest.approx(value, abs=2e-4), name
                    else:
                        assert found[name] == value, name

    async def test_peaks_are_of_their_day(self) -> None:
        one = await running()
        await services.record_usage(samples=samples(one, (0, 2.0, 100), (13, 1.0, 300)))
        await rollups.roll_up(now=HOUR + timedelta(hours=20))
        day = int(HOUR.timestamp() // 86400)
        expected = {str(day): [2, 100 * MIB], str(day + 1): [1, 300 * MIB]}
        assert (await UsageSummary.objects.aget()).peaks == expected

    async def test_start_up_peak_is_of_the_first_minutes(self) -> None:
        one = await running(started_at=HOUR + timedelta(minutes=5))
        await services.record_usage(
            samples=samples(one, (0.01, 0.1, 900), (0.1, 0.1, 500), (0.2, 0.1, 400), (0.5, 1, 800))
        )
        await rollups.roll_up(now=HOUR + timedelta(hours=2))
        assert (await UsageSummary.objects.aget()).startup_memory_bytes == 500 * MIB

    async def test_samples_count_before_they_are_rolled_up_and_once(self) -> None:
        one = await running()
        now = HOUR + timedelta(hours=2, minutes=30)
        await services.record_usage(samples=samples(one, (0, 0.1, 100), (1, 0.1, 100), (2, 3, 700)))

        async def evidence() -> Any:
            return build_evidence((await fetch_observed([one], at=now))[one], at=now)

        before = await evidence()
        assert (before.samples, before.cpu_peak, before.memory_peak) == (3, 3.0, 700 * MIB)
        await rollups.roll_up(now=HOUR + timedelta(hours=1, minutes=30))
        half = await evidence()
        assert (half.samples, half.memory_peak) == (3, 700 * MIB)
        await rollups.roll_up(now=now)
        after = await evidence()
        assert (after.samples, after.memory_peak, len(after.parts)) == (3, 700 * MIB, 2)

    async def test_summary_goes_with_its_container(self) -> None:
        one = await running()
        await services.record_usage(samples=samples(one, (0, 0.1, 100)))
        await rollups.roll_up(now=HOUR + timedelta(hours=2))
        await db.execute("DELETE FROM fleet_container WHERE id = %s", one)
        assert await UsageSummary.objects.acount() == 0


@pytest.mark.usefixtures("transaction")
class TestKills:
    async def test_kill_is_remembered_with_its_limit_and_once(self) -> None:
        one = await running(memory_limit_bytes=100 * MIB, started_at=HOUR)
        killed = HOUR + timedelta(minutes=5)
        for seconds in (10, 20):
            dead = container(
                "a",
                state="exited",
                memory_limit_bytes=100 * MIB,
                finished_at=killed,
                oom_killed=True,
            )
            at = killed + timedelta(seconds=seconds)
            await services.observe_host(**report(dead, observed_at=at))
        kills = [kill async for kill in OOMKill.objects.all()]
        assert [(k.container_id, k.at, k.memory_bytes) for k in kills] == [(one, killed, 100 * MIB)]

    async def test_second_kill_of_a_container_that_started_again_is_another(self) -> None:
        await running(memory_limit_bytes=100 * MIB)
        for minutes, state in ((1, "exited"), (2, "running"), (3, "exited")):
            at = HOUR + timedelta(minutes=minutes)
            is_dead = state == "exited"
            one = container("a", state=state, finished_at=at, oom_killed=is_dead)
            await services.observe_host(**report(one, observed_at=at))
        assert await OOMKill.objects.acount() == 2

    async def test_kill_outlives_the_container_that_was_replaced(self) -> None:
        await running(oom_killed=True, state="exited")
        at = HOUR + timedelta(minutes=5)
        await services.observe_host(**report(container("b"), observed_at=at))
        assert await OOMKill.objects.acount() == 1

    async def test_kill_without_a_limit_has_the_last_samples(self) -> None:
        one = await running()
        await services.record_usage(
            samples=samples(one, (-1.5, 1, 900), (0, 1, 300), (0.1, 1, 200))
        )
        at = HOUR + timedelta(minutes=10)
        dead = container("a", state="exited", oom_killed=True, finished_at=at)
        await services.observe_host(**report(dead, observed_at=at))
        assert (await OOMKill.objects.aget()).memory_bytes == 300 * MIB


@pytest.mark.usefixtures("committed")
async def test_rolling_up_that_is_killed_in_the_middle_is_done_once() -> None:
    """The server ends the connection between the steps, hour after hour; then all is well again."""
    now = datetime.now(UTC)
    hour = (now - timedelta(hours=4)).replace(minute=0, second=0, microsecond=0)
    observed = await services.observe_host(**report(container("a"), container("b")))
    ids = list(observed.containers.values())
    for hours in range(3):
        batch = [
            Sample(one, hour + timedelta(hours=hours, minutes=minute), 0.5, 10)
            for one in ids
            for minute in range(10)
        ]
        await services.record_usage(samples=batch)

    async def kill() -> int:
        """Ends the worker's connections that are in a transaction; how many."""
        rows = await db.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ="
            " current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
            " AND query NOT LIKE '%%pg_terminate%%'"
        )
        return len(rows)

    killed = 0
    for _ in range(6):
        task = asyncio.create_task(rollups.roll_up(now=now))
        for _ in range(10_000):
            if task.done() or await kill():
                break
            await asyncio.sleep(0)
        with suppress(OperationalError, InterfaceError):
            await task
            killed -= 1
        killed += 1
    await rollups.roll_up(now=now)
    assert killed > 0
    hours_ = [hour.samples async for hour in UsageHour.objects.all()]
    assert hours_ == [10] * 6
    rows = await db.fetch("SELECT samples, cpu_weights::text AS w FROM fleet_usage_summary")
    assert [row["samples"] for row in rows] == [30, 30]
    for row in rows:
        (weight,) = json.loads(row["w"]).values()
        assert weight == pytest.approx(sum(10 * 0.5 ** (n / 24) for n in range(3)), abs=1e-4)
