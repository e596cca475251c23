"""What is too old is forgotten, and who would read on from there is told so."""

from datetime import timedelta

import pytest
from django.utils import timezone

from app import db
from app.fleet import services, upkeep
from app.fleet.models import Container, Event
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
