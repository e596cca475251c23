"""GET reports/rightsizing/: over HTTP, on a real PostgreSQL, from samples that were ingested."""

import csv
import io
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from django.utils import timezone

from app import db
from app.accounts.models import Team
from app.db.testing import assert_num_queries
from app.fleet import partitions, rollups, services
from app.fleet.models import Container, UsageSummary, Workload
from app.fleet.rightsizing_queries import OPEN
from app.fleet.services import Sample
from app.rest.test import APIClient
from tests.fleet.samples import container, report

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]
ADDRESS = "/api/v1/reports/rightsizing/"
MIB = 2**20


async def observed(*containers: dict[str, Any], at: datetime | None = None) -> dict[str, int]:
    values = report(*containers, observed_at=at or timezone.now())
    return (await services.observe_host(**values)).containers


async def use(container_id: int, *, hours: float, cpu: float, mib: int, until: datetime) -> None:
    """A sample every two minutes up to `until`."""
    batch = [
        Sample(container_id, until - timedelta(minutes=2 * n), cpu, mib * MIB)
        for n in range(int(hours * 30))
    ]
    await services.record_usage(samples=batch)


async def two_workloads() -> dict[str, int]:
    """`big` reserves much more than it uses; `small` less."""
    spec = {"memory_reservation_bytes": 2**30, "memory_limit_bytes": 2**31, "cpu_reservation": 1.0}
    await services.create_workload(name="big", image="x", replicas=2, **spec)
    await services.create_workload(name="small", image="x", memory_reservation_bytes=32 * MIB)
    ids = await observed(
        *(container(name, labels={"stowage.workload": name}) for name in ("big", "small"))
    )
    now = timezone.now()
    await partitions.maintain_partitions(now=now, keep_days=2, ahead_days=1)
    for name in ("big", "small"):
        await use(ids[name], hours=30, cpu=0.1, mib=200, until=now)
    await UsageSummary.objects.all().adelete()
    return ids


async def results(client: APIClient, query: str = "") -> list[dict[str, Any]]:
    response = await client.get(f"{ADDRESS}?{query}")
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["results"]
    return found


class TestReport:
    async def test_workloads_are_told_by_saving_with_their_working(self, reader: APIClient) -> None:
        await two_workloads()
        big = await Workload.objects.aget(name="big")
        constants = {"downsize_confidence_min": 0.5}
        await services.create_policy(workload=big, constants=constants)
        answer = (await reader.get(ADDRESS)).json()
        big, small = answer["results"]
        assert (big["name"], big["state"], big["replicas"]) == ("big", "lower", 2)
        recommended = big["memory"]["recommended"]
        assert recommended["limit"] == 232 * MIB  # 230, in steps of 4
        assert 230 * MIB < recommended["reservation"] <= 232 * MIB
        assert big["saving"]["memory"] == 2 * (2**30 - recommended["reservation"])
        assert big["cpu"]["recommended"] == big["cpu"]["target"]
        assert big["cpu"]["recommended"]["limit"] is None
        assert 0.1 <= big["cpu"]["percentiles"]["p95"] <= 0.11
        assert big["memory"]["peak"] == 200 * MIB
        assert big["samples"] == 900
        assert big["overrides"] == {"downsize_confidence_min": {"value": 0.5, "source": "workload"}}
        assert (small["state"], small["memory"]["reason"]) == ("raise", "needs_more")
        assert small["saving"]["memory"] < 0
        assert answer["policy"]["memory_limit_margin"] == 1.15
        assert answer["totals"]["states"]["lower"] == 1
        saved = sum(one["saving"]["memory"] for one in answer["results"])
        assert answer["totals"]["saving"]["memory"] == saved

    @pytest.mark.parametrize("by", ["workload", "container"])
    async def test_every_result_tells_all_that_it_goes_by(self, reader: APIClient, by: str) -> None:
        set_now = {"cpu_reservation": 1.0, "cpu_limit": 2.0}
        set_now |= {"memory_reservation_bytes": 64 * MIB, "memory_limit_bytes": 300 * MIB}
        await services.create_workload(name="w", image="x", **set_now)
        now = timezone.now()
        spec = {"labels": {"stowage.workload": "w"}, **set_now}
        killed_at = now - timedelta(hours=1)
        dead = container("a", state="restarting", oom_killed=True, finished_at=killed_at, **spec)
        await observed(dead, at=killed_at)
        ids = await observed(container("a", **spec), at=now)
        await partitions.maintain_partitions(now=now, keep_days=2, ahead_days=1)
        await use(ids["a"], hours=30, cpu=0.1, mib=100, until=now)
        at = now - timedelta(seconds=30)
        await services.record_usage(samples=[Sample(ids["a"], at, 0.75, 290 * MIB)])
        (one,) = await results(reader, f"by={by}")
        samples = one["samples"]
        assert samples == 901
        span_days = (at - (now - timedelta(minutes=2 * 899))) / timedelta(days=1)
        assert one["confidence"] == pytest.approx(min(span_days, samples / 1440), abs=1e-3)
        assert one["state"] == "raise"
        cpu, memory = one["cpu"], one["memory"]
        assert cpu["current"] == {"reservation": 1.0, "limit": 2.0}
        assert memory["current"] == {"reservation": 64 * MIB, "limit": 300 * MIB}
        assert (cpu["state"], cpu["reason"]) == ("ok", "low_confidence")
        assert cpu["recommended"] == {"reservation": 1.0, "limit": None}  # never a cpu limit
        assert 0.1 <= cpu["target"]["reservation"] <= 0.106
        assert (memory["state"], memory["reason"]) == ("raise", "oom_killed")
        assert memory["recommended"] == {"reservation": 300 * MIB, "limit": 376 * MIB}
        assert (cpu["saving"], memory["saving"]) == (0, (64 - 300) * MIB)
        assert one["saving"] == {"cpu": 0, "memory": (64 - 300) * MIB}
        assert (cpu["peak"], memory["peak"]) == (0.75, 290 * MIB)
        for told, used in ((cpu, 0.1), (memory, 100 * MIB)):
            assert told["percentiles"].keys() >= {"p50", "p90", "p95", "p99"}
            assert all(used <= value <= used * 1.06 for value in told["percentiles"].values())
        oom = memory["oom"]
        assert (oom["kills"], oom["peak"]) == (1, 300 * MIB)
        assert datetime.fromisoformat(oom["last_at"]) == killed_at
        for told in (cpu, memory):
            assert told["message"]

    async def test_rolling_up_changes_hardly_anything(self, reader: APIClient) -> None:
        await two_workloads()
        before = await results(reader, "by=container&ordering=name")
        assert await rollups.roll_up(now=timezone.now()) > 0
        after = await results(reader, "by=container&ordering=name")
        for one, other in zip(before, after, strict=True):
            assert one["samples"] == other["samples"] == 900
            assert one["memory"]["target"] == other["memory"]["target"]
            assert one["memory"]["peak"] == other["memory"]["peak"]

    async def test_oom_kill_raises_with_the_next_request(self, reader: APIClient) -> None:
        limit = 100 * MIB
        ids = await observed(container("a", memory_limit_bytes=limit))
        (one,) = await results(reader, "by=container")
        assert (one["state"], one["memory"]["reason"]) == ("insufficient", "no_samples")
        assert one["memory"]["recommended"] is None
        dead = container("a", memory_limit_bytes=limit, oom_killed=True, state="restarting")
        await observed(dead, at=timezone.now() + timedelta(seconds=5))
        (one,) = await results(reader, "by=container&state=raise")
        assert one["id"] == ids["a"]
        assert one["memory"]["reason"] == "oom_killed"
        assert one["memory"]["recommended"] == {"reservation": limit, "limit": 128 * MIB}
        assert (one["memory"]["oom"]["kills"], one["memory"]["oom"]["peak"]) == (1, limit)

    async def test_oom_kill_of_a_replica_that_was_replaced_counts(self, reader: APIClient) -> None:
        await services.create_workload(name="w", image="x", memory_limit_bytes=100 * MIB)
        labels = {"stowage.workload": "w"}
        killed = {"state": "exited", "oom_killed": True, "memory_limit_bytes": 100 * MIB}
        await observed(container("a", labels=labels, **killed))
        await observed(container("b", labels=labels), at=timezone.now() + timedelta(seconds=5))
        (one,) = await results(reader)
        assert one["memory"]["recommended"]["limit"] == 128 * MIB

    async def test_new_use_moves_it(self, reader: APIClient) -> None:
        ids = await two_workloads()
        before = (await results(reader, "by=container&ordering=name"))[0]["memory"]
        await services.record_usage(samples=[Sample(ids["big"], timezone.now(), 0.1, 500 * MIB)])
        after = (await results(reader, "by=container&ordering=name"))[0]["memory"]
        assert after["target"]["limit"] == 576 * MIB > before["target"]["limit"]
        assert after["percentiles"] == before["percentiles"]  # one of 901

    async def test_it_is_filtered(self, reader: APIClient) -> None:
        team = await Team.objects.acreate(name="Core", slug="core")
        await services.create_workload(name="a", image="x", team=team, labels={"tier": "web"})
        workload = await services.create_workload(name="b", image="x")
        ids = await observed(container("c1", labels={"stowage.workload": "b", "zone": "z"}))

        async def names(query: str) -> list[str]:
            return [one["name"] for one in await results(reader, f"ordering=name&{query}")]

        assert await names("") == ["a", "b"]
        assert await names(f"team={team.pk}") == ["a"]
        assert await names("label=tier=web") == ["a"]
        assert await names("host=host-a") == ["b"]
        assert await names(f"workload=a&workload={workload.pk}") == ["a", "b"]
        assert await names("state=raise") == []
        assert await names("state=raise&state=insufficient") == ["a", "b"]
        assert await names("by=container&label=zone=z&workload=b&host=host-a") == ["name-c1"]
        assert await names("by=container&host=0") == []
        assert ids

    async def test_pages_and_statements(self, reader: APIClient) -> None:
        names = [f"c{number:02d}" for number in range(7)]
        await observed(*(container(one) for one in names))
        with assert_num_queries(15):
            answer = (await reader.get(f"{ADDRESS}?by=container&page_size=3")).json()
        assert (answer["count"], len(answer["results"])) == (7, 3)
        page = (await reader.get(answer["next"])).json()
        assert [one["name"] for one in page["results"]] == [f"name-{one}" for one in names[3:6]]
        assert (await reader.get(f"{ADDRESS}?page=9")).status_code == 404

    async def test_as_a_table(self, reader: APIClient) -> None:
        await two_workloads()
        await observed(container("c1"), at=timezone.now() + timedelta(seconds=1))
        response = await reader.get(f"{ADDRESS}?by=container&format=csv")
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        (row,) = csv.DictReader(io.StringIO(response.text))
        assert row["memory.reason"] == "no_samples"
        assert row["memory.recommended.limit"] == ""
        empty = await reader.get(f"{ADDRESS}?by=container&host=0&format=csv")
        assert empty.text.startswith("id,name,state")

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("by=host", "by"),
            ("state=fine", "state"),
            ("ordering=age", "ordering"),
            ("team=core", "team"),
            ("label=zone", "label"),
            ("host=", "host"),
            ("windows=1", "windows"),
            ("page_size=none", "page_size"),
        ],
    )
    async def test_what_is_wrong_is_named(self, reader: APIClient, query: str, field: str) -> None:
        response = await reader.get(f"{ADDRESS}?{query}")
        assert response.status_code == 400
        assert field in response.json()

    async def test_containers_that_are_gone_are_left_out(self, reader: APIClient) -> None:
        ids = await observed(container("a"))
        await Container.objects.filter(pk=ids["a"]).aupdate(state="removed")
        assert await results(reader, "by=container") == []


def aggregates_below_joins(plan: dict[str, Any], *, is_below: bool = False) -> list[str]:
    kind = plan["Node Type"]
    found = [kind] if is_below and "Aggregate" in kind else []
    is_below = is_below or "Join" in kind or kind == "Nested Loop"
    inner = [one for one in plan.get("Plans", ()) if one.get("Parent Relationship") != "InitPlan"]
    return found + [
        each for one in inner for each in aggregates_below_joins(one, is_below=is_below)
    ]


async def test_plan_for_any_containers_groups_samples_once() -> None:
    """Joined, the groups of two thousand containers were made anew for each of them: a minute."""
    types = "bigint[], timestamptz, timestamptz, interval, float8, float8, float8, float8[]"
    await db.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    await db.execute(f"PREPARE opened ({types}) AS {OPEN}")
    values = "'{1}', now(), now(), '10 min', 1.05, 0.001, 1e7, NULL"
    (row,) = await db.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE opened ({values})")
    await db.execute("DEALLOCATE opened")
    (plan,) = row.values()
    plan = orjson.loads(plan) if isinstance(plan, str) else plan
    assert aggregates_below_joins(plan[0]["Plan"]) == []
