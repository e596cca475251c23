"""Bad input, as a table: each row is refused with 4xx that names what is wrong, never with 500."""

import json
from typing import Any

import pytest
import pytest_asyncio

from app.fleet import services
from app.fleet.models import Container, Host, Workload
from app.rest.test import APIClient
from tests.fleet.samples import report

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

HOST = {"name": "new", "cpus": 4, "memory_bytes": 1000}
WORKLOAD = {"name": "new", "image": "nginx:1"}
BIG = 10**30

HOSTS: list[tuple[dict[str, Any], str, str]] = [
    ({"name": ""}, "name", "blank"),
    ({"name": None}, "name", "null"),
    ({"name": {"a": 1}}, "name", "valid string"),
    ({"name": "a" * 254}, "name", "253"),
    ({"name": "a b"}, "name", "letters, digits"),
    ({"name": "-a"}, "name", "start and end"),
    ({"name": "a\0"}, "name", "letters, digits"),
    ({"name": "\ud800"}, "name", "letters, digits"),
    ({"cpus": 0}, "cpus", "0.001 or more"),
    ({"cpus": -1}, "cpus", "0.001 or more"),
    ({"cpus": "many"}, "cpus", "number of CPU cores"),
    ({"cpus": True}, "cpus", "number of CPU cores"),
    ({"cpus": None}, "cpus", "null"),
    ({"cpus": [4]}, "cpus", "number of CPU cores"),
    ({"cpus": BIG}, "cpus", "at most"),
    ({"cpus": "NaN"}, "cpus", "number of CPU cores"),
    ({"cpus": "Infinity"}, "cpus", "number of CPU cores"),
    ({"cpus": "9" * 5000}, "cpus", "number of CPU cores"),
    ({"memory_bytes": 0}, "memory_bytes", "1 bytes or more"),
    ({"memory_bytes": -1}, "memory_bytes", "1 bytes or more"),
    ({"memory_bytes": 1.5}, "memory_bytes", "whole number"),
    ({"memory_bytes": "8GB"}, "memory_bytes", "whole number"),
    ({"memory_bytes": BIG}, "memory_bytes", "at most"),
    ({"reserved_cpus": 4}, "reserved_cpus", "Lower reserved_cpus"),
    ({"reserved_cpus": -0.5}, "reserved_cpus", "0 or more"),
    ({"reserved_cpus": None}, "reserved_cpus", "null"),
    ({"reserved_memory_bytes": 1000}, "reserved_memory_bytes", "raise memory_bytes"),
    ({"reserved_memory_bytes": -1}, "reserved_memory_bytes", "0 bytes or more"),
    ({"engine": "podman"}, "engine", "not a valid choice"),
    ({"engine_version": "v" * 65}, "engine_version", "64"),
    ({"labels": ["a"]}, "labels", "Expected an object"),
    ({"labels": {"a b": "c"}}, "labels", "letters, digits"),
    ({"labels": {"a": 1}}, "labels", "not a string"),
    ({"labels": {"a": "\0"}}, "labels", "U+0000"),
    ({"labels": None}, "labels", "null"),
    ({"colour": "red"}, "colour", "nknown"),
    ({"labels": {f"k{n}": "" for n in range(65)}}, "labels", "At most 64"),
]

WORKLOADS: list[tuple[dict[str, Any], str, str]] = [
    ({"name": "a" * 64}, "name", "63"),
    ({"name": "a/b"}, "name", "letters, digits"),
    ({"name": "taken"}, "name", "Choose another"),
    ({"image": ""}, "image", "blank"),
    ({"image": "NGINX"}, "image", "lower case"),
    ({"image": "a" * 513}, "image", "512"),
    ({"image": True}, "image", "valid string"),
    ({"team": 999_999}, "team", "object does not exist"),
    ({"team": "core"}, "team", "pk"),
    ({"team": BIG}, "team", ""),
    ({"replicas": -1}, "replicas", "greater than or equal to 0"),
    ({"replicas": 10_001}, "replicas", "less than or equal to 10000"),
    ({"replicas": "two"}, "replicas", "valid integer"),
    ({"replicas": None}, "replicas", "null"),
    ({"cpu_limit": 0}, "cpu_limit", "0.001 or more"),
    ({"cpu_reservation": -1}, "cpu_reservation", "0 or more"),
    ({"cpu_reservation": 2, "cpu_limit": 1}, "cpu_reservation", "raise cpu_limit"),
    (
        {"memory_reservation_bytes": 2, "memory_limit_bytes": 1},
        "memory_reservation_bytes",
        "raise memory_limit_bytes",
    ),
    ({"memory_limit_bytes": -5}, "memory_limit_bytes", "1 bytes or more"),
    ({"memory_limit_bytes": BIG}, "memory_limit_bytes", "at most"),
    ({"command": "sleep 60"}, "command", "Split the command"),
    ({"command": ["a", 1]}, "command", "Item 1"),
    ({"command": ["\ud800"]}, "command", "lone surrogate"),
    ({"env": {"A B": "c"}}, "env", "without spaces"),
    ({"env": {"A": 1}}, "env", "Put it in quotes"),
    ({"env": "A=1"}, "env", "Expected an object"),
    ({"env": {"A": "x" * 40_000}}, "env", "up to 32768"),
    ({"ports": {}}, "ports", "list"),
    ({"ports": [{}]}, "ports", "required"),
    ({"ports": [{"target": 0}]}, "ports", "greater than or equal to 1"),
    ({"ports": [{"target": 80, "published": 65_536}]}, "ports", "65535"),
    ({"ports": [{"target": 80, "protocol": "icmp"}]}, "ports", "not a valid choice"),
    ({"ports": [{"target": 80, "from": 1}]}, "ports", "Unknown field"),
    ({"ports": [80]}, "ports", "dictionary"),
    ({"ports": [{"target": 80, "published": 80}] * 2}, "ports", "Publish each port once"),
    ({"ports": [{"target": 80}] * 65}, "ports", "At most 64"),
    ({"health_check": {}}, "health_check", "required"),
    ({"health_check": {"test": []}}, "health_check", "Write the command"),
    ({"health_check": {"test": "curl"}}, "health_check", "Split the command"),
    ({"health_check": {"test": ["a"], "retries": 0}}, "health_check", "greater than or equal"),
    ({"health_check": {"test": ["a"], "interval": 5}}, "health_check", "Unknown field"),
    ({"health_check": []}, "health_check", "dictionary"),
    ({"update_policy": {"parallelism": -1}}, "update_policy", "greater than or equal to 0"),
    ({"update_policy": {"order": "random"}}, "update_policy", "not a valid choice"),
    ({"update_policy": {"max_failure_ratio": 2}}, "update_policy", "less than or equal to 1"),
    ({"update_policy": {"max_failure_ratio": "nan"}}, "update_policy", "number"),
    ({"update_policy": None}, "update_policy", "null"),
    ({"placement": {"spreads": []}}, "placement", "Unknown field"),
    ({"placement": {"spread": [{"topology_key": "zone", "max_skew": 0}]}}, "placement", "skew"),
    ({"placement": {"spread": [{"topology_key": "zone", "skew": 1}]}}, "placement", "Unknown"),
    ({"placement": {"spread": [{"topology_key": "="}]}}, "placement", "label's key"),
    ({"placement": {"spread": [{"topology_key": "zone"}] * 2}}, "placement", "more than once"),
    (
        {"placement": {"spread": [{"topology_key": "zone", "when_unsatisfiable": "never"}]}},
        "placement",
        "not a valid choice",
    ),
    ({"placement": {"spread": {"topology_key": "zone"}}}, "placement", "list"),
    ({"placement": {"constraints": ["zone=a"]}}, "placement", "node.labels.key==value"),
    ({"placement": {"max_per_host": 0}}, "placement", "greater than or equal to 1"),
    ({"placement": {"anti_affinity": {"must": []}}}, "placement", "Unknown field"),
    ({"placement": {"anti_affinity": {"required": [{}]}}}, "placement", "label_selector"),
    (
        {"placement": {"anti_affinity": {"required": [{"label_selector": {}}]}}},
        "placement",
        "match_labels",
    ),
    (
        {"placement": {"anti_affinity": {"required": [{"label_selector": {"match_labels": {}}}]}}},
        "placement",
        "Name a label",
    ),
    (
        {"placement": {"anti_affinity": {"required": [{"label_selector": {"match_labels": 1}}]}}},
        "placement",
        "Expected an object",
    ),
    (
        {"placement": {"anti_affinity": {"required": [{"label_selector": {"match": {}}}]}}},
        "placement",
        "match_labels",
    ),
    ({"placement": None}, "placement", "null"),
    ({"labels": {"a": None}}, "labels", "not a string"),
    ({"generatoin": 1}, "generatoin", "nknown"),
]


async def post(client: APIClient, path: str, body: Any) -> Any:
    """Escaped by hand: DRF's client can't send half of a surrogate pair."""
    text = json.dumps(body)
    return await client.generic("POST", f"/api/v1/{path}", text, content_type="application/json")


def names(answer: Any, field: str, message: str) -> bool:
    return field in answer and message in json.dumps(answer[field])


@pytest_asyncio.fixture(loop_scope="session")
async def stored(transaction: None) -> None:
    await services.create_workload(name="taken", image="nginx:1")


@pytest.mark.parametrize(("change", "field", "message"), HOSTS)
async def test_host_is_refused(
    writer: APIClient, change: dict[str, Any], field: str, message: str
) -> None:
    response = await post(writer, "hosts/", HOST | change)
    assert response.status_code == 400, response.text
    assert names(response.json(), field, message), response.json()
    assert await Host.objects.acount() == 0


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(("change", "field", "message"), WORKLOADS)
async def test_workload_is_refused(
    writer: APIClient, change: dict[str, Any], field: str, message: str
) -> None:
    response = await post(writer, "workloads/", WORKLOAD | change)
    assert response.status_code == 400, response.text
    assert names(response.json(), field, message), response.json()
    assert await Workload.objects.acount() == 1


STORED = {"cpu_reservation": 1.0, "cpu_limit": 2.0, "memory_limit_bytes": 100}
HALVES = [
    ({"cpu_limit": 0.5}, "cpu_reservation"),
    ({"cpu_reservation": 2.5}, "cpu_reservation"),
    ({"memory_reservation_bytes": 101}, "memory_reservation_bytes"),
]


@pytest.mark.parametrize(("change", "field"), HALVES)
async def test_half_that_contradicts_the_stored_half_is_refused(
    writer: APIClient, change: dict[str, Any], field: str
) -> None:
    workload = await services.create_workload(**WORKLOAD, **STORED)  # type: ignore[arg-type]
    response = await writer.patch(f"/api/v1/workloads/{workload.pk}/", change)
    assert response.status_code == 400
    assert list(response.json()) == [field]


async def test_host_may_not_shrink_below_what_is_reserved(writer: APIClient) -> None:
    host = await services.register_host(name="a", cpus=4, memory_bytes=10, reserved_cpus=2)
    response = await writer.patch(f"/api/v1/hosts/{host.pk}/", {"cpus": 1})
    assert (response.status_code, list(response.json())) == (400, ["reserved_cpus"])


def observed(**changes: Any) -> dict[str, Any]:
    body = report()
    body["observed_at"] = body["observed_at"].isoformat()
    return json.loads(json.dumps(body)) | changes


def observed_container(**changes: Any) -> dict[str, Any]:
    return observed(containers=[{"engine_id": "x", "name": "x", "state": "running"} | changes])


def observed_host(**changes: Any) -> dict[str, Any]:
    body = observed()
    return body | {"host": body["host"] | changes}


OBSERVATIONS: list[tuple[Any, list[str], str]] = [
    ([], ["non_field_errors"], "dictionary"),
    ({}, ["host"], "required"),
    ({}, ["observed_at"], "required"),
    (observed(observed_at="2999-01-01T00:00:00Z"), ["observed_at"], "Set the clock"),
    (observed(observed_at="soon"), ["observed_at"], "format"),
    (observed(observed_at="0001-01-01T00:00:00+14:00"), ["observed_at"], "year"),
    (observed(host=[]), ["host"], "dictionary"),
    (observed(extra=1), ["extra"], "Unknown field"),
    (observed(containers={}), ["containers"], "list"),
    (observed(containers=[1]), ["containers", "0"], "dictionary"),
    (observed(images=["nginx"]), ["images", "0"], "dictionary"),
    (observed(images=[{}]), ["images", "0", "reference"], "required"),
    (observed(images=[{"reference": "a", "size_bytes": -1}]), ["images", "0", "size_bytes"], "0"),
    (observed_host(name=""), ["host", "name"], "blank"),
    (observed_host(cpus=0), ["host", "cpus"], "0.001"),
    (observed_host(memory_bytes=-1), ["host", "memory_bytes"], "1 bytes"),
    (observed_host(reserved_cpus=4.0), ["host", "reserved_cpus"], "raise cpus"),
    (observed_host(engine="lxc"), ["host", "engine"], "choice"),
    (observed_host(labels={"a": 1}), ["host", "labels"], "string"),
    (observed_host(shoe_size=44), ["host", "shoe_size"], "Unknown field"),
    (observed_container(engine_id=""), ["containers", "0", "engine_id"], "blank"),
    (observed_container(state="zombie"), ["containers", "0", "state"], "choice"),
    (observed_container(labels={"a": "\0"}), ["containers", "0", "labels"], "U+0000"),
    (observed_container(cpu_limit=-1), ["containers", "0", "cpu_limit"], "0 or more"),
    (
        observed_container(cpu_reservation=2, cpu_limit=1),
        ["containers", "0", "cpu_reservation"],
        "raise cpu_limit",
    ),
    (
        observed_container(memory_reservation_bytes=BIG),
        ["containers", "0", "memory_reservation_bytes"],
        "at most",
    ),
    (
        observed_container(started_at="2999-01-01T00:00:00Z"),
        ["containers", "0", "started_at"],
        "Set the clock",
    ),
    (observed_container(exit_code=2**31), ["containers", "0", "exit_code"], "2147483647"),
    (observed_container(oom_killed="perhaps"), ["containers", "0", "oom_killed"], "boolean"),
    (
        observed(containers=[{"engine_id": "x", "name": "x", "state": "running"}] * 2),
        ["containers", "non_field_errors"],
        "List each container once",
    ),
]


@pytest.mark.parametrize(("body", "path", "message"), OBSERVATIONS)
async def test_observation_is_refused(
    agent: APIClient, body: Any, path: list[str], message: str
) -> None:
    response = await agent.post("/api/v1/hosts/observe/", body)
    assert response.status_code == 400, response.text
    answer = response.json()
    for key in path:
        assert key in answer, response.json()
        answer = answer[key]
    assert message in json.dumps(answer), answer
    assert await Host.objects.acount() == await Container.objects.acount() == 0


METHODS = [
    ("post", "/api/v1/images/", 405),
    ("post", "/api/v1/containers/", 405),
    ("post", "/api/v1/revisions/", 405),
    ("post", "/api/v1/events/", 405),
    ("delete", "/api/v1/hosts/", 405),
    ("put", "/api/v1/usage/", 405),
    ("get", "/api/v1/hosts/0/", 404),
    ("get", "/api/v1/hosts/abc/", 404),
    ("get", "/api/v1/hosts/99999999999999999999999/", 404),
    ("get", "/api/v1/workloads/%00/", 404),
    ("delete", "/api/v1/workloads/1/", 404),
    ("patch", "/api/v1/hosts/1/", 404),
    ("get", "/api/v1/hosts/99999999999999999999999/containers/", 404),
    ("get", "/api/v1/containers/0/usage/", 404),
    ("get", "/api/v1/workloads/0/revisions/", 404),
    ("get", "/api/v1/hosts/?page=0", 404),
    ("get", "/api/v1/hosts/?page=x", 404),
    ("get", "/api/v1/usage/?cursor=x", 404),
]


@pytest.mark.parametrize(("method", "path", "status"), METHODS)
async def test_request_that_leads_nowhere_says_so(
    writer: APIClient, method: str, path: str, status: int
) -> None:
    response = await getattr(writer, method)(path)
    assert response.status_code == status, response.text
    assert response.json()["detail"]


QUERIES = [
    ("hosts/?engine=x", "engine"),
    ("containers/?host=x", "host"),
    ("containers/?host=1.5", "host"),
    ("containers/?host=-1", "host"),
    (f"containers/?workload={BIG}", "workload"),
    ("containers/?state=running&state=gone", "state"),
    ("containers/?started_since=then", "started_since"),
    ("containers/?name=%00", "name"),
    ("images/?host=NaN", "host"),
    ("workloads/?team=core", "team"),
    ("revisions/?number=one", "number"),
    ("usage/?container=x", "container"),
    ("usage/?since=0000-00-00", "since"),
    ("usage/?since=9999-12-31T23:59:59-23:00", "since"),
    ("events/?until=0001-01-01T00:00:00%2B23:00", "until"),
    ("containers/?started_before=9999-12-31T23:59:59-14:00", "started_before"),
    ("events/?after=last", "after"),
    ("events/?object_id=x", "object_id"),
]


@pytest.mark.parametrize(("path", "field"), QUERIES)
async def test_filter_is_refused(reader: APIClient, path: str, field: str) -> None:
    response = await reader.get(f"/api/v1/{path}")
    assert response.status_code == 400, response.text
    assert list(response.json()) == [field]


BODIES = [
    (b"{", "application/json", 400),
    (b"", "application/json", 400),
    (b"\xff\xfe", "application/json", 400),
    (b'{"name": "a"}', "text/plain", 415),
    (b'{"cpus": NaN}', "application/json", 400),
    (b"[" * 100_000, "application/json", 400),
    (b'{"cpus": ' + b"9" * 10_000 + b"}", "application/json", 400),
    (b'{"cpus": 1e999, "name": "a", "memory_bytes": 1}', "application/json", 400),
]


@pytest.mark.parametrize(("body", "content_type", "status"), BODIES)
@pytest.mark.parametrize("path", ["hosts/", "workloads/"])
async def test_body_that_cannot_be_read_is_refused(
    writer: APIClient, path: str, body: bytes, content_type: str, status: int
) -> None:
    response = await writer.generic("POST", f"/api/v1/{path}", body, content_type=content_type)
    assert response.status_code == status, response.text
    assert response.json()
