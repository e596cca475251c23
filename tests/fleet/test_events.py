"""The outbox: in order, complete, readable from any place on."""

import asyncio

import pytest

from app import db
from app.db.testing import assert_num_queries
from app.fleet import services
from app.fleet.models import Event
from app.fleet.services.events import Change, record_changes
from app.rest.test import APIClient
from tests.clients import ClientOf

EVENTS = "/api/v1/events/"


async def names_after(position: int) -> list[str]:
    return [event.data["name"] async for event in Event.objects.committed().after(position)]


@pytest.mark.asyncio
@pytest.mark.usefixtures("placed_events")
class TestReading:
    async def test_events_come_in_order_and_go_on_after_a_position(self, reader: APIClient) -> None:
        for name in "abcd":
            await services.create_workload(name=name, image="x")
        first = (await reader.get(f"{EVENTS}?page_size=2")).json()["results"]
        assert [event["data"]["name"] for event in first] == ["a", "b"]
        rest = (await reader.get(f"{EVENTS}?after={first[-1]['position']}")).json()["results"]
        assert [event["data"]["name"] for event in rest] == ["c", "d"]

    async def test_pages_lead_through_all_of_them(self, reader: APIClient) -> None:
        for number in range(7):
            await services.create_workload(name=f"w{number}", image="x")
        url, seen = f"{EVENTS}?page_size=3", []
        while url:
            page = (await reader.get(url)).json()
            seen += [event["data"]["name"] for event in page["results"]]
            url = page["next"]
        assert seen == [f"w{number}" for number in range(7)]

    async def test_events_are_filtered(self, reader: APIClient) -> None:
        host = await services.register_host(name="h", cpus=1, memory_bytes=1)
        await services.create_workload(name="w", image="x")
        for query, kinds in {
            "kind=host.created": ["host.created"],
            f"object_type=host&object_id={host.pk}": ["host.created"],
            "object_type=workload": ["workload.created"],
            "since=2999-01-01T00:00:00Z": [],
            "ordering=-position": ["workload.created", "host.created"],
        }.items():
            page = (await reader.get(f"{EVENTS}?{query}")).json()
            assert [event["kind"] for event in page["results"]] == kinds, query

    async def test_list_takes_one_query(self, reader: APIClient) -> None:
        await services.create_workload(name="w", image="x")
        await reader.get(EVENTS)
        with assert_num_queries(2):  # the token, the page
            await reader.get(EVENTS)

    async def test_one_event_is_read_by_its_id(self, reader: APIClient) -> None:
        await services.create_workload(name="w", image="x")
        event = (await reader.get(EVENTS)).json()["results"][0]
        assert (await reader.get(f"{EVENTS}{event['id']}/")).json() == event


@pytest.mark.asyncio
@pytest.mark.usefixtures("committed")
class TestOrder:
    async def test_event_of_a_transaction_that_commits_late_comes_late(self) -> None:
        """Its id is lower, but a reader that went on would never see it if its place were, too."""
        may_commit = asyncio.Event()
        has_written = asyncio.Event()

        async def slow() -> None:
            async with db.atomic():
                await record_changes(Change("host.created", 1, {"name": "slow"}))
                has_written.set()
                await may_commit.wait()

        task = asyncio.create_task(slow())
        await has_written.wait()
        await services.create_workload(name="quick", image="x")
        assert await names_after(0) == ["quick"]
        cursor = (await Event.objects.committed().alatest("position")).position
        may_commit.set()
        await task
        assert await names_after(cursor or 0) == ["slow"]

    async def test_event_of_a_transaction_that_failed_is_not_there(self) -> None:
        async def fail() -> None:
            async with db.atomic():
                await record_changes(Change("host.created", 1, {"name": "lost"}))
                raise LookupError

        with pytest.raises(LookupError):
            await fail()
        assert await Event.objects.acount() == 0

    async def test_events_of_one_object_are_in_the_order_of_its_changes(self) -> None:
        workload = await services.create_workload(name="w", image="x")
        images = [f"x:{number}" for number in range(12)]
        await asyncio.gather(
            *(services.update_workload(workload_id=workload.pk, image=image) for image in images)
        )
        kinds = ["workload.created", "workload.updated"]
        placed = Event.objects.committed().after(0).filter(kind__in=kinds)
        generations = [event.data["generation"] async for event in placed]
        assert generations == list(range(1, 14))

    async def test_reader_that_follows_loses_nothing_under_many_writers(
        self, client_with: ClientOf
    ) -> None:
        reader = await client_with("read")
        seen: list[str] = []
        is_over = asyncio.Event()

        async def follow() -> None:
            position = 0
            while True:
                was_over = is_over.is_set()
                page = (await reader.get(f"{EVENTS}?after={position}")).json()["results"]
                seen.extend(event["data"]["name"] for event in page)
                position = page[-1]["position"] if page else position
                if was_over and not page:
                    return

        task = asyncio.create_task(follow())
        await asyncio.gather(
            *(services.create_workload(name=f"w{number}", image="x") for number in range(40))
        )
        is_over.set()
        await task
        assert sorted(seen) == sorted(f"w{number}" for number in range(40))
