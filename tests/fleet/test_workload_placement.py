"""The placement of workloads over HTTP: stored with the spec, kept by simulations and plans."""

import json
import re
from typing import Any

import pytest
from django.utils import timezone

from app.fleet import services
from app.fleet.models import Host, Workload
from app.rest.test import APIClient
from tests.fleet.samples import container, report
from tests.running import ROOT

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("placed_events")]

WORKLOADS = "/api/v1/workloads/"
SIMULATE, REPACK = "/api/v1/placements/simulate/", "/api/v1/placements/repack/"
MIB = 2**20


def anti_affinity(key: str, value: str, over: str | None = None, **kinds: Any) -> dict[str, Any]:
    term: dict[str, Any] = {"label_selector": {"match_labels": {key: value}}}
    if over is not None:
        term["topology_key"] = over
    return {"anti_affinity": {kinds.get("kind", "required"): [term]}}


def spread(over: str, **more: Any) -> dict[str, Any]:
    return {"spread": [{"topology_key": over, **more}]}


async def workload(name: str, labels: dict[str, str], **placement: Any) -> Workload:
    return await services.create_workload(
        name=name,
        image="x",
        labels=labels,
        placement=placement,
        cpu_reservation=0.1,
        memory_reservation_bytes=MIB,
    )


async def host(name: str, zone: str, *workloads: str) -> int:
    """A host with a container of each of these workloads."""
    containers = [
        container(
            f"{name}-{number}",
            labels={"stowage.workload": one},
            memory_reservation_bytes=MIB,
            cpu_reservation=0.1,
        )
        for number, one in enumerate(workloads)
    ]
    body = report(*containers, name=name, observed_at=timezone.now())
    body["containers"] = containers
    body["host"]["labels"] = {"zone": zone}
    return (await services.observe_host(**body)).host_id


async def told(client: APIClient, url: str, **body: Any) -> Any:
    answer = await client.post(url, body)
    assert answer.status_code == 200, answer.content
    return answer.json()


def stops(found: Any) -> dict[str, str]:
    return {one["name"]: one["stopped_by"] for one in found["hosts"]}


def placed(found: Any) -> dict[str, int]:
    return {one["name"]: one["placed"] for one in found["hosts"] if one["placed"]}


def codes(answer: Any) -> list[str]:
    return [one["code"] for one in answer["warnings"]]


async def test_placement_is_a_part_of_the_spec(writer: APIClient) -> None:
    said = {
        "constraints": ["node.labels.disk == ssd"],
        "max_per_host": 2,
        **spread("zone"),
        **anti_affinity("tier", "db"),
    }
    made = await writer.post(WORKLOADS, {"name": "w", "image": "x", "placement": said})
    assert made.status_code == 201, made.text
    stored = made.json()["placement"]
    assert stored["constraints"] == ["node.labels.disk==ssd"]
    assert stored["spread"] == [
        {"topology_key": "zone", "max_skew": 1, "when_unsatisfiable": "do_not_schedule"}
    ]
    (term,) = stored["anti_affinity"]["required"]
    assert term == {
        "label_selector": {"match_labels": {"tier": "db"}},
        "topology_key": "node.hostname",
    }
    url = f"{WORKLOADS}{made.json()['id']}/"
    replaced = (await writer.patch(url, {"placement": {"max_per_host": 1}})).json()
    assert (replaced["placement"], replaced["generation"]) == ({"max_per_host": 1}, 2)
    back = (await writer.post(f"{url}rollback/", {"revision": 1})).json()
    assert (back["placement"], back["generation"]) == (stored, 3)


async def test_what_swarm_has_no_field_for_is_warned_of(writer: APIClient) -> None:
    async def warned(**placement: Any) -> list[str]:
        body = {
            "name": "w",
            "image": "x",
            "memory_limit_bytes": 2 * MIB,
            "memory_reservation_bytes": MIB,
            "cpu_reservation": 0.1,
            "placement": placement,
        }
        answer = await writer.post(f"{WORKLOADS}?dry_run=all", body)
        assert answer.status_code == 201, answer.text
        return [f"{one['code']} {one['field']}" for one in answer.json()["warnings"]]

    assert await warned(**anti_affinity("tier", "db")) == ["not_in_swarm placement"]
    assert await warned(**anti_affinity("tier", "db", kind="preferred")) == [
        "not_in_swarm placement"
    ]
    assert await warned(**spread("zone")) == ["not_in_swarm placement"]
    assert await warned(**spread("zone", when_unsatisfiable="schedule_anyway")) == []
    assert await warned(max_per_host=1, constraints=["node.labels.zone==a"]) == []


async def test_question_of_the_docs_is_answered(reader: APIClient) -> None:
    text = (ROOT / "docs" / "placement.md").read_text()
    (question,) = re.findall(r"POST /api/v1/placements/simulate/\n(.+?)```", text, re.DOTALL)
    found = await told(reader, SIMULATE, **json.loads(question))
    assert found["placed"] == 0
    assert found["count"] == 12


async def test_simulated_workload_keeps_its_placement_unless_another_is_asked_for(
    reader: APIClient, hops: list[str]
) -> None:
    await workload("db", {"tier": "db"})
    web = await workload("web", {"tier": "web"}, **anti_affinity("tier", "db", "zone"))
    await host("a1", "a", "db")
    await host("a2", "a")
    await host("b1", "b")
    found = await told(reader, SIMULATE, workload=web.pk, count=3)
    assert placed(found) == {"b1": 3}
    assert stops(found)["a2"] == "anti-affinity tier=db over zone"
    there = await told(reader, SIMULATE, workload=web.pk, count=1, **anti_affinity("tier", "db"))
    assert stops(there)["a1"] == "anti-affinity tier=db over node.hostname"
    assert stops(there)["a2"] != stops(there)["a1"]
    none = await told(reader, SIMULATE, workload=web.pk, count=9, anti_affinity={})
    assert not [one for one in stops(none).values() if "affinity" in one]
    assert hops == []


async def test_rule_of_those_that_run_keeps_a_new_one_off(reader: APIClient) -> None:
    await workload("db", {"tier": "db"}, **anti_affinity("noisy", "yes"))
    await host("a1", "a", "db")
    await host("b1", "b")
    shape = {"memory_reservation_bytes": MIB, "count": 2}
    quiet = await told(reader, SIMULATE, **shape, constraints=["node.hostname==a1"])
    assert quiet["fits"] is True
    noisy = await told(reader, SIMULATE, **shape, workload_labels={"noisy": "yes"})
    assert placed(noisy) == {"b1": 2}
    assert stops(noisy)["a1"] == "anti-affinity noisy=yes over node.hostname, of those there"


async def test_replicas_that_run_count_for_the_spread(reader: APIClient) -> None:
    web = await workload("web", {}, **spread("zone"))
    await host("a1", "a", "web")
    await host("a2", "a", "web")
    await host("b1", "b")
    found = await told(reader, SIMULATE, workload=web.pk, count=2)
    assert placed(found) == {"b1": 2}
    more = await told(reader, SIMULATE, workload=web.pk, count=4)
    assert (more["placed"], placed(more)["b1"]) == (4, 3)


async def test_hosts_that_were_not_asked_for_count_for_domains(reader: APIClient) -> None:
    """A zone goes beyond the hosts with a label."""
    await workload("db", {"tier": "db"})
    ours, other = await host("a1", "a"), await host("a2", "a", "db")
    await Host.objects.filter(pk=ours).aupdate(labels={"zone": "a", "pool": "x"})
    shape = {"memory_reservation_bytes": MIB, "labels": {"pool": "x"}}
    web = await workload("web", {}, **anti_affinity("tier", "db", "zone"))
    found = await told(reader, SIMULATE, workload=web.pk, **shape)
    assert (found["fits"], len(found["hosts"])) == (False, 1)
    await Host.objects.filter(pk=other).aupdate(labels={"zone": "b"})
    assert (await told(reader, SIMULATE, workload=web.pk, **shape))["fits"] is True


async def test_preference_that_is_not_kept_is_told(reader: APIClient) -> None:
    await workload("db", {"tier": "db"})
    await host("a1", "a", "db")
    shape = {"memory_reservation_bytes": MIB, "count": 2}
    found = await told(reader, SIMULATE, **shape, **anti_affinity("tier", "db", kind="preferred"))
    assert (found["fits"], codes(found)) == (True, ["preference_not_kept"])
    assert "2 of 2" in found["warnings"][0]["message"]
    await host("b1", "b")
    found = await told(reader, SIMULATE, **shape, **anti_affinity("tier", "db", kind="preferred"))
    assert (placed(found), codes(found)) == ({"b1": 2}, [])


@pytest.mark.parametrize(
    ("placement", "freed", "warnings"),
    [
        ({}, 1, []),
        (anti_affinity("tier", "db"), 0, []),
        (anti_affinity("tier", "db", "zone"), 0, ["required_is_broken"]),
        (anti_affinity("tier", "db", kind="preferred"), 1, ["preference_not_kept"]),
        ({"constraints": ["node.hostname==a2"]}, 0, []),
    ],
)
async def test_repack_keeps_what_workloads_that_run_ask_for(
    reader: APIClient,
    placement: dict[str, Any],
    freed: int,
    warnings: list[str],
    hops: list[str],
) -> None:
    await workload("db", {"tier": "db"}, constraints=["node.hostname==a1"])
    await workload("web", {"tier": "web"}, **placement)
    await host("a1", "a", "db")
    await host("a2", "a", "web")
    found = await told(reader, REPACK)
    assert len(found["hosts"]["freed"]) == freed
    assert codes(found) == warnings
    assert hops == []


async def test_repack_keeps_the_spread_and_the_most_a_host_may_hold(reader: APIClient) -> None:
    await workload("web", {}, **spread("zone"), max_per_host=2)
    for name, zone in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")):
        await host(name, zone, "web")
    assert (await told(reader, REPACK))["moves"] == []
    found = await told(reader, REPACK, keep_apart=False)
    zones = {"a1": "a", "a2": "a", "b1": "b", "b2": "b"}
    assert len(found["hosts"]["freed"]) == 2
    assert all(zones[one["from"]["name"]] == zones[one["to"]["name"]] for one in found["moves"])
