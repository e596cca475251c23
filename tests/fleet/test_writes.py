"""If-Match and ?dry_run=all on hosts and workloads."""

import asyncio
from typing import Any

import pytest

from app.fleet import services
from app.fleet.models import Event, Host, Revision, Workload
from app.rest.test import APIClient
from tests.clients import ClientOf

HOSTS = "/api/v1/hosts/"
WORKLOADS = "/api/v1/workloads/"
HOST = {"name": "a", "cpus": 4, "memory_bytes": 1000}
WORKLOAD = {"name": "w", "image": "nginx:1"}


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
@pytest.mark.parametrize(
    ("url", "body", "change"),
    [(HOSTS, HOST, {"cpus": 5}), (WORKLOADS, WORKLOAD, {"replicas": 5})],
)
class TestIfMatch:
    async def test_etag_is_the_version(
        self, writer: APIClient, url: str, body: Any, change: Any
    ) -> None:
        created = await writer.post(url, body)
        one = f"{url}{created.json()['id']}/"
        assert created["ETag"] == (await writer.get(one))["ETag"] == '"1"'
        assert (await writer.patch(one, change))["ETag"] == '"2"'

    async def test_version_that_is_current_may_be_changed(
        self, writer: APIClient, url: str, body: Any, change: Any
    ) -> None:
        one = f"{url}{(await writer.post(url, body)).json()['id']}/"
        for tag in ('"1"', '"7", "2"', "*"):
            changed = await writer.patch(one, change, HTTP_IF_MATCH=tag)
            assert changed.status_code == 200, changed.text
        assert (await writer.delete(one, HTTP_IF_MATCH='"2"')).status_code == 204

    async def test_version_that_is_over_is_refused_with_the_current_one(
        self, writer: APIClient, url: str, body: Any, change: Any
    ) -> None:
        one = f"{url}{(await writer.post(url, body)).json()['id']}/"
        await writer.patch(one, change)
        for tag in ('"1"', 'W/"2"', '"x"', '""'):
            for response in (
                await writer.patch(one, change, HTTP_IF_MATCH=tag),
                await writer.put(one, body, HTTP_IF_MATCH=tag),
                await writer.delete(one, HTTP_IF_MATCH=tag),
            ):
                assert (response.status_code, response.json()["version"]) == (412, 2)
        assert (await writer.get(one)).json()["version"] == 2

    async def test_header_that_cannot_be_read_is_named(
        self, writer: APIClient, url: str, body: Any, change: Any
    ) -> None:
        one = f"{url}{(await writer.post(url, body)).json()['id']}/"
        for tag in ("1", '"1', '"1",,', " "):
            response = await writer.patch(one, change, HTTP_IF_MATCH=tag)
            assert (response.status_code, list(response.json())) == (400, ["If-Match"])

    async def test_dry_run_answers_and_changes_nothing(
        self, writer: APIClient, url: str, body: Any, change: Any
    ) -> None:
        events = await Event.objects.acount()
        created = await writer.post(f"{url}?dry_run=all", body)
        assert (created.status_code, created.json()["id"]) == (201, None)
        assert created.json()["name"] == body["name"]
        assert await Host.objects.acount() == await Workload.objects.acount() == 0
        one = f"{url}{(await writer.post(url, body)).json()['id']}/"
        changed = await writer.patch(f"{one}?dry_run=all", change)
        assert (changed.status_code, changed.json()["version"]) == (200, 2)
        assert (await writer.delete(f"{one}?dry_run=all")).status_code == 204
        assert (await writer.get(one)).json()["version"] == 1
        assert await Event.objects.acount() == events + 1
        assert await Revision.objects.acount() == await Workload.objects.acount()

    async def test_dry_run_refuses_what_a_run_refuses(
        self, writer: APIClient, url: str, body: Any, change: Any
    ) -> None:
        one = f"{url}{(await writer.post(url, body)).json()['id']}/"
        assert (await writer.post(f"{url}?dry_run=all", body)).status_code == 400
        stale = await writer.patch(f"{one}?dry_run=all", change, HTTP_IF_MATCH='"9"')
        assert stale.status_code == 412
        unclear = await writer.patch(f"{one}?dry_run=yes", change)
        assert (unclear.status_code, list(unclear.json())) == (400, ["dry_run"])


@pytest.mark.asyncio
@pytest.mark.usefixtures("committed")
async def test_of_two_writers_of_one_version_one_is_refused(client_with: ClientOf) -> None:
    writer = await client_with("read", "write")
    workload = await services.create_workload(name="w", image="x")
    url = f"{WORKLOADS}{workload.pk}/"
    answers = await asyncio.gather(
        *(writer.patch(url, {"replicas": n}, HTTP_IF_MATCH='"1"') for n in range(2, 8))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412, 412]


@pytest.mark.asyncio
@pytest.mark.usefixtures("committed")
async def test_dry_run_gives_no_event_a_place(client_with: ClientOf) -> None:
    writer = await client_with("read", "write")
    await writer.post(f"{WORKLOADS}?dry_run=all", WORKLOAD)
    await writer.post(WORKLOADS, WORKLOAD)
    (event,) = (await writer.get("/api/v1/events/")).json()["results"]
    assert event["kind"] == "workload.created"


@pytest.mark.asyncio
@pytest.mark.usefixtures("committed")
async def test_name_taken_at_the_same_moment_is_a_conflict_that_names_it(
    client_with: ClientOf,
) -> None:
    writer = await client_with("read", "write")
    for url, body in ((HOSTS, HOST), (WORKLOADS, WORKLOAD)):
        answers = await asyncio.gather(*(writer.post(url, body) for _ in range(4)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses[0] == 201
        assert set(statuses[1:]) <= {400, 409}
        assert all(list(one.json()) == ["name"] for one in answers if one.status_code != 201)
