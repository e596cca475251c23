"""Usage that is stored by constants of somebody's own: hours, summaries, and rebuilding these."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from django.utils import timezone

from app.accounts.models import Team
from app.db.testing import capture_queries
from app.fleet import advice, histograms, rebuilds, rollups, services, upkeep
from app.fleet.histograms import STANDARD, Layout
from app.fleet.models import Container, PolicyOverride, UsageHour, UsageSummary, Workload
from app.fleet.partitions import HOURS, SAMPLES, maintain_partitions
from app.fleet.policies import fetch_policies
from app.fleet.policy import DEFAULT, resolve
from app.fleet.rightsizing import Evidence, Part
from app.fleet.rightsizing_queries import build_evidence, fetch_members
from app.fleet.services import Sample
from app.fleet.sizes import fetch_sizes
from app.rest.test import APIClient
from tests.fleet.samples import container, report

pytestmark = pytest.mark.asyncio
HOUR = datetime(2031, 6, 15, 12, tzinfo=UTC)
AFTER = HOUR + timedelta(hours=30)
MIB = 2**20
COARSE = {"histogram_bucket_growth": 1.5, "histogram_cpu_first_cores": 0.02}
FINE = {"histogram_bucket_growth": 1.02, "histogram_memory_first_bytes": 1_000_000}
BRIEF = {"histogram_half_life_hours": 2}


class Pair(NamedTuple):
    """Two containers, each of a workload of its own."""

    team: Team
    workloads: list[Workload]
    ids: list[int]


async def make_partitions(now: datetime) -> None:
    for series in (SAMPLES, HOURS):
        await maintain_partitions(now=now, keep_days=4, ahead_days=2, series=series)


@pytest_asyncio.fixture(loop_scope="session")
async def pair(transaction: None) -> Pair:
    await make_partitions(HOUR)
    team = await Team.objects.acreate(name="Core", slug="core")
    workloads = [
        await services.create_workload(name=name, image="x", team=team) for name in ("a", "b")
    ]
    labels = ({"stowage.workload": name} for name in ("a", "b"))
    found = await services.observe_host(
        **report(*(container(one["stowage.workload"], labels=one) for one in labels))
    )
    ids = [found.containers[name] for name in ("a", "b")]
    for one, workload in zip(ids, workloads, strict=True):
        await Container.objects.filter(pk=one).aupdate(workload_id=workload.pk)
    return Pair(team, workloads, ids)


def draw(one: int, chance: random.Random, count: int = 72) -> list[Sample]:
    return [
        Sample(
            one,
            HOUR + timedelta(minutes=5 * n),
            chance.randrange(4096) / 1024,
            chance.randrange(4000) * MIB,
        )
        for n in range(count)
    ]


def merged(
    hours: list[UsageHour], layout: Layout, half_life_hours: float
) -> list[dict[int, float]]:
    """The weights of cpu and memory, by Python, of hours of any layouts."""
    at = max(hour.hour for hour in hours)
    parts = [
        Part(
            hour.hour, hour.cpu_histogram, hour.memory_histogram, Layout.read(hour.layout)
        ).laid_out(layout)
        for hour in hours
    ]
    return [
        histograms.merge(
            [(part.reference, counts) for part, counts in zip(parts, some, strict=True)],
            at=at,
            half_life=timedelta(hours=half_life_hours),
        )
        for some in ([part.cpu for part in parts], [part.memory for part in parts])
    ]


async def check(one: int, count: int) -> UsageSummary:
    """The summary is what its hours come to, in the layout and by the half-life that it says."""
    summary = await UsageSummary.objects.aget(pk=one)
    hours = [hour async for hour in UsageHour.objects.filter(container_id=one)]
    assert summary.samples == sum(hour.samples for hour in hours) == count
    layout = Layout.read(summary.layout)
    half_life = summary.half_life_hours or DEFAULT.histogram_half_life_hours
    expected = merged(hours, layout, half_life)
    stored = (summary.cpu_weights, summary.memory_weights)
    for weights, wanted in zip(stored, expected, strict=True):
        found = {int(key): weight for key, weight in weights.items()}
        assert found.keys() <= wanted.keys()
        assert found == pytest.approx(
            {key: weight for key, weight in wanted.items() if key in found}, abs=3e-4
        )
        assert sum(found.values()) == pytest.approx(sum(wanted.values()), abs=0.05)
    return summary


async def test_hour_is_in_the_layout_of_its_workload_and_says_so(pair: Pair) -> None:
    one, other = pair.ids
    await services.create_policy(workload=pair.workloads[0], constants=COARSE | BRIEF)
    samples = draw(one, random.Random(1), 12)
    await services.record_usage(samples=samples)
    await services.record_usage(samples=[Sample(other, *sample[1:]) for sample in samples])
    assert await rollups.roll_up(now=AFTER) == 2
    own, usual = [hour async for hour in UsageHour.objects.order_by("container_id")]
    assert (own.container_id, own.layout) == (one, [1.5, 0.02, 1e7])
    assert usual.layout is None
    for hour in (own, usual):
        layout = Layout.read(hour.layout)
        cpu = Counter(str(layout.cpu.find(sample.cpu_cores)) for sample in samples)
        memory = Counter(str(layout.memory.find(sample.memory_bytes)) for sample in samples)
        assert (hour.cpu_histogram, hour.memory_histogram) == (cpu, memory)
    summary = await check(one, 12)
    assert (summary.layout, summary.half_life_hours) == ([1.5, 0.02, 1e7], 2)
    assert (await check(other, 12)).layout is None
    assert await rebuilds.rebuild_summaries() == 0


async def test_start_up_peak_is_within_the_workloads_own_minutes(pair: Pair) -> None:
    one, other = pair.ids
    await Container.objects.all().aupdate(started_at=HOUR)
    await services.create_policy(workload=pair.workloads[0], constants={"startup_seconds": 1800})
    for pk in pair.ids:
        await services.record_usage(
            samples=[
                Sample(pk, HOUR + timedelta(minutes=minute), 0.1, mib * MIB)
                for minute, mib in ((5, 100), (25, 300), (45, 900))
            ]
        )
    await rollups.roll_up(now=AFTER)
    peaks = {row.pk: row.startup_memory_bytes async for row in UsageSummary.objects.all()}
    assert peaks == {one: 300 * MIB, other: 100 * MIB}


@pytest.mark.parametrize("constants", [COARSE, FINE, BRIEF, COARSE | BRIEF])
async def test_policy_that_changes_rebuilds_from_the_hours_and_back(
    pair: Pair, constants: dict[str, float]
) -> None:
    """There: what the hours come to. Back: as it was, and as who never had a policy."""
    one, other = pair.ids
    samples = draw(one, random.Random(2))
    await services.record_usage(samples=samples)
    await services.record_usage(samples=[Sample(other, *sample[1:]) for sample in samples])
    await rollups.roll_up(now=AFTER)
    before = await check(one, 72)
    policy = await services.create_policy(workload=pair.workloads[0], constants=constants)
    assert await rebuilds.rebuild_summaries() == 1
    there = await check(one, 72)
    effective = resolve(team={}, workload=constants).policy
    assert Layout.read(there.layout) == Layout.of(effective)
    assert (there.half_life_hours or 24) == effective.histogram_half_life_hours
    assert (there.peaks, there.startup_memory_bytes) == (before.peaks, before.startup_memory_bytes)
    assert await rebuilds.rebuild_summaries() == 0
    await services.delete_policy(policy_id=policy.pk)
    assert await rebuilds.rebuild_summaries() == 1
    back, never = await check(one, 72), await check(other, 72)
    assert (back.layout, back.half_life_hours) == (None, None)
    for name in ("cpu_weights", "memory_weights"):
        assert getattr(back, name) == pytest.approx(getattr(before, name), abs=3e-5)
        assert getattr(back, name) == pytest.approx(getattr(never, name), abs=3e-5)


async def test_rebuilding_is_as_rolling_up_anew(pair: Pair) -> None:
    """By a half-life, in one layout: the same samples of who had the policy from the beginning."""
    one, other = pair.ids
    samples = draw(one, random.Random(3))
    await services.create_policy(workload=pair.workloads[1], constants=BRIEF)
    await services.record_usage(samples=samples)
    await services.record_usage(samples=[Sample(other, *sample[1:]) for sample in samples])
    await rollups.roll_up(now=AFTER)
    await services.create_policy(workload=pair.workloads[0], constants=BRIEF)
    assert await rebuilds.rebuild_summaries() == 1
    rebuilt, rolled = await check(one, 72), await check(other, 72)
    for name in ("cpu_weights", "memory_weights"):
        assert getattr(rebuilt, name) == pytest.approx(getattr(rolled, name), abs=3e-5)


async def test_workload_that_goes_to_another_team_is_rebuilt(pair: Pair) -> None:
    one, other = pair.ids
    for pk in pair.ids:
        await services.record_usage(samples=draw(pk, random.Random(4)))
    await rollups.roll_up(now=AFTER)
    await services.create_policy(team=pair.team, constants=COARSE)
    assert await rebuilds.rebuild_summaries(most=1) == 1, "no more than that"
    assert await rebuilds.rebuild_summaries() == 1
    await Workload.objects.filter(pk=pair.workloads[0].pk).aupdate(team=None)
    assert await rebuilds.rebuild_summaries() == 1
    assert (await check(one, 72)).layout is None
    assert (await check(other, 72)).layout is not None


@pytest.mark.parametrize("seed", range(6))
async def test_each_sample_counts_once_however_policies_change_between(
    pair: Pair, seed: int
) -> None:
    """Late and doubled samples, policies written, replaced and deleted, rebuilt or not yet."""
    chance = random.Random(seed)
    one, _ = pair.ids
    sent = draw(one, chance)
    arriving = sent + chance.sample(sent, 24)
    chance.shuffle(arriving)
    count = 0
    while arriving:
        cut = chance.randint(1, 16)
        batch, arriving = arriving[:cut], arriving[cut:]
        count += (await services.record_usage(samples=batch)).stored
        await PolicyOverride.objects.all().adelete()
        if chance.random() < 0.8:
            constants = chance.choice([COARSE, FINE, BRIEF, COARSE | BRIEF, FINE | BRIEF])
            owner = chance.choice([{"team": pair.team}, {"workload": pair.workloads[0]}])
            await services.create_policy(**owner, constants=constants)
        if chance.random() < 0.5:
            await rebuilds.rebuild_summaries()
        await rollups.roll_up(now=AFTER)
        await check(one, count)
    await rebuilds.rebuild_summaries()
    await check(one, len(sent))
    await PolicyOverride.objects.all().adelete()
    await rebuilds.rebuild_summaries()
    summary = await check(one, len(sent))
    assert (summary.layout, summary.half_life_hours) == (None, None)
    peak = max(sample.memory_bytes for sample in sent)
    assert max(memory for _, memory in summary.peaks.values()) == peak


async def test_reading_is_right_before_and_after_a_rebuild(pair: Pair) -> None:
    """With hours and a summary of another layout, and an open hour of the new one."""
    one, _ = pair.ids
    for pk in pair.ids:
        await services.record_usage(samples=draw(pk, random.Random(5)))
    await rollups.roll_up(now=HOUR + timedelta(hours=3, minutes=2))
    at = HOUR + timedelta(hours=6)

    async def evidence() -> Evidence:
        policies = await fetch_policies()
        members = await fetch_members(
            workload_ids=[], container_ids=[one], policies=policies, at=at
        )
        return build_evidence(members.observed[one], at=at)

    usual = await evidence()
    await services.create_policy(workload=pair.workloads[0], constants=COARSE)
    policy = resolve(team={}, workload=COARSE).policy
    mixed = await evidence()
    assert {part.layout for part in mixed.parts} == {STANDARD, Layout.of(policy)}
    assert await rebuilds.rebuild_summaries() == 1
    rebuilt = await evidence()
    assert {part.layout for part in rebuilt.parts} == {Layout.of(policy)}
    assert mixed.samples == rebuilt.samples == usual.samples == 72
    for weights, after in zip(mixed.weights(policy), rebuilt.weights(policy), strict=True):
        assert weights == pytest.approx(after, abs=3e-4)
    for share in (0.1, 0.5, 0.9, 0.99):
        before = histograms.percentile(usual.weights()[1], share, STANDARD.memory)
        after = histograms.percentile(mixed.weights(policy)[1], share, Layout.of(policy).memory)
        assert before is not None
        assert after is not None
        assert after >= before / 1.05, "an open hour in its own layout, by the sample"


async def test_what_is_remembered_follows_the_constants_and_the_rebuild(pair: Pair) -> None:
    now = timezone.now().replace(minute=30)
    await make_partitions(now)
    for pk in pair.ids:
        batch = [
            Sample(pk, now - timedelta(minutes=20 * n), 0.3, (200 + n) * MIB) for n in range(120)
        ]
        await services.record_usage(samples=batch)
    await rollups.roll_up(now=now)
    spec = {"memory_reservation_bytes": 2**31, "cpu_reservation": 2}
    await Container.objects.all().aupdate(**spec)

    async def told() -> Any:
        keys = await advice.fetch_keys(ids=pair.ids, is_workload=False, at=now, open_max=0)
        return sorted(keys), await fetch_sizes(container_ids=pair.ids, at=now)

    before = await told()
    assert await told() == before
    await services.create_policy(
        workload=pair.workloads[0],
        constants={"histogram_memory_first_bytes": 10**9, "downsize_confidence_min": 0},
    )
    mixed = await told()
    assert mixed != before
    assert mixed[1][pair.ids[1]] == before[1][pair.ids[1]]
    await rebuilds.rebuild_summaries()
    assert await told() == mixed, "in one bucket either way"


async def test_upkeep_rebuilds(pair: Pair) -> None:
    now = timezone.now()
    await make_partitions(now)
    at = now - timedelta(hours=2)
    await services.record_usage(samples=[Sample(pair.ids[0], at, 0.3, MIB)])
    await rollups.roll_up(now=now)
    await services.create_policy(team=pair.team, constants=COARSE)
    await upkeep.maintain(now=now)
    assert (await UsageSummary.objects.aget()).layout == [1.5, 0.02, 1e7]


async def test_container_without_hours_or_policy_of_its_own_is_left_alone(pair: Pair) -> None:
    await services.create_policy(team=pair.team, constants=COARSE)
    assert await rebuilds.rebuild_summaries() == 0


async def test_usual_path_reads_little_more(pair: Pair) -> None:
    """Without constants of anybody's own: two small statements an hour, nothing by container."""
    await services.record_usage(samples=draw(pair.ids[0], random.Random(6), 12))
    with capture_queries() as queries:
        await rollups.roll_up(now=AFTER)
        await rebuilds.rebuild_summaries()
    asked = [one["sql"] for one in queries if "fleet_" in one["sql"]]
    assert sum("fleet_policy_override" in one for one in asked) == 2, "one for each"
    assert sum("half_life_hours IS NOT NULL" in one for one in asked) == 2
    assert not any("bucket text, target text" in one for one in asked)


async def test_constants_are_read_over_http_while_layouts_differ(
    pair: Pair, writer: APIClient
) -> None:
    now = timezone.now()
    await make_partitions(now)
    for pk in pair.ids:
        batch = [Sample(pk, now - timedelta(minutes=n), 0.3, 200 * MIB) for n in range(1, 180)]
        await services.record_usage(samples=batch)
    await rollups.roll_up(now=now)
    body = {"workload": pair.workloads[0].pk, "constants": {"histogram_memory_first_bytes": 10**9}}
    assert (await writer.post("/api/v1/policies/", body)).status_code == 201
    answer = (await writer.get("/api/v1/reports/rightsizing/?ordering=name")).json()
    told = {one["name"]: one for one in answer["results"]}
    assert told["a"]["memory"]["percentiles"]["p90"] == 10**9
    assert told["b"]["memory"]["percentiles"]["p90"] < 220 * MIB
    assert list(told["a"]["overrides"]) == ["histogram_memory_first_bytes"]


@pytest.mark.usefixtures("committed")
async def test_nothing_is_lost_while_workers_roll_up_rebuild_and_policies_change() -> None:
    """All at once, in transactions of their own."""
    now = timezone.now()
    hour = (now - timedelta(hours=3)).replace(minute=0, second=0, microsecond=0)
    workload = await services.create_workload(name="a", image="x")
    found = await services.observe_host(
        **report(container("a", labels={"stowage.workload": "a"}), container("b"))
    )
    ids = list(found.containers.values())
    await Container.objects.filter(engine_id="a").aupdate(workload_id=workload.pk)

    async def ingest(worker: int) -> None:
        for turn in range(10):
            at = hour + timedelta(minutes=60 * (turn % 2), seconds=worker * 100 + turn)
            await services.record_usage(
                samples=[Sample(one, at, 0.1 * (turn + 1), 2**24 * (turn + 1)) for one in ids]
            )

    async def upkeep_() -> None:
        for _ in range(12):
            await rollups.roll_up(now=now)
            await rebuilds.rebuild_summaries()

    async def change() -> None:
        for constants in (COARSE, BRIEF, FINE):
            policy = await services.create_policy(workload=workload, constants=constants)
            await asyncio.sleep(0.05)
            await services.delete_policy(policy_id=policy.pk)
        await services.create_policy(workload=workload, constants=COARSE | BRIEF)

    await asyncio.gather(*(ingest(n) for n in range(4)), upkeep_(), upkeep_(), change())
    await rollups.roll_up(now=now)
    await rebuilds.rebuild_summaries()
    for one in ids:
        await check(one, 40)
    summary = await UsageSummary.objects.aget(container_id=found.containers["a"])
    assert (summary.layout, summary.half_life_hours) == ([1.5, 0.02, 1e7], 2)
