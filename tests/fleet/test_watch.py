"""Watching lists: every change once and in order, from any position on, by filters."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from django.urls import URLResolver, get_resolver
from django.utils import timezone

from app import db
from app.accounts.models import Team
from app.db import notifications
from app.db.testing import assert_num_queries, capture_queries
from app.fleet import outbox, services
from app.fleet import tail as tails
from app.fleet.models import Container, PolicyOverride, Quota
from app.fleet.services import retention
from app.fleet.tail import Tail, tail
from app.fleet.usage_journal import usage_positions
from app.rest.test import APIClient
from tests.clients import ClientOf
from tests.fleet.samples import container, report
from tests.servers import until

# Each test commits, has a connection of its own that listens, and waits for what comes.
pytestmark = pytest.mark.timeout(20)

API = "/api/v1/"
SSE = {"HTTP_ACCEPT": "text/event-stream"}


@pytest_asyncio.fixture(loop_scope="session")
async def reader(committed: None, client_with: ClientOf) -> APIClient:
    outbox.positions.forget()
    return await client_with("read")


class Watcher:
    """A stream's events, as a browser would have them."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.chunks = chunks
        self.waiting: list[dict[str, Any]] = []
        self.told: tuple[Any, ...] = ()

    async def event(self) -> dict[str, Any]:
        """The next event: its fields, the data parsed. Comments are passed over."""
        async with asyncio.timeout(15):
            while not self.waiting:
                for block in (await anext(self.chunks)).decode().split("\n\n"):
                    lines = [line.partition(": ") for line in block.split("\n")]
                    fields: dict[str, Any] = {name: value for name, _, value in lines if name}
                    if fields:
                        fields["data"] = json.loads(fields["data"])
                        self.waiting.append(fields)
        return self.waiting.pop(0)

    async def opening(self) -> int:
        first = await self.event()
        assert first["event"] == "bookmark"
        position: int = first["data"]["position"]
        assert first["id"] == str(position)
        return position

    async def change(self) -> dict[str, Any]:
        """The next change. What a new generation does to a workload's conditions is passed over."""
        while True:
            change: dict[str, Any] = (await self.event())["data"]
            told = (change["type"], change["object"].get("version"), change["object"].get("id"))
            if change["type"] != "MODIFIED" or told != self.told:
                self.told = ("MODIFIED", *told[1:])
                return change

    async def named(self) -> tuple[str, str]:
        """The next change: what happened, and the object's name."""
        change = await self.change()
        return change["type"], change["object"]["name"]


@asynccontextmanager
async def watching(client: APIClient, path: str, **headers: str) -> AsyncIterator[Watcher]:
    async with client.stream("GET", API + path, **headers) as (start, chunks):
        assert start["status"] == 200, [chunk async for chunk in chunks]
        yield Watcher(chunks)


async def live(count: int = 1) -> None:
    """As many watchers have caught up, and are told what happens as it happens."""
    await until(lambda: sum(len(group.channels) for group in tail.groups.values()) == count)


@pytest.mark.asyncio
class TestEvents:
    async def test_events_come_as_they_happen_each_with_its_position(
        self, reader: APIClient
    ) -> None:
        async with watching(reader, "events/", **SSE) as watcher:
            start = await watcher.opening()
            workload = await services.create_workload(name="w", image="x")
            event = await watcher.event()
            assert event["data"]["kind"] == "workload.created"
            assert event["data"]["object_id"] == workload.pk
            assert int(event["id"]) == event["data"]["position"] > start
        assert not tail.groups
        assert not tail._running

    async def test_event_is_what_the_list_shows(self, reader: APIClient) -> None:
        await services.create_workload(name="w", image="x")
        (listed,) = (await reader.get(f"{API}events/")).json()["results"]
        async with watching(reader, "events/?after=0", **SSE) as watcher:
            await watcher.opening()
            assert (await watcher.event())["data"] == listed

    @pytest.mark.parametrize("by_header", [True, False])
    async def test_stream_goes_on_from_a_position(self, reader: APIClient, by_header: bool) -> None:
        for name in "abc":
            await services.create_workload(name=name, image="x")
        first = (await reader.get(f"{API}events/")).json()["results"][0]["position"]
        headers = SSE | ({"HTTP_LAST_EVENT_ID": str(first)} if by_header else {})
        after = 0 if by_header else first  # the header is the later one
        async with watching(reader, f"events/?after={after}", **headers) as watcher:
            assert await watcher.opening() == first
            names = [(await watcher.event())["data"]["data"]["name"] for _ in range(2)]
            assert names == ["b", "c"]
            await services.create_workload(name="d", image="x")
            assert (await watcher.event())["data"]["data"]["name"] == "d"

    async def test_filters_hold_for_what_was_and_what_comes(self, reader: APIClient) -> None:
        await services.create_workload(name="w", image="x")
        await services.register_host(name="h", cpus=1, memory_bytes=1)
        query = "events/?object_type=host&after=0"
        async with watching(reader, query, **SSE) as watcher:
            await watcher.opening()
            assert (await watcher.event())["data"]["kind"] == "host.created"
            await live()
            await services.create_workload(name="v", image="x")
            await services.register_host(name="i", cpus=1, memory_bytes=1)
            assert (await watcher.event())["data"]["data"]["name"] == "i"

    async def test_silence_is_broken_by_bookmarks_where_events_passed_by(
        self, reader: APIClient
    ) -> None:
        async with watching(reader, "events/?kind=host.deleted", **SSE) as watcher:
            start = await watcher.opening()
            await live()
            await services.create_workload(name="w", image="x")
            await until(lambda: tail.position > start)
            (group,) = tail.groups.values()
            group._was_busy = False
            group._beat()
            bookmark = await watcher.event()
            assert bookmark["event"] == "bookmark"
            assert bookmark["data"]["position"] == tail.position
            assert group.heartbeat() == b":\n\n"

    async def test_hundreds_of_past_events_are_told_by_pages(self, reader: APIClient) -> None:
        await db.execute(
            "INSERT INTO fleet_event (kind, object_type, object_id, data)"
            " SELECT 'host.updated', 'host', n, '{}' FROM generate_series(1, 501) n"
        )
        async with watching(reader, "events/?after=0", **SSE) as watcher:
            await watcher.opening()
            ids = [(await watcher.event())["data"]["object_id"] for _ in range(501)]
            assert ids == list(range(1, 502))


@pytest.mark.asyncio
class TestObjects:
    async def test_object_is_added_modified_deleted(self, reader: APIClient) -> None:
        async with watching(reader, "workloads/?watch=true") as watcher:
            await watcher.opening()
            await live()
            workload = await services.create_workload(name="w", image="x")
            added = await watcher.change()
            address = f"{API}workloads/{workload.pk}/"
            assert added == {"type": "ADDED", "object": (await reader.get(address)).json()}
            await services.update_workload(workload_id=workload.pk, image="y")
            modified = await watcher.change()
            assert modified == {"type": "MODIFIED", "object": (await reader.get(address)).json()}
            await services.delete_workload(workload_id=workload.pk)
            deleted = await watcher.change()
            assert deleted == {"type": "DELETED", "object": {"id": workload.pk, "name": "w"}}

    async def test_list_tells_the_position_to_watch_from(self, reader: APIClient) -> None:
        await services.create_workload(name="listed", image="x")
        listed = await reader.get(f"{API}workloads/")
        position = listed["Stowage-Position"]
        await services.create_workload(name="between", image="x")
        async with watching(reader, f"workloads/?watch=true&after={position}") as watcher:
            assert await watcher.opening() == int(position)
            assert await watcher.named() == ("ADDED", "between")

    async def test_object_that_comes_to_match_is_added_and_one_that_leaves_is_deleted(
        self, reader: APIClient
    ) -> None:
        blue = await services.create_workload(name="blue", image="x", labels={"c": "blue"})
        red = await services.create_workload(name="red", image="x", labels={"c": "red"})
        async with watching(reader, "workloads/?watch=1&label=c=blue") as watcher:
            await watcher.opening()
            await live()
            await services.update_workload(workload_id=red.pk, image="y")  # not theirs
            await services.update_workload(workload_id=blue.pk, image="y")
            assert await watcher.named() == ("MODIFIED", "blue")
            await services.update_workload(workload_id=red.pk, labels={"c": "blue"})
            assert await watcher.named() == ("ADDED", "red")
            await services.update_workload(workload_id=blue.pk, labels={})
            assert await watcher.named() == ("DELETED", "blue")
            await services.delete_workload(workload_id=red.pk)
            assert await watcher.named() == ("DELETED", "red")

    async def test_one_who_comes_back_hears_what_left_the_filter(self, reader: APIClient) -> None:
        blue = await services.create_workload(name="blue", image="x", labels={"c": "blue"})
        after = await outbox.last_position()
        await services.update_workload(workload_id=blue.pk, labels={})
        async with watching(reader, f"workloads/?watch=1&label=c&after={after}") as watcher:
            await watcher.opening()
            assert await watcher.named() == ("DELETED", "blue")

    async def test_nested_list_and_search_are_watched(self, reader: APIClient) -> None:
        await services.observe_host(**report(name="a"))
        host = (await Container.objects.aget()).host_id
        async with (
            watching(reader, f"hosts/{host}/containers/?watch=1&state=running") as nested,
            watching(reader, "hosts/?watch=1&search=B") as searched,
        ):
            await nested.opening()
            await searched.opening()
            await live(2)
            await services.register_host(name="bee", cpus=1, memory_bytes=1)
            assert await searched.named() == ("ADDED", "bee")
            later = report(name="a", observed_at=tomorrow()) | {"containers": []}
            await services.observe_host(**later)
            event = (await nested.event())["data"]
            assert (event["type"], event["object"]["state"]) == ("DELETED", "removed")

    async def test_nested_list_without_a_filter_is_its_parents(self, reader: APIClient) -> None:
        mine = await services.create_workload(name="mine", image="x")
        await services.create_workload(name="other", image="x")
        async with watching(reader, f"workloads/{mine.pk}/revisions/?watch=1&after=0") as watcher:
            await watcher.opening()
            assert (await watcher.change())["object"]["workload"] == mine.pk
            await live()
            await services.create_workload(name="third", image="x")
            await services.update_workload(workload_id=mine.pk, image="y")
            assert (await watcher.change())["object"]["workload"] == mine.pk
        missing = await reader.get(f"{API}workloads/0/revisions/?watch=1")
        assert missing.status_code == 404

    async def test_images_are_watched(self, reader: APIClient) -> None:
        async with watching(reader, "images/?watch=true") as watcher:
            await watcher.opening()
            await live()
            first = await services.observe_host(**report(name="a"))
            event = await watcher.change()
            assert (event["type"], event["object"]["hosts"]) == ("ADDED", [first.host_id])
            second = await services.observe_host(**report(name="b", engine_id="c2"))
            event = (await watcher.event())["data"]
            held = [first.host_id, second.host_id]
            assert (event["type"], event["object"]["hosts"]) == ("MODIFIED", held)
            await services.delete_host(host_id=first.host_id, force=True)
            event = (await watcher.event())["data"]
            assert (event["type"], event["object"]["hosts"]) == ("MODIFIED", held[1:])

    async def test_revisions_are_watched(self, reader: APIClient) -> None:
        workload = await services.create_workload(name="w", image="x")
        path = f"workloads/{workload.pk}/revisions/?watch=true&after=0"
        async with watching(reader, path) as watcher:
            await watcher.opening()
            assert (await watcher.event())["data"]["object"]["number"] == 1
            await live()
            await services.update_workload(workload_id=workload.pk, name="v")  # no new generation
            await services.update_workload(workload_id=workload.pk, image="y")
            event = await watcher.change()
            assert (event["type"], event["object"]["number"]) == ("ADDED", 2)
            await services.delete_workload(workload_id=workload.pk)
            event = (await watcher.event())["data"]
            assert event == {"type": "DELETED", "object": {"workload": workload.pk}}

    async def test_all_watchers_share_the_queries(self, reader: APIClient) -> None:
        async with (
            watching(reader, "workloads/?watch=1") as first,
            watching(reader, "workloads/?watch=1") as second,
            watching(reader, "workloads/?watch=1&name=w") as third,
        ):
            for watcher in (first, second, third):
                await watcher.opening()
            await live(3)
            assert len(tail.groups) == 2
            await services.create_workload(name="w", image="x")
            for watcher in (first, second, third):
                assert await watcher.named() == ("ADDED", "w")
            async with tail.lock:
                tail.position -= 1
            with assert_num_queries(2):  # the page of events, the objects
                await tail._step()
            for watcher in (first, second):
                await watcher.event()

    async def test_all_who_come_back_share_the_reading_of_what_they_missed(
        self, reader: APIClient
    ) -> None:
        for name in "abc":
            await services.create_workload(name=name, image="x")
        async with AsyncExitStack() as stack:
            with capture_queries() as queries:
                paths = ["workloads/?watch=1&after=0"] * 20
                watchers = await asyncio.gather(
                    *(stack.enter_async_context(watching(reader, path)) for path in paths)
                )
                for watcher in watchers:
                    await watcher.opening()
                    assert [(await watcher.named())[1] for _ in "abc"] == list("abc")
                await live(20)
            told = [query["sql"] for query in queries if "LIMIT 200" in query["sql"]]
            shown = [query["sql"] for query in queries if 'FROM "fleet_workload"' in query["sql"]]
            assert len(told) <= 2  # one is the tail's own, as it begins to listen
            assert len(shown) == 1
            (group,) = tail.groups.values()
            assert not group.past._pages  # nobody catches up any more

    async def test_however_many_watch_one_connection_listens(self, reader: APIClient) -> None:
        """As the server counts the worker's connections."""
        paths = [f"workloads/?watch=1&name=n{number}" for number in range(6)]
        paths += [f"{name}/?watch=1" for name in ("hosts", "images", "containers", "events")]
        async with AsyncExitStack() as stack:

            async def watch(path: str) -> None:
                watcher = await stack.enter_async_context(watching(reader, path))
                await watcher.opening()

            await watch(paths[0])
            await live()
            async with asyncio.timeout(15):
                while (alone := await connections())[1] == 0:  # noqa: ASYNC110 - the server's
                    await asyncio.sleep(0.01)
            for path in (*paths[1:], *paths, *paths):
                await watch(path)
            await live(3 * len(paths))
            await until(lambda: db.statistics()["in_use"] == 0)  # nor do they hold the pool's
            assert await connections() == alone
            assert alone[1] == 1

    async def test_watcher_holds_no_connection(self, reader: APIClient) -> None:
        async with watching(reader, "workloads/?watch=1") as watcher:
            await watcher.opening()
            await live()
            await until(lambda: db.statistics()["in_use"] == 0)


async def connections() -> tuple[int, int]:
    """To the database beside the pool's own, and those among them that listen."""
    (row,) = await db.fetch(
        "SELECT count(*) AS all, count(*) FILTER (WHERE query LIKE 'LISTEN%%') AS listening"
        " FROM pg_stat_activity"
        " WHERE datname = current_database() AND backend_type = 'client backend'"
    )
    return row["all"] - db.statistics()["size"], row["listening"]


def tomorrow() -> datetime:
    return timezone.now() + timedelta(days=1)


def listed(resolver: URLResolver, prefix: str = "") -> set[str]:
    """The addresses of all lists under /api/v1/."""
    found: set[str] = set()
    for one in resolver.url_patterns:
        path = prefix + str(one.pattern)
        if isinstance(one, URLResolver):
            found |= listed(one, path)
        elif (getattr(one.callback, "actions", None) or {}).get("get") == "list":
            found.add(str(one.pattern).removeprefix("^").removesuffix("$"))
    return {path for path in found if "format" not in path}


async def what_there_is() -> dict[str, int]:
    """Something on every list; the ids by the words of the addresses."""
    team = await Team.objects.acreate(name="Core", slug="core")
    workload = await services.create_workload(name="w", image="x", team=team)
    observed = await services.observe_host(**report())
    await Container.objects.aupdate(workload_id=workload.pk)
    await services.create_quota(team=team, cpus=4)
    await services.create_policy(workload=workload, constants={})
    return {
        "host_id": observed.host_id,
        "workload_id": workload.pk,
        "container_id": observed.containers["c1"],
    }


async def change_all(ids: dict[str, int], name: str) -> None:
    """Something that changes on every list."""
    workload_id, container_id = ids["workload_id"], ids["container_id"]
    await services.update_workload(workload_id=workload_id, image=name)
    await services.update_host(host_id=ids["host_id"], labels={"changed": name})
    quota, policy = await Quota.objects.aget(), await PolicyOverride.objects.aget()
    await services.update_quota(quota_id=quota.pk, cpus=float(len(name) + 4))
    constants = {"samples_min": len(name) + 100}
    await services.update_policy(policy_id=policy.pk, constants=constants)
    at = timezone.now() + timedelta(seconds=len(name))
    other = container("other", image=f"image-{name}")
    one = container(labels={"stowage.workload": "w", "changed": name})
    await services.observe_host(**report(one, other, observed_at=at))
    await Container.objects.filter(pk=container_id).aupdate(workload_id=workload_id)
    await services.record_usage(samples=[services.Sample(container_id, at, 0.5, 1)])


LISTS = {
    *("hosts/", "images/", "workloads/", "quotas/", "policies/", "revisions/", "containers/"),
    *("usage/", "events/", "hosts/<int:host_id>/containers/"),
    *("workloads/<int:workload_id>/containers/", "workloads/<int:workload_id>/revisions/"),
    "containers/<int:container_id>/usage/",
}


@pytest.mark.asyncio
class TestEveryList:
    async def test_every_list_of_the_fleet_is_in_the_table(self) -> None:
        assert listed(get_resolver()) - LISTS == {"tokens/"}

    @pytest.mark.parametrize("path", sorted(LISTS))
    async def test_it_is_watched_and_goes_on_from_where_it_was_left(
        self, reader: APIClient, path: str
    ) -> None:
        usage_positions.forget()
        ids = await what_there_is()
        address = re.sub(r"<int:(\w+)>", lambda match: str(ids[match[1]]), path)
        position = int((await reader.get(API + address))["Stowage-Position"])
        async with watching(reader, f"{address}?watch=true&after={position}") as watcher:
            assert await watcher.opening() == position
            await change_all(ids, "a")
            first = await watcher.event()
            assert int(first["id"]) > position
            if path != "events/":
                assert set(first["data"]) == {"type", "object"}
        await change_all(ids, "bb")
        query = f"{address}?watch=true&after={position}"
        async with watching(reader, query, HTTP_LAST_EVENT_ID=first["id"]) as watcher:
            assert await watcher.opening() == int(first["id"])
            later = await watcher.event()
            assert int(later["id"]) > int(first["id"])
        refused = await reader.get(f"{API}{address}?watch=true&after={2**62}")
        assert refused.status_code == 410


@pytest.mark.asyncio
class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "field", "words"),
        [
            ("workloads/?watch=perhaps", "watch", "Not a boolean"),
            ("workloads/?watch=1&after=x", "after", "Write a position"),
            ("workloads/?watch=1&team=x", "team", "whole number"),
            ("images/?watch=1&host=1", "watch", "By host a list can be filtered"),
            ("workloads/?watch=1&fields=id", "fields", "Leave it out"),
        ],
    )
    async def test_what_cannot_be_watched_is_refused_with_the_remedy(
        self, reader: APIClient, path: str, field: str, words: str
    ) -> None:
        response = await reader.get(API + path)
        assert response.status_code == 400
        assert words in str(response.json()[field])

    async def test_position_that_is_no_longer_kept_is_gone(self, reader: APIClient) -> None:
        await services.create_workload(name="w", image="x")
        position = await outbox.last_position()
        await retention.forget_events(now=tomorrow(), keep_days=0)
        for query in (f"after={position - 1}", f"after={position + 1}"):
            response = await reader.get(f"{API}workloads/?watch=1&{query}", **SSE)
            assert response.status_code == 410
            assert response["Content-Type"] == "application/json"
            assert f"go on after {position}" in response.json()["detail"]
        async with watching(reader, f"workloads/?watch=1&after={position}") as watcher:
            assert await watcher.opening() == position

    async def test_bad_last_event_id_names_the_header(self, reader: APIClient) -> None:
        response = await reader.get(f"{API}events/", HTTP_LAST_EVENT_ID="x", **SSE)
        assert response.status_code == 400
        assert "Last-Event-ID" in response.json()

    async def test_watching_needs_what_the_list_needs(self, reader: APIClient) -> None:
        reader.credentials(HTTP_AUTHORIZATION="")
        assert (await reader.get(f"{API}workloads/?watch=1")).status_code == 401


@pytest.mark.asyncio
class TestJoining:
    async def test_nothing_is_lost_or_doubled_by_watchers_that_join_under_load(
        self, reader: APIClient
    ) -> None:
        """Each joins at another moment, from the beginning, while others write."""
        total = 60

        async def write() -> None:
            for number in range(total):
                await services.register_host(name=f"h{number}", cpus=1, memory_bytes=1)

        async def watch(pause: float) -> list[int]:
            await asyncio.sleep(pause)
            async with watching(reader, "events/?after=0", **SSE) as watcher:
                await watcher.opening()
                return [(await watcher.event())["data"]["position"] for _ in range(total)]

        writing = asyncio.create_task(write())
        seen = await asyncio.gather(*(watch(number * 0.02) for number in range(12)))
        await writing
        expected = [event.position for event in await outbox.read_events(0)]
        assert len(expected) == total
        assert all(positions == expected for positions in seen)

    async def test_what_commits_before_the_worker_listens_is_told_once_it_does(
        self, reader: APIClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A slow connection to listen on: nobody is told of the event, and nobody has to wait for
        the next look.
        """
        monkeypatch.setattr(tails, "LOOK_SECONDS", 60.0)
        subscribe, may_listen = notifications._subscribe, asyncio.Event()

        async def late(channels: tuple[str, ...]) -> Any:
            await may_listen.wait()
            return await subscribe(channels)

        monkeypatch.setattr(notifications, "_subscribe", late)
        async with watching(reader, "events/", **SSE) as watcher:
            await watcher.opening()
            await live()
            await services.create_workload(name="w", image="x")
            may_listen.set()
            assert (await watcher.event())["data"]["data"]["name"] == "w"

    async def test_tail_reads_on_where_nobody_tells_it(
        self, reader: APIClient, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        """Behind a pooler of transactions nobody can listen; it looks by itself."""
        monkeypatch.setattr(tails, "LOOK_SECONDS_ALONE", 0.02)
        settings.DATABASE_POOL = settings.DATABASE_POOL | {"transaction_pooling": True}
        async with watching(reader, "events/", **SSE) as watcher:
            await watcher.opening()
            await live()
            await services.create_workload(name="w", image="x")
            assert (await watcher.event())["data"]["data"]["name"] == "w"

    async def test_failure_of_the_tail_sends_its_watchers_away(
        self, reader: APIClient, monkeypatch: pytest.MonkeyPatch, caplog: Any
    ) -> None:
        async with watching(reader, "events/", **SSE) as watcher:
            await watcher.opening()
            await live()

            async def fail(*args: object) -> None:
                raise LookupError("a mistake")

            monkeypatch.setattr(Tail, "_step", fail)
            await services.create_workload(name="w", image="x")
            assert (await watcher.event())["event"] == "reconnect"
        assert "a mistake" in caplog.text
