"""Every constant of the policy can be set for a team and for a workload, changes an answer, and is
echoed in it.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from django.utils import timezone

from app import db
from app.accounts.models import Team
from app.fleet import partitions, rebuilds, rollups, services
from app.fleet.models import Container, OOMKill, Workload
from app.fleet.policy import OVERRIDABLE, Policy
from app.rest.test import APIClient
from tests.fleet.samples import container, report

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]
API = "/api/v1/"
MIB = 2**20
OWNERS = ("team", "workload")
# Thirty hours of a sample a minute, the last two minutes ago; every tenth is high, and the use was
# higher until eight hours ago. Five minutes after the start it was highest, and higher still after
# half an hour.
USE = """
    INSERT INTO fleet_usage (container_id, at, cpu_cores, memory_bytes)
    SELECT $1::bigint, $2::timestamptz - n * interval '1 minute',
        CASE WHEN n % 10 = 5 THEN 0.4 ELSE 0.1 END,
        CASE WHEN n = 1195 THEN 700 WHEN n = 1170 THEN 800 WHEN n % 10 = 5 THEN 300
            WHEN n > 480 THEN 250 ELSE 150 END::bigint * 1048576
    FROM generate_series(2, 1801) AS n
"""
MARKS = """
    INSERT INTO fleet_usage_mark (hour, container_ids)
    SELECT date_trunc('hour', at, 'UTC'), array_agg(DISTINCT container_id)
    FROM fleet_usage GROUP BY 1
"""


class Fleet(NamedTuple):
    client: APIClient
    team: int
    workload: int

    async def get(self, path: str) -> Any:
        response = await self.client.get(f"{API}{path}")
        assert response.status_code == 200, response.text
        return response.json()

    async def post(self, path: str, **body: Any) -> Any:
        response = await self.client.post(f"{API}{path}", body)
        assert response.status_code in {200, 201}, response.text
        return response.json()

    def owner(self, kind: str) -> int:
        return self.team if kind == "team" else self.workload


@pytest_asyncio.fixture(loop_scope="session")
async def fleet(writer: APIClient) -> Fleet:
    """A workload of a team: `web`, which reserves much more than it uses and was OOM-killed ten
    days ago, and `bare`, of which nothing is known. The host was heard of two minutes ago.
    """
    now = timezone.now()
    await partitions.maintain_partitions(now=now, keep_days=3, ahead_days=1)
    team = await Team.objects.acreate(name="Core", slug="core")
    spec = {"memory_reservation_bytes": 2**30, "memory_limit_bytes": 2**31, "cpu_reservation": 1.0}
    workload = await services.create_workload(name="web", image="x", team=team, **spec)
    labels = {"stowage.workload": "web"}
    web = container("web", labels=labels, started_at=now - timedelta(hours=20), **spec)
    heard_at = now - timedelta(minutes=2)
    values = report(web, container("bare", labels=labels), observed_at=heard_at)
    ids = (await services.observe_host(**values)).containers
    await Container.objects.all().aupdate(workload_id=workload.pk)
    await db.execute(USE, ids["web"], now)
    await db.execute(MARKS)
    killed_at = now - timedelta(days=10)
    await OOMKill.objects.acreate(container_id=ids["web"], at=killed_at, memory_bytes=900 * MIB)
    return Fleet(writer, team.pk, workload.pk)


Ask = Callable[[Fleet, str], Awaitable[tuple[Any, Any]]]
"""Asks for an owner's kind; the figures that change, and what the answer echoes of the owner's."""


def sizing(*path: str) -> Ask:
    async def ask(fleet: Fleet, kind: str) -> tuple[Any, Any]:
        (one,) = (await fleet.get("reports/rightsizing/"))["results"]
        overrides, figure = one["overrides"], one
        for name in path:
            figure = figure[name]
        return figure, overrides

    return ask


def counting(name: str, *path: str) -> Ask:
    """Of the container of this name in the density report."""

    async def ask(fleet: Fleet, kind: str) -> tuple[Any, Any]:
        answer = await fleet.get("reports/density/?detail=containers")
        figure = next(
            one
            for host in answer["hosts"]
            for one in host["containers"]
            if one["name"] == f"name-{name}"
        )
        for key in path:
            figure = figure[key]
        overrides = {one["workload"]: one["constants"] for one in answer["overrides"]}
        return figure, overrides.get(fleet.workload, {})

    return ask


async def room(fleet: Fleet, kind: str) -> tuple[Any, Any]:
    """How many of the policy's shape the hosts have room for, asked for the owner."""
    answer = await fleet.get(f"reports/density/?policy={kind}:{fleet.owner(kind)}")
    told = {
        name: {"value": answer["policy"][name], "source": source}
        for name, source in answer["policy_sources"].items()
    }
    return answer["fleet"]["fragmentation"]["headroom"], told


async def warned(fleet: Fleet, kind: str) -> tuple[Any, Any]:
    response = await fleet.client.patch(
        f"{API}workloads/{fleet.workload}/?dry_run=all", {"replicas": 2}
    )
    codes = [one["code"] for one in response.json()["warnings"]]
    return codes, (await sizing()(fleet, kind))[1]


async def stored(fleet: Fleet, kind: str) -> tuple[Any, Any]:
    """After an hour of the upkeep."""
    await rollups.roll_up(now=timezone.now())
    await rebuilds.rebuild_summaries()
    return await sizing("memory", "percentiles")(fleet, kind)


class Case(NamedTuple):
    value: float
    ask: Ask
    also: dict[str, float] = {}
    """What is set beside it, before and after."""


CASES = {
    "window_hours": Case(24, counting("web", "samples")),
    "stale_after_seconds": Case(300, counting("web", "flags")),
    "use_percentile": Case(0.5, counting("web", "cpu", "use_p95")),
    "memory_floor_bytes": Case(64 * MIB, counting("bare", "memory", "reservation")),
    "cpu_floor_cores": Case(0.5, counting("bare", "cpu", "reservation")),
    "memory_limit_margin": Case(2, sizing("memory", "target", "limit")),
    "memory_limit_oom_margin": Case(3, sizing("memory", "target", "limit"), {"evidence_days": 14}),
    "memory_limit_step_bytes": Case(2**30, sizing("memory", "target", "limit")),
    "memory_reservation_percentile": Case(0.5, sizing("memory", "target", "reservation")),
    "memory_reservation_margin": Case(2, sizing("memory", "target", "reservation")),
    "memory_reservation_oom_margin": Case(
        0, sizing("memory", "target", "reservation"), {"evidence_days": 14}
    ),
    "cpu_reservation_percentile": Case(0.5, sizing("cpu", "target", "reservation")),
    "evidence_days": Case(14, sizing("memory", "oom", "kills")),
    "confidence_samples_per_day": Case(10_000, sizing("confidence")),
    "samples_min": Case(10_000, sizing("state")),
    "history_hours_min": Case(48, sizing("state")),
    "change_min": Case(1, sizing("memory", "state")),
    "change_min_bytes": Case(2**40, sizing("memory", "state")),
    "change_min_cores": Case(100, sizing("cpu", "state")),
    "downsize_confidence_min": Case(2, sizing("memory", "reason")),
    "excess_warned": Case(100, warned),
    "startup_seconds": Case(3600, sizing("memory", "startup_peak")),
    "histogram_bucket_growth": Case(2, sizing("memory", "percentiles")),
    "histogram_cpu_first_cores": Case(1, sizing("cpu", "percentiles")),
    "histogram_memory_first_bytes": Case(10**9, sizing("memory", "percentiles")),
    "histogram_half_life_hours": Case(1, stored),
    "placement_buffer": Case(0.5, room),
    "reference_cpus": Case(1, room),
    "reference_memory_bytes": Case(2**30, room),
}


async def test_table_has_every_constant_of_the_policy() -> None:
    assert set(CASES) == set(OVERRIDABLE)
    assert set(CASES) == set(Policy.__dataclass_fields__)


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("name", CASES)
async def test_constant_of_a_team_or_workload_changes_its_answer_and_is_echoed(
    fleet: Fleet, name: str, owner: str
) -> None:
    value, ask, also = CASES[name]
    values = {owner: fleet.owner(owner), "constants": also}
    policy = (await fleet.post("policies/", **values))["id"]
    before, told_before = await ask(fleet, owner)
    assert name not in told_before

    constants = {**also, name: value}
    changed = await fleet.client.put(f"{API}policies/{policy}/", {"constants": constants})
    assert changed.status_code == 200, changed.text
    after, told_after = await ask(fleet, owner)

    assert after != before
    assert told_after[name] == {"value": value, "source": owner}
    assert (await fleet.client.delete(f"{API}policies/{policy}/")).status_code == 204
    if not also:
        assert (await ask(fleet, owner))[0] == before, "back to the default"


async def test_workloads_constants_count_before_its_teams_and_others_by_the_defaults(
    fleet: Fleet,
) -> None:
    other = await services.create_workload(name="other", image="x")
    values = report(container("other"), name="host-b", observed_at=timezone.now())
    await services.observe_host(**values)
    await Container.objects.filter(engine_id="other").aupdate(workload_id=other.pk)
    floor = counting("bare", "memory", "reservation")
    for kind, size in (("team", 32), ("workload", 64)):
        owner = {kind: fleet.owner(kind)}
        await fleet.post("policies/", **owner, constants={"memory_floor_bytes": size * MIB})
        figure, told = await floor(fleet, kind)
        assert (figure, told["memory_floor_bytes"]["source"]) == (size * MIB, kind)
    assert (await counting("other", "memory", "reservation")(fleet, ""))[0] == 16 * MIB
    answer = await fleet.get("reports/density/")
    assert [one["workload"] for one in answer["overrides"]] == [fleet.workload]
    named = await fleet.get("reports/density/?host=host-b")
    assert named["overrides"] == [], "of those that are told"


async def test_moving_a_workload_to_another_team_changes_whose_constants_hold(
    fleet: Fleet,
) -> None:
    constants = {"cpu_floor_cores": 0.5}
    await fleet.post("policies/", team=fleet.team, constants=constants)
    floor = counting("bare", "cpu", "reservation")
    assert (await floor(fleet, ""))[0] == 0.5
    await Workload.objects.filter(pk=fleet.workload).aupdate(team=None)
    assert await floor(fleet, "") == (0.01, {})


async def test_explicit_values_count_before_all_and_are_echoed(fleet: Fleet) -> None:
    await fleet.post(
        "policies/",
        workload=fleet.workload,
        constants={
            "window_hours": 24,
            "reference_cpus": 1,
            "reference_memory_bytes": 2**30,
            "placement_buffer": 0.5,
            "stale_after_seconds": 300,
        },
    )
    mine = f"reports/density/?policy=workload:{fleet.workload}&detail=containers"
    answer = await fleet.get(f"{mine}&window_hours=2&shape_cpus=2&shape_memory_bytes=1048576")
    assert (answer["policy"]["window_hours"], answer["window"]["hours"]) == (2, 2)
    samples = {one["name"]: one["samples"] for one in answer["hosts"][0]["containers"]}
    assert samples["name-web"] in {118, 119}
    shape = {"cpus": 2, "memory_bytes": MIB}
    assert answer["fleet"]["fragmentation"]["shape"] == shape
    assert answer["policy_sources"] == {
        "placement_buffer": "workload",
        "reference_cpus": "request",
        "reference_memory_bytes": "request",
        "stale_after_seconds": "workload",
        "window_hours": "request",
    }
    (told,) = answer["overrides"]
    assert set(told["constants"]) == {"stale_after_seconds"}
    by_name = await fleet.get("reports/density/?policy=workload:web")
    assert by_name["policy"]["placement_buffer"] == 0.5
    assert by_name["window"]["hours"] == 1, "of containers, which have their own"


@pytest.mark.parametrize("kind", OWNERS)
async def test_host_is_stale_by_whom_it_is_asked_for(fleet: Fleet, kind: str) -> None:
    owner = {kind: fleet.owner(kind)}
    await fleet.post("policies/", **owner, constants={"stale_after_seconds": 300})
    assert (await fleet.get("reports/density/"))["fleet"]["stale_hosts"] == ["host-a"]
    mine = await fleet.get(f"reports/density/?policy={kind}:{fleet.owner(kind)}")
    assert mine["fleet"]["stale_hosts"] == []
    shape = {"memory_reservation_bytes": MIB}
    nobodys = await fleet.post("placements/simulate/", **shape)
    mine = await fleet.post("placements/simulate/", **shape, **owner)
    assert (nobodys["headroom"], mine["headroom"] > 0) == (0, True)
    assert mine["policy_sources"] == {"stale_after_seconds": kind}


@pytest.mark.parametrize("path", ["simulate", "repack"])
async def test_placement_is_asked_for_a_team(fleet: Fleet, path: str) -> None:
    await fleet.post("policies/", team=fleet.team, constants={"placement_buffer": 0.5})
    body = {"memory_reservation_bytes": MIB} if path == "simulate" else {}
    mine = await fleet.post(f"placements/{path}/", **body, team=fleet.team)
    assert mine["policy"]["placement_buffer"] == 0.5
    assert mine["policy_sources"] == {"placement_buffer": "team"}
    said = await fleet.post(f"placements/{path}/", **body, team=fleet.team, buffer=0.25)
    assert said["policy"]["placement_buffer"] == 0.25
    assert said["policy_sources"] == {"placement_buffer": "request"}
    nobodys = await fleet.post(f"placements/{path}/", **body)
    assert (nobodys["policy"]["placement_buffer"], nobodys["policy_sources"]) == (0, {})


@pytest.mark.parametrize(
    ("field", "path", "body"),
    [
        ("team", "placements/simulate/", {"memory_reservation_bytes": 1, "team": 10**9}),
        ("team", "placements/simulate/", {"workload": "{workload}", "team": "{team}"}),
        ("workload", "placements/simulate/", {"workload": 10**9}),
        ("team", "placements/repack/", {"team": 10**9}),
        ("policy", "reports/density/?policy=team:1000000000", None),
        ("policy", "reports/density/?policy=workload:nothing", None),
        ("policy", "reports/density/?policy=workload:twice", None),
        ("policy", "reports/density/?policy=team:", None),
        ("policy", "reports/density/?policy=3", None),
        ("policy", "reports/density/?policy=host:3", None),
    ],
)
async def test_whom_there_is_not_is_named(fleet: Fleet, field: str, path: str, body: Any) -> None:
    for team in (None, fleet.team):
        await services.create_workload(
            name="twice", image="x", team=team and await Team.objects.aget(pk=team)
        )
    if body is None:
        response = await fleet.client.get(f"{API}{path}")
    else:
        ids = {"{workload}": fleet.workload, "{team}": fleet.team}
        sent = {name: ids.get(value, value) for name, value in body.items()}
        response = await fleet.client.post(f"{API}{path}", sent)
    assert response.status_code == 400
    assert list(response.json()) == [field]


async def test_shape_of_a_workload_that_reserves_nothing_is_its_own_floor(fleet: Fleet) -> None:
    bare = await services.create_workload(name="bare", image="x")
    await fleet.post(
        "policies/",
        workload=bare.pk,
        constants={"memory_floor_bytes": 64 * MIB, "cpu_floor_cores": 0.5},
    )
    told = await fleet.post("placements/simulate/", workload=bare.pk)
    assert told["shape"] == {"cpus": 0.5, "memory_bytes": 64 * MIB}
    (override,) = told["overrides"]
    assert override["workload"] == bare.pk


async def test_containers_are_packed_by_their_own_floors(fleet: Fleet) -> None:
    await Container.objects.all().aupdate(last_seen_at=timezone.now())
    free = (await fleet.post("placements/simulate/", memory_reservation_bytes=MIB))["hosts"][0]
    constants = {"memory_floor_bytes": 64 * MIB}
    await fleet.post("policies/", team=fleet.team, constants=constants)
    told = await fleet.post("placements/simulate/", memory_reservation_bytes=MIB)
    now_free = told["hosts"][0]["free"]["memory_bytes"]
    assert free["free"]["memory_bytes"] - now_free == 48 * MIB
    assert told["overrides"] == [
        {
            "workload": fleet.workload,
            "constants": {"memory_floor_bytes": {"value": 64 * MIB, "source": "team"}},
        }
    ]
    assert (await fleet.post("placements/repack/"))["overrides"] == told["overrides"]


@pytest.mark.parametrize("kind", OWNERS)
async def test_conditions_go_by_the_workloads_own_silence(fleet: Fleet, kind: str) -> None:
    async def is_stale() -> bool:
        await services.conditions.refresh_all_conditions(now=timezone.now())
        told = await fleet.get(f"workloads/{fleet.workload}/")
        return bool(next(one for one in told["conditions"] if one["type"] == "Stale")["status"])

    assert await is_stale()
    owner = {kind: fleet.owner(kind)}
    await fleet.post("policies/", **owner, constants={"stale_after_seconds": 300})
    assert not await is_stale()
