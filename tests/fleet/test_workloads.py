"""/api/v1/workloads/ and their revisions, over HTTP."""

from typing import Any

import pytest

from app.accounts.models import Team
from app.db.testing import assert_num_queries
from app.fleet import services
from app.fleet.models import Revision, Workload
from app.rest.test import APIClient
from tests.fleet.samples import container, report

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

WORKLOADS = "/api/v1/workloads/"
BODY: dict[str, Any] = {"name": "web", "image": "nginx:1"}
FULL: dict[str, Any] = BODY | {
    "command": ["nginx", "-g", "daemon off;"],
    "env": {"TZ": "UTC", "EMPTY": ""},
    "replicas": 3,
    "cpu_reservation": 0.5,
    "cpu_limit": 1,
    "memory_reservation_bytes": 2**28,
    "memory_limit_bytes": 2**29,
    "ports": [{"target": 80, "published": 8080}],
    "health_check": {"test": ["CMD", "true"]},
    "update_policy": {"order": "start-first"},
    "labels": {"tier": "front"},
}


async def test_created_workload_can_be_read_back(writer: APIClient) -> None:
    created = await writer.post(WORKLOADS, FULL)
    assert created.status_code == 201, created.json()
    workload = created.json()
    assert {key: workload[key] for key in ("command", "env", "replicas", "labels")} == {
        key: FULL[key] for key in ("command", "env", "replicas", "labels")
    }
    read = (await writer.get(f"{WORKLOADS}{workload['id']}/")).json()
    assert read == workload | {"warnings": None}


async def test_structures_are_completed_with_their_defaults(writer: APIClient) -> None:
    workload = (await writer.post(WORKLOADS, FULL)).json()
    assert workload["ports"] == [
        {"target": 80, "published": 8080, "protocol": "tcp", "mode": "ingress"}
    ]
    assert workload["health_check"]["retries"] == 3
    assert workload["update_policy"]["order"] == "start-first"
    assert workload["update_policy"]["parallelism"] == 1


async def test_structure_is_replaced_whole_by_a_patch(writer: APIClient) -> None:
    workload = (await writer.post(WORKLOADS, FULL)).json()
    url = f"{WORKLOADS}{workload['id']}/"
    refused = await writer.patch(url, {"health_check": {"retries": 5}})
    assert (refused.status_code, list(refused.json())) == (400, ["health_check"])
    changed = await writer.patch(url, {"health_check": None, "ports": []})
    assert (changed.json()["health_check"], changed.json()["ports"]) == (None, [])


async def test_smallest_workload_has_defaults(writer: APIClient) -> None:
    workload = (await writer.post(WORKLOADS, BODY)).json()
    assert (workload["replicas"], workload["cpu_limit"], workload["team"]) == (1, None, None)
    assert (workload["generation"], workload["observed_generation"]) == (1, 0)
    statuses = {one["type"]: one["status"] for one in workload["conditions"]}
    others = dict.fromkeys(("Ready", "Degraded", "OverCommitted", "Stale"), False)
    assert statuses == others | {"Progressing": True}


async def test_change_of_the_spec_leaves_a_revision(writer: APIClient) -> None:
    workload = (await writer.post(WORKLOADS, BODY)).json()
    url = f"{WORKLOADS}{workload['id']}/"
    changed = (await writer.patch(url, {"image": "nginx:2"})).json()
    assert (changed["generation"], changed["version"]) == (2, 2)
    same = (await writer.patch(url, {"image": "nginx:2"})).json()
    assert same == changed
    page = (await writer.get(f"{url}revisions/")).json()
    assert [(one["number"], one["spec"]["image"]) for one in page["results"]] == [
        (2, "nginx:2"),
        (1, "nginx:1"),
    ]
    assert page["results"][0]["created_by"] is not None


async def test_what_the_server_decides_is_not_taken(writer: APIClient) -> None:
    response = await writer.post(WORKLOADS, BODY | {"generation": 9, "version": 9})
    assert response.json()["generation"] == response.json()["version"] == 1


async def test_names_are_unique_within_a_team(writer: APIClient) -> None:
    team = await Team.objects.acreate(name="Core", slug="core")
    for body in (BODY, BODY | {"team": team.pk}):
        assert (await writer.post(WORKLOADS, body)).status_code == 201
        again = await writer.post(WORKLOADS, body)
        assert (again.status_code, list(again.json())) == (400, ["name"])


async def test_workload_moves_to_a_team_unless_its_name_is_taken_there(writer: APIClient) -> None:
    team = await Team.objects.acreate(name="Core", slug="core")
    await services.create_workload(name="taken", image="a", team=team)
    taken = await services.create_workload(name="taken", image="a")
    free = await services.create_workload(name="free", image="a")
    refused = await writer.patch(f"{WORKLOADS}{taken.pk}/", {"team": team.pk})
    assert (refused.status_code, list(refused.json())) == (400, ["name"])
    moved = await writer.patch(f"{WORKLOADS}{free.pk}/", {"team": team.pk})
    assert (moved.status_code, moved.json()["team"]) == (200, team.pk)


async def test_put_needs_name_and_image_and_keeps_the_rest(writer: APIClient) -> None:
    workload = (await writer.post(WORKLOADS, FULL)).json()
    url = f"{WORKLOADS}{workload['id']}/"
    assert sorted((await writer.put(url, {})).json()) == ["image", "name"]
    replaced = (await writer.put(url, BODY | {"image": "nginx:9"})).json()
    assert (replaced["image"], replaced["replicas"]) == ("nginx:9", 3)


async def test_limit_is_lifted_by_null(writer: APIClient) -> None:
    workload = (await writer.post(WORKLOADS, FULL)).json()
    response = await writer.patch(f"{WORKLOADS}{workload['id']}/", {"cpu_limit": None})
    assert (response.status_code, response.json()["cpu_limit"]) == (200, None)


async def test_deleted_workload_is_gone_with_its_revisions(writer: APIClient) -> None:
    workload = (await writer.post(WORKLOADS, BODY)).json()
    url = f"{WORKLOADS}{workload['id']}/"
    assert (await writer.delete(url)).status_code == 204
    assert (await writer.get(url)).status_code == 404
    assert await Revision.objects.acount() == 0


async def test_containers_of_a_workload_stand_under_it(reader: APIClient) -> None:
    workload = await services.create_workload(name="web", image="nginx:1")
    labels = {"com.docker.compose.service": "web"}
    await services.observe_host(**report(container("a", labels=labels), container("b")))
    page = (await reader.get(f"{WORKLOADS}{workload.pk}/containers/")).json()
    assert [one["engine_id"] for one in page["results"]] == ["a"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["db", "web"]),
        ("?label=tier=front", ["web"]),
        ("?image=nginx:1", ["web"]),
        ("?name=db", ["db"]),
        ("?search=ngin", ["web"]),
        ("?ordering=-replicas", ["web", "db"]),
        ("?team=0", []),
    ],
)
async def test_list_is_filtered(reader: APIClient, query: str, names: list[str]) -> None:
    await services.create_workload(
        name="web", image="nginx:1", labels={"tier": "front"}, replicas=2
    )
    await services.create_workload(name="db", image="postgres:17")
    response = await reader.get(WORKLOADS + query)
    assert [one["name"] for one in response.json()["results"]] == names


async def test_lists_take_one_query(reader: APIClient) -> None:
    for number in range(4):
        await services.create_workload(name=f"w{number}", image="a")
    await reader.get(WORKLOADS)
    for path in (WORKLOADS, "/api/v1/revisions/"):
        with assert_num_queries(2):  # the token, the page with its count
            response = await reader.get(path)
        assert response.json()["count"] == 4


async def test_nobody_writes_a_revision(writer: APIClient) -> None:
    workload = await services.create_workload(name="web", image="a")
    revision = await Revision.objects.aget(workload=workload)
    url = f"/api/v1/revisions/{revision.pk}/"
    assert (await writer.get(url)).json()["number"] == 1
    assert (await writer.delete(url)).status_code == 405
    assert (await writer.patch(url, {"number": 2})).status_code == 405


async def test_reader_may_not_write(reader: APIClient) -> None:
    assert (await reader.post(WORKLOADS, BODY)).status_code == 403
    assert await Workload.objects.acount() == 0


async def test_rolling_back_is_a_new_generation_with_the_old_spec(writer: APIClient) -> None:
    workload = (await writer.post(WORKLOADS, FULL)).json()
    url = f"{WORKLOADS}{workload['id']}/"
    await writer.patch(url, {"image": "nginx:2", "health_check": None, "cpu_limit": 4})
    back = await writer.post(f"{url}rollback/", {"revision": 1})
    assert back.status_code == 200, back.text
    assert (back.json()["generation"], back["ETag"][:3]) == (3, '"3-')
    spec = ("image", "health_check", "cpu_limit", "ports", "env")
    assert {key: back.json()[key] for key in spec} == {key: workload[key] for key in spec}
    numbers = [one["number"] for one in (await writer.get(f"{url}revisions/")).json()["results"]]
    assert numbers == [3, 2, 1]


async def test_rolling_back_to_what_is_there_changes_nothing(writer: APIClient) -> None:
    workload = (await writer.post(WORKLOADS, BODY)).json()
    back = await writer.post(f"{WORKLOADS}{workload['id']}/rollback/", {"revision": 1})
    assert back.json() == workload


async def test_rolling_back_takes_dry_run_and_if_match(writer: APIClient) -> None:
    workload = (await writer.post(WORKLOADS, BODY)).json()
    url = f"{WORKLOADS}{workload['id']}/"
    changed = (await writer.patch(url, {"image": "nginx:2"})).json()
    trial = await writer.post(f"{url}rollback/?dry_run=all", {"revision": 1})
    assert (trial.json()["image"], trial.json()["generation"]) == ("nginx:1", 3)
    unclear = await writer.post(f"{url}rollback/?dry_run=yes", {"revision": 1})
    assert (unclear.status_code, list(unclear.json())) == (400, ["dry_run"])
    stale = await writer.post(f"{url}rollback/", {"revision": 1}, HTTP_IF_MATCH='"1"')
    assert stale.status_code == 412
    assert (await writer.get(url)).json() == changed | {"warnings": None}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "required"),
        ({"revision": 9}, "from 1 to 1"),
        ({"revision": 0}, "greater than or equal to 1"),
        ({"revision": "first"}, "valid integer"),
        ({"revision": 1, "force": True}, ""),
    ],
)
async def test_rollback_that_means_nothing_is_refused(
    writer: APIClient, body: Any, message: str
) -> None:
    workload = (await writer.post(WORKLOADS, BODY)).json()
    response = await writer.post(f"{WORKLOADS}{workload['id']}/rollback/", body)
    assert response.status_code == 400
    assert message in response.text
