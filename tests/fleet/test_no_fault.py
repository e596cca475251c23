"""Whatever stands in a field, in the query or in the address: never a fault of the server.

A run puts a third of the values in each place, another third in the next; which, chance decides, by
the seed that pytest-randomly says. `NO_FAULT_PARTS=1` puts every value in every place.
"""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from app import db
from app.fleet import services
from app.rest.test import APIClient
from settings import env
from tests.fleet.samples import report
from tests.fleet.test_containers import observation
from tests.fleet.test_ingest import sample
from tests.fleet.test_workloads import FULL

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.usefixtures("transaction"),
    pytest.mark.timeout(60),  # hundreds of requests
]

PARTS = env.integer("NO_FAULT_PARTS", 3, minimum=1)
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    0.1,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    " ",
    "a",
    "0",
    "NaN",
    "1e999",
    "9" * 5000,
    "\0",
    "\ud800",
    "é" * 300,
    "x" * 100_000,
    "9999-12-31T23:59:59-23:00",
    "0001-01-01T00:00:00+23:00",
    [],
    [None],
    [[]],
    [{}],
    ["a", 1, None],
    {},
    {"": None},
    {"a": {"b": []}},
    {"\0": "\0"},
    {"test": ["\ud800"]},
    {str(n): n for n in range(600)},
]
HOST = {
    "name": "a",
    "labels": {"a": "b"},
    "cpus": 4,
    "memory_bytes": 1000,
    "reserved_cpus": 1,
    "reserved_memory_bytes": 1,
    "engine": "docker",
    "engine_version": "1",
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a body, and of the body."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, dict | list):
        for key, inner in list(items):
            yield from (
                places(inner, (*path, key)) if isinstance(inner, dict | list) else [(*path, key)]
            )


def replaced(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    body = copy.deepcopy(body)
    holder = body
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return body


async def send_all(client: APIClient, method: str, url: str, body: Any) -> None:
    """The body with each of its values replaced by a part of VALUES, each in a savepoint."""
    first = random.randrange(PARTS)
    for number, path in enumerate(places(body), first):
        for value in VALUES[number % PARTS :: PARTS]:
            text = json.dumps(replaced(body, path, value))
            response = await client.generic(method, url, text, content_type="application/json")
            assert response.status_code < 500, (method, url, path, repr(value)[:80])


async def test_host_of_anything(writer: APIClient) -> None:
    await send_all(writer, "POST", "/api/v1/hosts/?dry_run=all", HOST)


async def test_change_of_a_host_to_anything(writer: APIClient) -> None:
    host = await services.register_host(name="old", cpus=2, memory_bytes=5)
    await send_all(writer, "PATCH", f"/api/v1/hosts/{host.pk}/?dry_run=all", HOST)


async def test_workload_of_anything(writer: APIClient) -> None:
    await send_all(writer, "POST", "/api/v1/workloads/?dry_run=all", FULL | {"team": None})


async def test_rollback_to_anything(writer: APIClient) -> None:
    workload = await services.create_workload(name="w", image="x")
    await send_all(writer, "POST", f"/api/v1/workloads/{workload.pk}/rollback/", {"revision": 1})


async def test_observation_of_anything(agent: APIClient) -> None:
    await send_all(agent, "POST", "/api/v1/hosts/observe/", observation())


async def test_samples_of_anything(agent: APIClient) -> None:
    observed = await services.observe_host(**report())
    body = [sample(observed.containers["c1"])]
    await send_all(agent, "POST", "/api/v1/usage/", body)
    await send_all(agent, "POST", "/api/v1/usage/?on_error=skip", body)


QUERIES = {
    "hosts/": "name engine label seen_since seen_before search ordering page page_size format",
    "images/": "reference digest host search ordering page page_size",
    "workloads/": "name team image label search ordering page",
    "revisions/": "workload number ordering",
    "containers/": "host workload image name engine_id state live oom_killed label started_since"
    " started_before search ordering",
    "usage/": "container host workload label since until cursor page_size ordering resolution"
    " format",
    "usage/?resolution=1h": "container host workload label since until format",
    "events/": "after kind object_type object_id since until cursor ordering",
    "containers/1/usage/": "since until cursor resolution",
}
TEXTS = [
    *(
        "",
        "x",
        "0",
        "-1",
        "1.5",
        "NaN",
        "1e999",
        "9" * 400,
        "true",
        "%00",
        "%FF",
        "é",
        "a=b=c",
        "=",
    ),
    *("9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00%2B23:00", "a,b,-c", "cD0x", "cD0lMDA="),
    *("bz05OTk5OTk5OTk5OTk5OTk5OTk5", "1h", "svg", "csv", "ndjson", "x" * 2000),
]


@pytest.mark.parametrize("path", list(QUERIES))
async def test_query_of_anything(reader: APIClient, path: str) -> None:
    await db.execute("SET CONSTRAINTS fleet_event_place IMMEDIATE")
    await services.observe_host(**report())
    first = random.randrange(PARTS)
    for number, name in enumerate(QUERIES[path].split(), first):
        for text in TEXTS[number % PARTS :: PARTS]:
            url = f"/api/v1/{path}{'&' if '?' in path else '?'}{name}={text}"
            response = await reader.get(url)
            assert response.status_code < 500, url


@pytest.mark.parametrize("name", ["hosts", "images", "workloads", "revisions", "containers"])
async def test_address_of_anything(writer: APIClient, name: str) -> None:
    for text in ("0", "-1", "x", "1.5", "9" * 40, "%00", "%FF", "é", "1e5", " ", "null"):
        for method in ("get", "put", "patch", "delete", "options"):
            url = f"/api/v1/{name}/{text}/"
            response = await getattr(writer, method)(url)
            assert response.status_code < 500, (method, url)
