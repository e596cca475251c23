"""If-Match and ?dry_run=all on hosts and workloads."""

import asyncio
from typing import Any

import pytest

from app.fleet import services
from app.fleet.models import Event, Host, Revision, Workload
from app.rest.test import APIClient
from tests.clients import ClientOf
from tests.fleet.samples import report

HOSTS = "/api/v1/hosts/"
WORKLOADS = "/api/v1/workloads/"
HOST = {"name": "a", "cpus": 4, "memory_bytes": 1000}
WORKLOAD = {"name": "w", "image": "nginx:1"}


def version_in(response: Any) -> str:
    """The version in an ETag such as `"3"` or `"3-5be1c1d0a1f2b3c4"`."""
    return str(response["ETag"].strip('"').partition("-")[0])


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
@pytest.mark.parametrize(
    ("url", "body", "change"),
    [(HOSTS, HOST, {"cpus": 5}), (WORKLOADS, WORKLOAD, {"replicas": 5})],
)
class TestIfMatch:
    async def test_etag_begins_with_the_version(
        self, writer: APIClient, url: str, body: Any, change: Any
    ) -> None:
        created = await writer.post(url, body)
        one = f"{url}{created.json()['id']}/"
        assert created["ETag"] == (await writer.get(one))["ETag"]
        assert version_in(created) == "1"
        changed = await writer.patch(one, change, HTTP_IF_MATCH=created["ETag"])
        assert version_in(changed) == "2"
        assert changed["ETag"] == (await writer.get(one))["ETag"]

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
                assert version_in(response) == "2"
        assert (await writer.get(one)).json()["version"] == 2

    async def test_answer_that_the_client_has_is_304_and_no_row_is_read(
        self, writer: APIClient, url: str, body: Any, change: Any
    ) -> None:
        one = f"{url}{(await writer.post(url, body)).json()['id']}/"
        read = await writer.get(one)
        for method in (writer.get, writer.head):
            again = await method(one, HTTP_IF_NONE_MATCH=f'W/"x", {read["ETag"]}')
            assert (again.status_code, again.content) == (304, b"")
            assert again["ETag"] == read["ETag"]
            assert not {"Content-Type", "Content-Length"} & again.headers.keys()
        await writer.patch(one, change)
        changed = await writer.get(one, HTTP_IF_NONE_MATCH=read["ETag"])
        assert (changed.status_code, changed.json()["version"]) == (200, 2)

    async def test_change_may_be_bound_to_what_the_object_is_not(
        self, writer: APIClient, url: str, body: Any, change: Any
    ) -> None:
        one = f"{url}{(await writer.post(url, body)).json()['id']}/"
        assert (await writer.put(one, body, HTTP_IF_NONE_MATCH="*")).status_code == 412
        changed = await writer.patch(one, change, HTTP_IF_NONE_MATCH='"another"')
        assert (changed.status_code, changed.json()["version"]) == (200, 2)

    async def test_header_that_cannot_be_read_is_named(
        self, writer: APIClient, url: str, body: Any, change: Any
    ) -> None:
        one = f"{url}{(await writer.post(url, body)).json()['id']}/"
        for tag in ("1", '"1', '"1" "2"', " "):
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
@pytest.mark.usefixtures("transaction")
async def test_host_that_was_seen_again_is_told_anew_and_may_still_be_changed(
    writer: APIClient,
) -> None:
    host = (await writer.post(HOSTS, HOST)).json()
    one = f"{HOSTS}{host['id']}/"
    before = (await writer.get(one))["ETag"]
    await services.observe_host(**report(name="a"))
    seen = await writer.get(one, HTTP_IF_NONE_MATCH=before)
    assert seen.status_code == 200
    assert seen["ETag"] != before
    assert (await writer.get(one, HTTP_IF_NONE_MATCH=seen["ETag"])).status_code == 304
    version = f'"{seen.json()["version"]}"'
    for tag in (version, seen["ETag"]):
        changed = await writer.patch(one, {"name": "a"}, HTTP_IF_MATCH=tag)
        assert changed.status_code == 200, changed.text


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
async def test_dates_of_a_host_are_compared_in_whole_seconds(writer: APIClient) -> None:
    one = f"{HOSTS}{(await writer.post(HOSTS, HOST)).json()['id']}/"
    read = await writer.get(one)
    assert (await writer.get(one, HTTP_IF_MODIFIED_SINCE=read["Last-Modified"])).status_code == 304
    long_ago, never = "Sat, 01 Jan 2000 00:00:00 GMT", "yesterday"
    for date, status in ((long_ago, 200), (never, 200)):
        assert (await writer.get(one, HTTP_IF_MODIFIED_SINCE=date)).status_code == status
    for date, status in ((long_ago, 412), (never, 200), (read["Last-Modified"], 200)):
        changed = await writer.patch(one, {"labels": {}}, HTTP_IF_UNMODIFIED_SINCE=date)
        assert changed.status_code == status, date


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


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
@pytest.mark.parametrize(("url", "body"), [(HOSTS, HOST), (WORKLOADS, WORKLOAD)])
async def test_write_that_is_sent_again_is_answered_as_it_was_and_not_done_again(
    writer: APIClient, hops: list[str], url: str, body: Any
) -> None:
    key = {"HTTP_IDEMPOTENCY_KEY": '"once"'}
    first, again = [await writer.post(url, body, **key) for _ in range(2)]
    assert (first.status_code, again.content) == (201, first.content)
    assert again["ETag"] == first["ETag"]
    assert (await writer.post(url, {**body, "name": "b"}, **key)).status_code == 422
    one = f"{url}{first.json()['id']}/"
    tag = {"HTTP_IF_MATCH": '"1"'}
    for _ in range(2):  # alone, the second would be 412
        changed = await writer.patch(one, {"labels": {"a": "b"}}, **tag, **key)
        assert (changed.status_code, changed.json()["version"]) == (200, 2)
    for _ in range(2):
        assert (await writer.delete(one, **key)).status_code == 204
    for kind in ("created", "updated", "deleted"):
        assert await Event.objects.filter(kind__endswith=f".{kind}").acount() == 1
    assert not hops
