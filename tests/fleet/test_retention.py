"""What is too old is forgotten, and who would read on from there is told so."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from app import db
from app.db.testing import capture_queries
from app.fleet import services, upkeep
from app.fleet.models import Container, Event, Usage, UsageHour
from app.fleet.partitions import HOURS, SAMPLES, maintain_partitions
from app.fleet.services import retention
from app.rest.test import APIClient
from tests.fleet.samples import container, report

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("placed_events")]

EVENTS = "/api/v1/events/"


async def write_events(*days_ago: int) -> list[int]:
    """Events of that age; their positions."""
    for number, days in enumerate(days_ago):
        await services.create_workload(name=f"w{number}", image="x")
        await db.execute(
            "UPDATE fleet_event SET at = now() - make_interval(days => %s::int)"
            " WHERE id = (SELECT max(id) FROM fleet_event)",
            days,
        )
    return [event.position or 0 async for event in Event.objects.order_by("position")]


async def test_old_events_are_forgotten() -> None:
    positions = await write_events(40, 31, 29, 0)
    until = await retention.forget_events(now=timezone.now(), keep_days=30)
    assert until == positions[1]
    left = [event.position async for event in Event.objects.order_by("position")]
    assert left == positions[2:]


async def test_nothing_is_forgotten_before_its_time() -> None:
    await write_events(29, 0)
    assert await retention.forget_events(now=timezone.now(), keep_days=30) == 0
    assert await Event.objects.acount() == 2


async def test_reader_who_fell_behind_is_told_to_begin_anew(reader: APIClient) -> None:
    positions = await write_events(40, 31, 29, 0)
    await retention.forget_events(now=timezone.now(), keep_days=30)
    gone = await reader.get(f"{EVENTS}?after={positions[0]}")
    assert gone.status_code == 410
    assert f"?after={positions[1]}" in gone.json()["detail"]
    assert (await reader.get(f"{EVENTS}?after=0")).status_code == 410
    on = await reader.get(f"{EVENTS}?after={positions[1]}")
    assert [event["position"] for event in on.json()["results"]] == positions[2:]
    assert len((await reader.get(EVENTS)).json()["results"]) == 2


async def test_containers_removed_long_ago_are_forgotten() -> None:
    long_ago = timezone.now() - timedelta(days=100)
    await services.observe_host(**report(container("a"), container("b"), observed_at=long_ago))
    await services.observe_host(
        **report(container("b"), observed_at=long_ago + timedelta(minutes=1))
    )
    assert await retention.forget_containers(now=timezone.now(), keep_days=90) == 1
    assert [one.engine_id async for one in Container.objects.all()] == ["b"]
    event = await Event.objects.alatest("id")
    assert (event.kind, event.data) == ("container.deleted", {"name": "name-a"})


async def test_one_round_does_everything() -> None:
    await write_events(400)
    await upkeep.maintain(now=timezone.now())
    assert await Event.objects.acount() == 0
    assert await upkeep.maintain(now=timezone.now()) == (([], []), ([], []))


@pytest.mark.parametrize(("samples", "hours"), [(2, 90), (1, 30)])
async def test_samples_and_hours_are_kept_as_long_as_is_set_and_dropped_by_partition(
    agent: APIClient, settings: Any, samples: int, hours: int
) -> None:
    """The default, 2 and 90 days, and another."""
    defaults = settings.STOWAGE
    if (samples, hours) == (2, 90):
        assert (defaults["USAGE_RETENTION_DAYS"], defaults["ROLLUP_RETENTION_DAYS"]) == (2, 90)
    settings.STOWAGE = defaults | {
        "USAGE_RETENTION_DAYS": samples,
        "ROLLUP_RETENTION_DAYS": hours,
    }
    now = timezone.now()
    observed = await services.observe_host(**report(container("a"), observed_at=now))
    (one,) = observed.containers.values()
    for series, days in ((SAMPLES, samples + 1), (HOURS, hours + 8)):
        await maintain_partitions(now=now, keep_days=days, ahead_days=1, series=series)
    long_ago = now - timedelta(days=hours + 8)
    await db.execute(
        "INSERT INTO fleet_usage_hour (container_id, hour, samples, first_at, last_at, cpu_sum,"
        " cpu_max, memory_sum, memory_max, cpu_histogram, memory_histogram)"
        " SELECT $1, hour, 1, hour, hour, 1, 1, 1, 1, '{}', '{}'"
        " FROM unnest(ARRAY[$2::timestamptz, $3::timestamptz]) AS hour",
        one,
        long_ago,
        now - timedelta(days=hours - 1),
    )
    stored = [now - timedelta(days=samples + 1), now - timedelta(days=samples) + timedelta(hours=1)]
    await db.execute(
        "INSERT INTO fleet_usage (container_id, at, cpu_cores, memory_bytes)"
        " SELECT $1, at, 1, 1 FROM unnest($2::timestamptz[]) AS at",
        one,
        stored,
    )
    with capture_queries() as queries:
        await upkeep.maintain(now=now)
    assert [sample.at async for sample in Usage.objects.all()] == stored[1:]
    assert [row.hour async for row in UsageHour.objects.all()] == [now - timedelta(days=hours - 1)]
    removed = [query["sql"] for query in queries if "DELETE FROM fleet_usage " in query["sql"]]
    assert not removed
    assert any("DROP TABLE" in query["sql"] for query in queries)
    for age, status in ((stored[0], 400), (stored[1] + timedelta(minutes=1), 201)):
        body = [{"container": one, "at": age.isoformat(), "cpu_cores": 1, "memory_bytes": 1}]
        assert (await agent.post("/api/v1/usage/", body)).status_code == status
