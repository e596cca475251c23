"""What the browsable API's forms send: every field as text, those left empty as ''."""

import pytest

from app.rest.test import APIClient

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

HOST = {
    "name": "formed",
    "labels": "",
    "cpus": "4",
    "memory_bytes": "1000",
    "reserved_cpus": "",
    "reserved_memory_bytes": "",
    "engine": "docker",
    "engine_version": "",
}
WORKLOAD = dict.fromkeys(
    [
        "team",
        "command",
        "env",
        "replicas",
        "cpu_reservation",
        "cpu_limit",
        "memory_reservation_bytes",
        "memory_limit_bytes",
        "ports",
        "health_check",
        "update_policy",
        "labels",
    ],
    "",
) | {"name": "formed", "image": "nginx:1"}


async def test_host_is_created_by_a_form(writer: APIClient) -> None:
    response = await writer.post("/api/v1/hosts/", HOST, format="multipart")
    assert response.status_code == 201, response.text
    host = response.json()
    assert (host["labels"], host["reserved_cpus"], host["cpus"]) == ({}, 0.0, 4.0)


async def test_workload_is_created_by_a_form(writer: APIClient) -> None:
    form = WORKLOAD | {"labels": '{"tier": "front"}', "command": '["true"]', "health_check": "null"}
    response = await writer.post("/api/v1/workloads/", form, format="multipart")
    assert response.status_code == 201, response.text
    workload = response.json()
    assert (workload["labels"], workload["command"]) == ({"tier": "front"}, ["true"])
    assert (workload["ports"], workload["replicas"], workload["cpu_limit"]) == ([], 1, None)


async def test_field_of_a_form_that_is_wrong_is_named(writer: APIClient) -> None:
    for changes, field in (({"labels": "{"}, "labels"), ({"ports": '[{"target": 0}]'}, "ports")):
        response = await writer.post("/api/v1/workloads/", WORKLOAD | changes, format="multipart")
        assert (response.status_code, list(response.json())) == (400, [field])
