"""/api/v1/placements/ over HTTP."""

import xml.etree.ElementTree as ET
from datetime import timedelta
from typing import Any

import orjson
import pytest
import pytest_asyncio
from django.utils import timezone

from app.accounts.models import Team
from app.fleet import services
from app.fleet.models import Container, Event, Host, UsageSummary
from app.rest.renderers import JSONRenderer
from app.rest.test import APIClient
from tests.fleet.samples import container, report
from tests.fleet.test_every_write import state

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("placed_events")]

SIMULATE, REPACK = "/api/v1/placements/simulate/", "/api/v1/placements/repack/"
GIB = 2**30


async def host(name: str, *reserved_gib: float, zone: str = "a", **labels: str) -> int:
    """A host of 3.5 cores and 7 GiB allocatable that was heard of just now, with containers."""
    now = timezone.now()
    containers = [
        container(
            f"{name}-{number}",
            memory_reservation_bytes=int(gib * GIB),
            cpu_reservation=0.1,
            labels=labels,
        )
        for number, gib in enumerate(reserved_gib)
    ]
    body = report(*containers, name=name, observed_at=now)
    body["containers"] = containers
    body["host"]["labels"] = {"zone": zone}
    return (await services.observe_host(**body)).host_id


@pytest_asyncio.fixture(loop_scope="session")
async def fleet(placed_events: None) -> dict[str, int]:
    return {
        "full": await host("full", 3, 2),
        "half": await host("half", 3),
        "little": await host("little", 1, zone="b"),
    }


async def told(client: APIClient, url: str, **body: Any) -> Any:
    answer = await client.post(url, body)
    assert answer.status_code == 200, answer.content
    return answer.json()


async def test_simulation_says_how_many_fit_where_and_what_stops_more(
    reader: APIClient, fleet: dict[str, int], hops: list[str]
) -> None:
    found = await told(
        reader, SIMULATE, memory_reservation_bytes=2 * GIB, cpu_reservation=0.5, count=7
    )
    assert (found["fits"], found["placed"], found["headroom"]) == (False, 6, 6)
    assert {one["name"]: one["placed"] for one in found["hosts"]} == {
        "full": 1,
        "half": 2,
        "little": 3,
    }
    assert {one["stopped_by"] for one in found["hosts"]} == {"memory"}
    assert found["policy"]["placement_buffer"] == 0
    assert hops == []


async def test_reservation_too_small_to_count_takes_up_the_least_there_is(
    reader: APIClient, fleet: dict[str, int]
) -> None:
    found = await told(reader, SIMULATE, cpu_reservation=1e-45)
    assert found["fits"] is True


async def test_simulation_honours_constraints_and_buffer(
    reader: APIClient, fleet: dict[str, int]
) -> None:
    found = await told(
        reader,
        SIMULATE,
        memory_reservation_bytes=2 * GIB,
        count=4,
        constraints=["node.labels.zone==b"],
        buffer=0.25,
    )
    assert (found["placed"], found["headroom"]) == (2, 2)
    assert {one["stopped_by"] for one in found["hosts"]} == {
        "memory",
        "constraint node.labels.zone==b",
    }


async def test_simulation_of_a_workload_takes_its_shape_and_changes_nothing(
    reader: APIClient, fleet: dict[str, int]
) -> None:
    workload = await services.create_workload(
        name="w", image="x", memory_reservation_bytes=3 * GIB, cpu_reservation=0.25
    )
    before = [await Container.objects.acount(), await Event.objects.acount()]
    found = await told(reader, SIMULATE, workload=workload.pk, count=3)
    assert found["shape"] == {"cpus": 0.25, "memory_bytes": 3 * GIB}
    assert found["fits"] is True
    assert [await Container.objects.acount(), await Event.objects.acount()] == before


async def test_recommended_sizes_are_used_when_asked_for_with_their_constants(
    reader: APIClient, fleet: dict[str, int], hops: list[str]
) -> None:
    """Of the workload that is asked for, and of the containers that take up the room; constants of
    teams' and workloads' own behind them are told, with their source."""
    team = await Team.objects.acreate(name="Core", slug="core")
    made = {}
    for name, constants in (("lavish", {"memory_reservation_margin": 2.0}), ("plain", {})):
        made[name] = await services.create_workload(
            name=name, image="x", team=team, memory_reservation_bytes=5 * GIB, cpu_reservation=1.0
        )
        if constants:
            await services.create_policy(workload=made[name], constants=constants)
    await services.create_policy(team=team, constants={"downsize_confidence_min": 0.5})
    for name, workload in zip(("name-half-0", "name-full-0"), made.values(), strict=True):
        pk = (await Container.objects.aget(name=name)).pk
        await Container.objects.filter(pk=pk).aupdate(workload_id=workload.pk)
        now = timezone.now()
        await UsageSummary.objects.acreate(
            container_id=pk,
            reference=now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1),
            samples=20_000,
            first_at=now - timedelta(days=3),
            last_at=now,
            cpu_weights={"40": 1000.0},
            memory_weights={"20": 1000.0},
            peaks={str(int(now.timestamp() // 86400)): [0.2, 2**30]},
        )
    advised = {
        one["name"]: one
        for one in (await reader.get("/api/v1/reports/rightsizing/")).json()["results"]
    }
    told_of = {
        name: {"workload": workload.pk, "constants": advised[name]["overrides"]}
        for name, workload in made.items()
    }
    assert told_of["lavish"]["constants"]["memory_reservation_margin"] == {
        "value": 2.0,
        "source": "workload",
    }
    assert told_of["plain"]["constants"] == {
        "downsize_confidence_min": {"value": 0.5, "source": "team"}
    }
    for name, workload in made.items():
        found = await told(reader, SIMULATE, workload=workload.pk, count=1, size_by="recommended")
        size = advised[name]["memory"]["recommended"]["reservation"]
        assert found["shape"]["memory_bytes"] == pytest.approx(size, abs=1)
        assert found["overrides"] == [told_of["lavish"], told_of["plain"]]
        assert found["policy"]["size_by"] == "recommended"
        declared = await told(reader, SIMULATE, workload=workload.pk, count=1)
        assert declared["shape"]["memory_bytes"] == 5 * GIB
        assert declared["overrides"] == []
        free = [
            {one["name"]: one["free"]["memory_bytes"] for one in each["hosts"]}
            for each in (found, declared)
        ]
        assert free[0]["half"] > free[1]["half"], "what runs there counts with less"
    only = await told(
        reader,
        SIMULATE,
        workload=made["plain"].pk,
        count=1,
        size_by="recommended",
        labels={"zone": "b"},
    )
    assert only["overrides"] == [told_of["plain"]], "of those that were counted"
    plan = await told(reader, REPACK, size_by="recommended")
    assert plan["overrides"] == [told_of["lavish"], told_of["plain"]]
    assert (await told(reader, REPACK))["overrides"] == []
    assert hops == []


@pytest.mark.parametrize("size_by", ["reservation", "recommended"])
async def test_asking_changes_nothing(
    reader: APIClient, fleet: dict[str, int], size_by: str
) -> None:
    workload = await services.create_workload(
        name="w", image="x", memory_reservation_bytes=GIB, cpu_reservation=0.25
    )
    before = await state()
    await told(reader, SIMULATE, workload=workload.pk, count=3, size_by=size_by)
    assert (await told(reader, REPACK, size_by=size_by))["moves"]
    assert (await reader.post(f"{REPACK}?format=svg", {"size_by": size_by})).status_code == 200
    assert await state() == before


async def test_repack_frees_a_host_with_moves_in_order(
    reader: APIClient, fleet: dict[str, int], hops: list[str]
) -> None:
    found = await told(reader, REPACK)
    assert found["hosts"]["before"] == 3
    assert found["hosts"]["after"] == found["hosts"]["minimum"] == 2
    assert [one["name"] for one in found["hosts"]["freed"]] == ["half"] or found["moves"]
    last = found["moves"][-1]
    assert last["frees"] is True
    assert last["step"] == len(found["moves"])
    assert hops == []


async def test_moves_are_bounded(reader: APIClient, fleet: dict[str, int]) -> None:
    assert len((await told(reader, REPACK, max_moves=1))["moves"]) <= 1


async def test_silent_host_and_cordoned_one_are_left_alone_and_say_why(reader: APIClient) -> None:
    await host("alive", 1)
    await host("silent", 1)
    before = timezone.now() - timedelta(hours=1)
    await Host.objects.filter(name="silent").aupdate(last_seen_at=before)
    await Container.objects.filter(host__name="silent").aupdate(last_seen_at=before)
    cordoned = await host("cordoned", 1)
    await Host.objects.filter(pk=cordoned).aupdate(labels={"stowage.cordon": "true"})
    found = await told(reader, REPACK)
    assert found["moves"] == []
    assert {one["name"]: one["reason"] for one in found["hosts"]["closed"]} == {
        "silent": "stale: nothing was heard of it lately",
        "cordoned": "cordoned by its label stowage.cordon",
    }


async def test_labels_of_a_container_pin_it_or_bind_it(reader: APIClient) -> None:
    await host("first", 1, **{"stowage.pin": "true"})
    await host("second", 1, **{"stowage.constraints": "node.hostname==second"})
    await host("third", 1, **{"stowage.constraints": "what?"})
    found = await told(reader, REPACK)
    assert found["moves"] == []
    assert found["pinned"] == 2
    flags = {one["name"]: one["flags"] for one in found["flagged"]}
    assert "unreadable:constraints" in flags["name-third-0"]


async def test_unmanaged_containers_stay_where_they_are_when_asked(
    reader: APIClient, fleet: dict[str, int]
) -> None:
    assert (await told(reader, REPACK, pin_unmanaged=True))["moves"] == []


async def test_plan_in_parts_is_what_the_renderer_makes_of_it_whole(reader: APIClient) -> None:
    for number in range(3):
        await host(f"h{number}\u2028\u00e9", 1, 1e-8, zone="b")
    compact = await reader.post(REPACK, {})
    indented = await reader.post(REPACK, {}, headers={"accept": "application/json; indent=1"})
    whole = orjson.loads(indented.content)
    assert whole["moves"]
    assert len(whole["flagged"]) == 6
    whole["at"] = compact.json()["at"]
    assert compact.content == JSONRenderer().render(whole)


async def test_picture_shows_before_and_after(
    reader: APIClient, fleet: dict[str, int], hops: list[str]
) -> None:
    answer = await reader.post(f"{REPACK}?format=svg", {"resource": "memory"})
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/svg+xml; charset=utf-8")
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    drawn = ET.fromstring(answer.content)
    text = " ".join(drawn.itertext())
    assert "Before: 3 hosts in use" in text
    assert "2 hosts in use, at least 2 are needed" in text
    assert hops == []


@pytest.mark.parametrize(
    ("url", "body", "field"),
    [
        (SIMULATE, {}, "memory_reservation_bytes"),
        (SIMULATE, {"memory_reservation_bytes": -1}, "memory_reservation_bytes"),
        (SIMULATE, {"memory_reservation_bytes": 1, "count": 0}, "count"),
        (SIMULATE, {"memory_reservation_bytes": 1, "count": 10**9}, "count"),
        (SIMULATE, {"memory_reservation_bytes": 1, "constraints": ["zone=a"]}, "constraints"),
        (SIMULATE, {"memory_reservation_bytes": 1, "constraints": "zone"}, "constraints"),
        (SIMULATE, {"memory_reservation_bytes": 1, "spread": [{"max_skew": 1}]}, "spread"),
        (SIMULATE, {"memory_reservation_bytes": 1, "spread": {"topology_key": "zone"}}, "spread"),
        (
            SIMULATE,
            {"memory_reservation_bytes": 1, "spread": [{"topology_key": "zone", "max_skew": 0}]},
            "spread",
        ),
        (
            SIMULATE,
            {
                "memory_reservation_bytes": 1,
                "anti_affinity": {"required": [{"label_selector": {"match_labels": {}}}]},
            },
            "anti_affinity",
        ),
        (
            SIMULATE,
            {"memory_reservation_bytes": 1, "workload_labels": {"": "a"}},
            "workload_labels",
        ),
        (SIMULATE, {"memory_reservation_bytes": 1, "buffer": 1}, "buffer"),
        (SIMULATE, {"memory_reservation_bytes": 1, "size_by": "guess"}, "size_by"),
        (SIMULATE, {"memory_reservation_bytes": 1, "labels": ["a"]}, "labels"),
        (SIMULATE, {"memory_reservation_bytes": 1, "surprise": 1}, "surprise"),
        (SIMULATE, {"memory_reservation_bytes": 1, "avoid_workloads": [7]}, "avoid_workloads"),
        (SIMULATE, {"workload": 999_999}, "workload"),
        (SIMULATE, {"workload": 10**30}, "workload"),
        (REPACK, {"max_moves": 0}, "max_moves"),
        (REPACK, {"max_moves": "many"}, "max_moves"),
        (REPACK, {"resource": "disk"}, "resource"),
        (REPACK, {"labels": {"a": {"b": 1}}}, "labels"),
        (REPACK, {"labels": {"a": "\u0000"}}, "labels"),
    ],
)
async def test_bad_value_is_refused_by_name(
    reader: APIClient, url: str, body: dict[str, Any], field: str
) -> None:
    refused = await reader.post(url, body)
    assert (refused.status_code, list(refused.json())) == (400, [field]), refused.content


async def test_fleet_without_hosts_has_room_for_nothing_and_no_moves(reader: APIClient) -> None:
    found = await told(reader, SIMULATE, memory_reservation_bytes=1)
    assert (found["fits"], found["fragmentation"], found["hosts"]) == (False, None, [])
    assert (await told(reader, REPACK))["moves"] == []


async def test_asking_takes_a_token_that_reads(agent: APIClient, client: APIClient) -> None:
    assert (await agent.post(REPACK, {})).status_code == 403
    assert (await client.post(REPACK, {})).status_code == 401
