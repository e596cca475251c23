"""What the browsable API's forms send: every field as text, those left empty as ''."""

import pytest

from app.fleet import services
from app.fleet.models import Container, Image, Revision
from app.rest.test import APIClient
from tests.fleet.samples import report

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
        "placement",
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


async def test_every_page_is_shown_with_its_forms(writer: APIClient) -> None:
    workload = await services.create_workload(name="web", image="x")
    observed = await services.observe_host(**report())
    pages = {
        "hosts/": "POST",
        f"hosts/{observed.host_id}/": "PUT",
        "workloads/": "POST",
        f"workloads/{workload.pk}/": "PUT",
        "images/": "",
        f"images/{(await Image.objects.aget()).pk}/": "",
        "containers/": "",
        f"containers/{(await Container.objects.aget()).pk}/": "",
        "revisions/": "",
        f"revisions/{(await Revision.objects.aget()).pk}/": "",
        "usage/": "",
        "events/": "",
        "quotas/": "POST",
        f"hosts/{observed.host_id}/containers/": "",
    }
    for path, method in pages.items():
        page = await writer.get(f"/api/v1/{path}", HTTP_ACCEPT="text/html")
        assert page.status_code == 200, path
        assert page["Content-Type"].startswith("text/html"), path
        assert not method or f">{method}</button>" in page.text.replace("\n", "").replace(
            "  ", ""
        ), path


async def test_placement_is_asked_by_a_form(reader: APIClient) -> None:
    """A form sends what was left empty too; lists and what is nested it leaves out."""
    await services.observe_host(**report())
    for name, more in (("simulate", {"count": "1", "strategy": "pack"}), ("repack", {})):
        url = f"/api/v1/placements/{name}/"
        page = await reader.get(url, HTTP_ACCEPT="text/html")
        assert page.status_code == 405
        assert f'action="{url}"' in page.text
        form = {
            "labels": "{}",
            "size_by": "reservation",
            "buffer": "0",
            "max_per_host": "",
            "workload": "",
            "workload_labels": "",
            "cpu_reservation": "",
            "memory_reservation_bytes": "1024",
        }
        form = {"size_by": "reservation", "buffer": "0"} | (form if name == "simulate" else {})
        answer = await reader.post(url, form | more, format="multipart")
        assert answer.status_code == 200, answer.text
