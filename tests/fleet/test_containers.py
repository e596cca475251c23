"""/api/v1/containers/, images/ and hosts/observe/ over HTTP."""

from typing import Any

import pytest

from app.db.testing import assert_num_queries
from app.fleet import services
from app.fleet.models import Container
from app.rest.test import APIClient
from tests.fleet.samples import LATER, container, report

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

CONTAINERS = "/api/v1/containers/"
OBSERVE = "/api/v1/hosts/observe/"


def observation() -> dict[str, Any]:
    """A report as an agent sends it."""
    return {
        "host": {
            "name": "host-a",
            "cpus": 4,
            "memory_bytes": 2**33,
            "engine": "docker",
            "engine_version": "29.0.1",
            "labels": {"com.example/Any Key": "any\nvalue"},
        },
        "observed_at": "2026-03-01T12:00:00.123456789Z",
        "images": [{"reference": "nginx:1", "digest": "sha256:aa", "size_bytes": 5}],
        "containers": [
            {
                "engine_id": "abc",
                "name": "/web_1",
                "image": "nginx:1",
                "image_digest": "sha256:aa",
                "state": "running",
                "labels": {"stowage.workload": "web"},
                "cpu_reservation": None,
                "cpu_limit": 0,
                "memory_reservation_bytes": 0,
                "memory_limit_bytes": 0,
                "started_at": "2026-03-01T11:00:00Z",
                "finished_at": None,
                "exit_code": None,
                "oom_killed": False,
            }
        ],
    }


async def test_observation_answers_with_the_ids(agent: APIClient) -> None:
    response = await agent.post(OBSERVE, observation())
    assert response.status_code == 200, response.json()
    stored = await Container.objects.select_related("host").aget()
    assert response.json() == {"host": stored.host_id, "containers": {"abc": stored.pk}}
    again = await agent.post(OBSERVE, observation())
    assert again.json() == response.json()


async def test_engines_zero_is_no_limit(agent: APIClient) -> None:
    await agent.post(OBSERVE, observation())
    stored = await Container.objects.aget()
    assert (stored.cpu_limit, stored.memory_limit_bytes) == (None, None)


async def test_host_without_containers_is_observed(agent: APIClient) -> None:
    body = observation()
    del body["containers"], body["images"]
    response = await agent.post(OBSERVE, body)
    assert (response.status_code, response.json()["containers"]) == (200, {})


async def test_only_agents_observe(writer: APIClient, reader: APIClient) -> None:
    for client in (writer, reader):
        assert (await client.post(OBSERVE, observation())).status_code == 403


async def test_get_of_observe_is_not_a_host(reader: APIClient) -> None:
    assert (await reader.get(OBSERVE)).status_code == 405


async def test_container_shows_where_it_runs_and_of_which_image(reader: APIClient) -> None:
    observed = await services.observe_host(**report())
    one = (await reader.get(f"{CONTAINERS}{observed.containers['c1']}/")).json()
    assert (one["host"], one["host_name"]) == (observed.host_id, "host-a")
    assert (one["image_reference"], one["state"]) == ("nginx:1", "running")


async def test_container_without_image_is_shown(reader: APIClient) -> None:
    await services.observe_host(**report(image=None))
    (one,) = (await reader.get(CONTAINERS)).json()["results"]
    assert (one["image"], one["image_reference"]) == (None, None)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", ["a", "b", "c"]),
        ("?state=running", ["a"]),
        ("?state=running&state=exited", ["a", "b"]),
        ("?live=true", ["a"]),
        ("?live=false", ["b", "c"]),
        ("?oom_killed=true", ["b"]),
        ("?label=app=x", ["a"]),
        ("?host=0", []),
        ("?engine_id=b", ["b"]),
        ("?search=name-c", ["c"]),
        ("?ordering=-id", ["c", "b", "a"]),
        ("?started_since=2026-01-01T00:00:00Z", []),
    ],
)
async def test_list_is_filtered(reader: APIClient, query: str, ids: list[str]) -> None:
    a, b, c = (
        container("a", labels={"app": "x"}),
        container("b", state="exited", oom_killed=True),
        container("c"),
    )
    await services.observe_host(**report(a, b, c))
    await services.observe_host(**report(a, b, observed_at=LATER))
    response = await reader.get(CONTAINERS + query)
    assert response.status_code == 200, response.json()
    assert [one["engine_id"] for one in response.json()["results"]] == ids


async def test_list_takes_one_query(reader: APIClient) -> None:
    await services.observe_host(**report(*(container(f"c{n}") for n in range(20))))
    await reader.get(CONTAINERS)
    with assert_num_queries(2):  # the token, the page with its count
        response = await reader.get(CONTAINERS)
    assert len(response.json()["results"]) == 20


async def test_images_name_the_hosts_that_hold_them(reader: APIClient) -> None:
    hosts = [
        (await services.observe_host(**report(container(f"c-{name}"), name=name))).host_id
        for name in ("a", "b")
    ]
    await reader.get("/api/v1/images/")
    with assert_num_queries(4):  # the token, the count, the page, the hosts
        response = await reader.get("/api/v1/images/")
    (image,) = response.json()["results"]
    assert (image["reference"], sorted(image["hosts"])) == ("nginx:1", hosts)
    assert (await reader.get("/api/v1/images/?host=0")).json()["results"] == []
