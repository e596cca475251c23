"""PATCH on a list: the labels of many hosts or workloads, all or none."""

import asyncio
from typing import Any

import pytest

from app.db.testing import assert_num_queries
from app.fleet import services
from app.fleet.models import Event, Host, Revision, Workload
from app.fleet.services import LabelChange
from app.rest.test import APIClient
from tests.clients import ClientOf

pytestmark = pytest.mark.asyncio

HOSTS = "/api/v1/hosts/"
WORKLOADS = "/api/v1/workloads/"


async def hosts(count: int = 2) -> list[Host]:
    return [
        await services.register_host(name=f"h{n}", cpus=1, memory_bytes=1, labels={"n": str(n)})
        for n in range(count)
    ]


async def workloads(count: int = 2) -> list[Workload]:
    return [
        await services.create_workload(name=f"w{n}", image="x", labels={"n": str(n)})
        for n in range(count)
    ]


@pytest.mark.usefixtures("transaction")
class TestHosts:
    async def test_labels_are_replaced_added_and_removed(
        self, writer: APIClient, hops: list[str]
    ) -> None:
        a, b, c = await hosts(3)
        body = [
            {"id": c.pk, "labels": {"only": "this"}},
            {"id": a.pk, "add_labels": {"zone": "1"}, "remove_labels": ["n", "never"]},
            {"id": b.pk, "add_labels": {"n": "1"}, "version": 1},
        ]
        response = await writer.patch(HOSTS, body)
        assert response.status_code == 200, response.text
        answered = [(one["id"], one["labels"], one["version"]) for one in response.json()]
        assert answered == [
            (c.pk, {"only": "this"}, 2),
            (a.pk, {"zone": "1"}, 2),
            (b.pk, {"n": "1"}, 1),  # says nothing new
        ]
        stored = {one.pk: (one.labels, one.version) async for one in Host.objects.all()}
        assert stored == {one[0]: one[1:] for one in answered}
        events = Event.objects.filter(kind="host.updated").order_by("id")
        assert [one.object_id async for one in events] == [c.pk, a.pk]
        assert not hops

    @pytest.mark.parametrize("count", [1, 60])
    async def test_number_of_statements_does_not_grow(self, count: int) -> None:
        changes = [LabelChange(one.pk, add={"zone": "1"}) for one in await hosts(count)]
        with assert_num_queries(5):  # begin, lock, write, events, commit
            await services.label_hosts(changes=changes)

    @pytest.mark.parametrize(
        ("item", "field"),
        [
            ({"add_labels": {"a": "b"}}, "id"),
            ({"id": 0, "labels": {}}, "id"),
            ({"id": 2**70, "labels": {}}, "id"),
            ({"id": 1}, "non_field_errors"),
            ({"id": 1, "labels": {}, "add_labels": {}}, "non_field_errors"),
            ({"id": 1, "labels": {"-": 1}}, "labels"),
            ({"id": 1, "labels": {}, "cpus": 4}, "cpus"),
            ({"id": 1, "labels": {}, "version": "x"}, "version"),
        ],
    )
    async def test_item_that_does_not_serve_is_named_by_its_place(
        self, writer: APIClient, item: Any, field: str
    ) -> None:
        (a,) = await hosts(1)
        response = await writer.patch(HOSTS, [{"id": a.pk, "labels": {}}, item])
        assert response.status_code == 400
        assert {place: list(errors) for place, errors in response.json().items()} == {"1": [field]}
        assert (await Host.objects.aget()).labels == {"n": "0"}

    async def test_unknown_and_doubled_ids_change_nothing(self, writer: APIClient) -> None:
        (a,) = await hosts(1)
        body = [{"id": pk, "labels": {}} for pk in (a.pk, a.pk, a.pk + 1)]
        response = await writer.patch(HOSTS, body)
        assert (response.status_code, list(response.json())) == (400, ["1", "2"])
        assert (await Host.objects.aget()).version == 1

    async def test_too_many_labels_after_adding_are_refused(self, writer: APIClient) -> None:
        (a,) = await hosts(1)
        many = {f"k{n}": "v" for n in range(64)}
        response = await writer.patch(HOSTS, [{"id": a.pk, "add_labels": many}])
        assert response.json() == {"0": {"labels": ["It would have 65 labels; at most 64."]}}

    async def test_dry_run_changes_nothing(self, writer: APIClient) -> None:
        (a,) = await hosts(1)
        response = await writer.patch(f"{HOSTS}?dry_run=all", [{"id": a.pk, "labels": {}}])
        assert (response.json()[0]["labels"], response.json()[0]["version"]) == ({}, 2)
        assert (await Host.objects.aget()).labels == {"n": "0"}

    async def test_list_that_is_too_long_is_refused_with_the_limit(self, writer: APIClient) -> None:
        response = await writer.patch(HOSTS, [{}] * 101)
        assert response.status_code == 413
        assert "At most 100" in response.json()["detail"]

    async def test_reader_may_not(self, reader: APIClient) -> None:
        assert (await reader.patch(HOSTS, [])).status_code == 403


@pytest.mark.usefixtures("transaction")
class TestWorkloads:
    async def test_each_change_is_a_generation_with_its_revision(
        self, writer: APIClient, hops: list[str]
    ) -> None:
        a, b = await workloads()
        body = [{"id": one.pk, "add_labels": {"n": "1"}} for one in (a, b)]
        response = await writer.patch(WORKLOADS, body)
        assert response.status_code == 200, response.text
        assert [(one["generation"], one["version"]) for one in response.json()] == [(2, 2), (1, 1)]
        revision = await Revision.objects.aget(number=2)
        assert (revision.workload_id, revision.spec["labels"]) == (a.pk, {"n": "1"})
        assert revision.created_by_id is not None
        event = await Event.objects.aget(kind="workload.updated")
        assert (event.object_id, event.data["changed"]) == (a.pk, ["labels"])
        assert response.json()[0]["conditions"] == (await Workload.objects.aget(pk=a.pk)).conditions
        assert not hops

    async def test_stale_versions_are_named_and_nothing_changes(self, writer: APIClient) -> None:
        a, b = await workloads()
        await services.update_workload(workload_id=b.pk, replicas=3)
        body = [{"id": one.pk, "labels": {}, "version": 1} for one in (a, b)]
        response = await writer.patch(WORKLOADS, body)
        message = "The current version is 2. Read the object again."
        assert (response.status_code, response.json()) == (412, {"1": {"version": [message]}})
        assert (await Workload.objects.aget(pk=a.pk)).labels == {"n": "0"}

    @pytest.mark.parametrize("count", [1, 40])
    async def test_number_of_statements_does_not_grow(self, count: int) -> None:
        changes = [LabelChange(one.pk, add={"zone": "1"}) for one in await workloads(count)]
        with assert_num_queries(8):  # as for hosts; revisions, facts, conditions
            await services.label_workloads(changes=changes)


@pytest.mark.usefixtures("committed")
async def test_two_writers_of_the_same_objects_come_one_after_the_other(
    client_with: ClientOf,
) -> None:
    writer = await client_with("read", "write")
    made = await hosts(6)
    orders = [made, made[::-1]] * 3
    bodies = [
        [{"id": one.pk, "add_labels": {f"k{n}": "v"}} for one in order]
        for n, order in enumerate(orders)
    ]
    answers = await asyncio.gather(*(writer.patch(HOSTS, body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    async for one in Host.objects.all():
        assert one.labels.keys() >= {f"k{n}" for n in range(6)}
        assert one.version == 7
