"""/api/v1/hosts/ over HTTP."""

from typing import Any

import pytest

from app.db.testing import assert_num_queries
from app.fleet import services
from app.fleet.models import Container, Host
from app.rest.test import APIClient
from tests.fleet.samples import container, report

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

HOSTS = "/api/v1/hosts/"
BODY: dict[str, Any] = {"name": "a", "cpus": 4, "memory_bytes": 8 * 2**30}


async def test_created_host_can_be_read_back(writer: APIClient) -> None:
    body = BODY | {"labels": {"zone": "a"}, "reserved_cpus": 0.5, "engine": "swarm"}
    created = await writer.post(HOSTS, body)
    assert created.status_code == 201, created.json()
    host = created.json()
    assert host["allocatable"] == {"cpus": 3.5, "memory_bytes": 8 * 2**30}
    read = await writer.get(f"{HOSTS}{host['id']}/")
    assert read.json() == host


async def test_patch_changes_what_it_names(writer: APIClient) -> None:
    host = (await writer.post(HOSTS, BODY | {"labels": {"a": "b"}})).json()
    changed = await writer.patch(f"{HOSTS}{host['id']}/", {"cpus": 8})
    assert changed.status_code == 200, changed.json()
    moving = {"cpus", "allocatable", "version", "updated_at"}
    after = changed.json()
    assert {key for key in host if host[key] != after[key]} == moving
    assert after["version"] == 2


async def test_put_needs_what_creating_needs(writer: APIClient) -> None:
    host = (await writer.post(HOSTS, BODY)).json()
    refused = await writer.put(f"{HOSTS}{host['id']}/", {"cpus": 8})
    assert sorted(refused.json()) == ["memory_bytes", "name"]
    replaced = await writer.put(f"{HOSTS}{host['id']}/", BODY | {"name": "b"})
    assert (replaced.status_code, replaced.json()["name"]) == (200, "b")


async def test_name_of_another_host_is_refused_and_its_own_is_not(writer: APIClient) -> None:
    host = (await writer.post(HOSTS, BODY)).json()
    again = await writer.post(HOSTS, BODY)
    assert (again.status_code, list(again.json())) == (400, ["name"])
    same = await writer.put(f"{HOSTS}{host['id']}/", BODY)
    assert same.status_code == 200


async def test_host_with_live_containers_is_deleted_by_force_only(writer: APIClient) -> None:
    observed = await services.observe_host(**report())
    url = f"{HOSTS}{observed.host_id}/"
    refused = await writer.delete(url)
    assert refused.status_code == 409
    assert "?force=true" in refused.json()["detail"]
    assert (await writer.delete(f"{url}?force=perhaps")).status_code == 400
    assert (await writer.delete(f"{url}?force=true")).status_code == 204
    assert (await writer.get(url)).status_code == 404


async def test_host_whose_containers_are_over_is_deleted(writer: APIClient) -> None:
    observed = await services.observe_host(**report(state="exited"))
    assert (await writer.delete(f"{HOSTS}{observed.host_id}/")).status_code == 204
    assert await Container.objects.acount() == 0


async def fleet(*hosts: dict[str, Any]) -> None:
    for values in hosts:
        await services.register_host(**(BODY | values))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["a", "b", "c"]),
        ("?ordering=-name", ["c", "b", "a"]),
        ("?ordering=cpus,-name", ["c", "a", "b"]),
        ("?name=b", ["b"]),
        ("?engine=swarm", ["b"]),
        ("?label=zone=x", ["a", "b"]),
        ("?label=zone", ["a", "b"]),
        ("?label=zone=x&label=ssd", ["b"]),
        ("?label=zone=", []),
        ("?search=C", ["c"]),
        ("?seen_since=2026-01-01T00:00:00Z", []),
        ("?page_size=2", ["a", "b"]),
        ("?page_size=2&page=2", ["c"]),
    ],
)
async def test_list_is_filtered_searched_ordered_and_cut(
    reader: APIClient, query: str, names: list[str]
) -> None:
    await fleet(
        {"name": "a", "labels": {"zone": "x"}},
        {"name": "b", "labels": {"zone": "x", "ssd": ""}, "engine": "swarm", "cpus": 9},
        {"name": "c", "cpus": 1},
    )
    response = await reader.get(HOSTS + query)
    assert response.status_code == 200, response.json()
    assert [host["name"] for host in response.json()["results"]] == names


async def test_list_says_how_many_there_are_and_where_the_next_page_is(reader: APIClient) -> None:
    await fleet({"name": "a"}, {"name": "b"}, {"name": "c"})
    page = (await reader.get(f"{HOSTS}?page_size=2")).json()
    assert page["count"] == 3
    assert page["next"].endswith("/api/v1/hosts/?page=2&page_size=2")
    assert page["previous"] is None


@pytest.mark.parametrize("query", ["?engine=podman", "?seen_since=yesterday", "?label=a%00b"])
async def test_filter_value_that_means_nothing_is_named(reader: APIClient, query: str) -> None:
    response = await reader.get(HOSTS + query)
    assert response.status_code == 400
    assert list(response.json()) == [query[1:].partition("=")[0]]


async def test_page_after_the_last_is_not_found(reader: APIClient) -> None:
    assert (await reader.get(f"{HOSTS}?page=2")).status_code == 404


async def test_list_takes_one_query_however_long(reader: APIClient) -> None:
    for number in range(5):
        await fleet({"name": f"h{number}"})
    await reader.get(HOSTS)
    with assert_num_queries(2):  # the token, the page with its count
        response = await reader.get(HOSTS)
    assert response.json()["count"] == 5


async def test_containers_of_a_host_stand_under_it(reader: APIClient) -> None:
    mine = await services.observe_host(**report(container("a"), container("b")))
    await services.observe_host(**report(container("c"), name="other"))
    url = f"{HOSTS}{mine.host_id}/containers/"
    page = (await reader.get(url)).json()
    assert [one["engine_id"] for one in page["results"]] == ["a", "b"]
    assert {one["host_name"] for one in page["results"]} == {"host-a"}
    with assert_num_queries(4):  # the token, the host, the count, the page
        await reader.get(url)


async def test_containers_of_no_host_are_not_found(reader: APIClient) -> None:
    response = await reader.get(f"{HOSTS}0/containers/")
    assert (response.status_code, response.json()) == (404, {"detail": "There is no host 0."})


async def test_reader_may_not_write(reader: APIClient) -> None:
    assert (await reader.post(HOSTS, BODY)).status_code == 403
    assert await Host.objects.acount() == 0


async def test_agent_may_not_read_or_write_hosts(agent: APIClient) -> None:
    assert (await agent.get(HOSTS)).status_code == 403
    assert (await agent.post(HOSTS, BODY)).status_code == 403


async def test_nobody_reads_without_a_token(client: APIClient) -> None:
    assert (await client.get(HOSTS)).status_code == 401
