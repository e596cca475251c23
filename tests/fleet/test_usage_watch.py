"""Watching samples: each once, in an order that can be gone on in, by filters."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from django.utils import timezone

from app import db
from app.fleet import services, usage_journal
from app.fleet.models import Container
from app.fleet.services import retention
from app.fleet.services.usage import Sample
from app.fleet.usage_tail import usage_tail
from app.rest.test import APIClient
from tests.adversity.ways import witness_of
from tests.clients import ClientOf
from tests.fleet.samples import report
from tests.fleet.test_watch import API, Watcher, watching
from tests.servers import until

# Each test commits, and waits for what comes.
pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(20)]

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)


@pytest_asyncio.fixture(loop_scope="session")
async def reader(committed: None, client_with: ClientOf) -> APIClient:
    usage_journal.usage_positions.forget()
    return await client_with("read")


@pytest_asyncio.fixture(loop_scope="session")
async def ids(reader: APIClient) -> list[int]:
    """A container on each of two hosts."""
    for host in "ab":
        await services.observe_host(**report(name=host, engine_id=f"{host}1"))
    containers = [container async for container in Container.objects.order_by("id")]
    return [container.pk for container in containers]


async def store(*samples: tuple[int, int]) -> None:
    """Of a container, so many seconds from NOW on; its cpu tells them apart."""
    await services.record_usage(
        samples=[
            Sample(pk, NOW + timedelta(seconds=second), second / 8, 2**20) for pk, second in samples
        ]
    )


async def seen(watcher: Watcher, count: int) -> list[tuple[int, float]]:
    found = []
    for _ in range(count):
        sample = (await watcher.event())["data"]["object"]
        found.append((sample["container"], sample["cpu_cores"] * 8))
    return found


async def live(count: int = 1) -> None:
    groups = usage_tail.groups.values()
    await until(lambda: sum(len(group.channels) for group in groups) == count)


async def test_samples_come_as_the_list_shows_them(reader: APIClient, ids: list[int]) -> None:
    async with watching(reader, "usage/?watch=true") as watcher:
        await watcher.opening()
        await live()
        await store((ids[0], 1))
        await store((ids[0], 1))  # is there already
        event = await watcher.event()
        (listed,) = (await reader.get(f"{API}usage/")).json()["results"]
        assert event["data"] == {"type": "ADDED", "object": listed}
        await store((ids[1], 3), (ids[0], 2))
        assert await seen(watcher, 2) == [(ids[0], 2), (ids[1], 3)]
    assert not usage_tail.groups
    assert not usage_tail._running


async def test_list_tells_the_position_to_watch_from(reader: APIClient, ids: list[int]) -> None:
    await store((ids[0], 1))
    position = (await reader.get(f"{API}usage/"))["Stowage-Position"]
    await store((ids[0], 2))
    async with watching(reader, f"usage/?watch=1&after={position}") as watcher:
        assert await watcher.opening() == int(position)
        assert await seen(watcher, 1) == [(ids[0], 2)]


async def test_watcher_goes_on_in_the_middle_of_a_batch(reader: APIClient, ids: list[int]) -> None:
    position = await usage_journal.last_position()
    await store(*((pk, second) for second in (1, 2) for pk in ids))
    async with watching(reader, f"usage/?watch=1&after={position}") as watcher:
        await watcher.opening()
        events = [await watcher.event() for _ in range(2 * len(ids))]
    middle = events[2]["id"]
    await Container.objects.filter(pk=ids[0]).adelete()  # with what has been told of it
    headers = {"HTTP_LAST_EVENT_ID": middle}
    async with watching(reader, f"usage/?watch=1&after={position}", **headers) as watcher:
        await watcher.opening()
        rest = [await watcher.event() for _ in events[3:]]
        assert [event["data"] for event in rest] == [event["data"] for event in events[3:]]
        assert [event["id"] for event in rest] == [event["id"] for event in events[3:]]
        await store((ids[1], 9))
        assert await seen(watcher, 1) == [(ids[1], 9)]


async def test_filters_are_the_lists(reader: APIClient, ids: list[int]) -> None:
    last = await Container.objects.aget(pk=ids[-1])
    workload = await services.create_workload(name="w", image="x")
    await Container.objects.filter(pk=last.pk).aupdate(
        workload_id=workload.pk, labels={"zone": "b"}
    )
    since = (NOW + timedelta(seconds=5)).isoformat().replace("+", "%2B")
    for path, ours in (
        (f"usage/?watch=1&container={last.pk}", {(last.pk, 1), (last.pk, 9)}),
        (f"usage/?watch=1&host={last.host_id}&label=zone=b", {(last.pk, 1), (last.pk, 9)}),
        (f"usage/?watch=1&workload={workload.pk}", {(last.pk, 1), (last.pk, 9)}),
        (f"containers/{last.pk}/usage/?watch=1", {(last.pk, 1), (last.pk, 9)}),
        (f"usage/?watch=1&container={last.pk}&until={since}", {(last.pk, 1)}),
        (f"usage/?watch=1&since={since}", {(ids[0], 9), (last.pk, 9)}),
    ):
        await db.execute("TRUNCATE fleet_usage, fleet_usage_batch")
        before = await usage_journal.last_position()
        await store((ids[0], 1), (ids[0], 9), (last.pk, 1), (last.pk, 9))
        async with watching(reader, f"{path}&after={before}") as watcher:
            await watcher.opening()
            assert set(await seen(watcher, len(ours))) == ours, path
            await live()
            assert not watcher.waiting


async def test_nothing_passes_a_transaction_that_began_before(
    reader: APIClient, ids: list[int]
) -> None:
    """It may end at any time, and its samples come before: so the others wait for it."""
    async with watching(reader, "usage/?watch=1") as watcher, witness_of() as slow:
        await watcher.opening()
        await live()
        transaction = slow.raw.transaction()
        await transaction.start()
        await slow.value("SELECT pg_current_xact_id()::text")
        await store((ids[0], 1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(usage_step()), 0.7)
        await transaction.rollback()
        assert await seen(watcher, 1) == [(ids[0], 1)]


async def usage_step() -> None:
    """Ends when the tail has told of anything."""
    groups = list(usage_tail.groups.values())
    await until(lambda: any(group.told for group in groups))


async def test_nothing_is_lost_or_doubled_by_watchers_that_join_under_load(
    reader: APIClient, ids: list[int]
) -> None:
    start, total = await usage_journal.last_position(), 60

    async def write(pk: int) -> None:
        for second in range(total // len(ids)):
            await store((pk, second))

    async def watch(pause: float) -> list[tuple[int, float]]:
        await asyncio.sleep(pause)
        async with watching(reader, f"usage/?watch=1&after={start}") as watcher:
            await watcher.opening()
            return await seen(watcher, total)

    _, *told = await asyncio.gather(
        asyncio.gather(*(write(pk) for pk in ids)), *(watch(n * 0.05) for n in range(6))
    )
    expected = [(pk, second) for pk in ids for second in range(total // len(ids))]
    assert all(sorted(samples) == expected for samples in told)
    assert all(samples == told[0] for samples in told)


async def test_what_is_forgotten_or_was_never_given_is_gone(
    reader: APIClient, ids: list[int]
) -> None:
    before = await usage_journal.last_position()
    await store((ids[0], 1))
    later = timezone.now() + timedelta(hours=1)
    assert await retention.forget_batches(now=later) >= before >> usage_journal.BITS
    await retention.forget_batches(now=later + timedelta(hours=1))  # still told
    for position in (before, 2**62):
        answer: Any = await reader.get(f"{API}usage/?watch=1&after={position}")
        assert answer.status_code == 410
        assert "go on after" in answer.json()["detail"]
    now = await usage_journal.last_position()
    async with watching(reader, f"usage/?watch=1&after={now}") as watcher:
        assert await watcher.opening() == now


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("usage/?watch=perhaps", 400, "watch"),
        ("usage/?watch=1&resolution=1h", 400, "resolution"),
        ("usage/?watch=1&container=x", 400, "container"),
        ("usage/?watch=1&after=x", 400, "after"),
        ("containers/0/usage/?watch=1", 404, "detail"),
    ],
)
async def test_what_cannot_be_watched_is_refused(
    reader: APIClient, query: str, status: int, word: str
) -> None:
    answer = await reader.get(API + query)
    assert (answer.status_code, list(answer.json())) == (status, [word])
