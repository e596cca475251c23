"""Density over time, what is computed beforehand for it, and for large fleets."""

from datetime import timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from django.utils import timezone

from app import db
from app.fleet import density_history, recent, services, upkeep
from app.fleet.density_queries import build_host, fetch_hosts
from app.fleet.models import Container, DensityHour, Host, Usage, UsageRecent, Workload
from app.fleet.policies import fetch_own, fetch_policies
from app.fleet.policy import COUNTED
from app.rest.test import APIClient
from tests.fleet.test_density_report import create_host

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]
ADDRESS = "/api/v1/reports/density/"


async def keep(*hours_ago: int) -> None:
    """As if the fleet had been then as it is now."""
    now = timezone.now()
    assert await density_history.keep_hour(now=now) > 0
    for hours in hours_ago:
        await db.execute(
            "INSERT INTO fleet_density_hour SELECT (jsonb_populate_record(d, jsonb_build_object("
            "'hour', hour - %s::int * interval '1 hour'))).* FROM fleet_density_hour d"
            " WHERE hour = %s::timestamptz",
            hours,
            now.replace(minute=0, second=0, microsecond=0),
        )


class TestOverTime:
    async def test_an_hour_is_kept_once_with_the_reports_sums(self, reader: APIClient) -> None:
        await create_host("alpha", containers=["web", "db"])
        now = timezone.now()
        assert await density_history.keep_hour(now=now) == 1
        assert await density_history.keep_hour(now=now) == 0
        report = (await reader.get(ADDRESS)).json()["fleet"]
        (point,) = (await reader.get(f"{ADDRESS}?over=2h")).json()["points"]
        for resource in ("cpu", "memory"):
            for name, value in point[resource].items():
                assert value == report[resource][name], name
        assert (point["hosts"], point["containers"]) == (1, 2)

    async def test_hosts_are_added_up_and_filtered(self, reader: APIClient) -> None:
        await create_host("alpha", labels={"zone": "a"})
        await create_host("beta", labels={"zone": "b"})
        await keep(1, 2, 30)

        async def count(query: str) -> list[int]:
            points = (await reader.get(f"{ADDRESS}?{query}")).json()["points"]
            return [point["hosts"] for point in points]

        assert await count("over=7d") == [2, 2, 2, 2]
        assert await count("over=24h") == [2, 2, 2]
        assert await count("over=24h&label=zone=a") == [1, 1, 1]
        assert await count("over=24h&host=beta") == [1, 1, 1]
        assert await count("over=24h&label=zone=c") == []

    async def test_it_is_drawn(self, reader: APIClient) -> None:
        await create_host()
        await keep(1, 2, 5)
        response = await reader.get(f"{ADDRESS}?over=7d&format=svg")
        assert response["Content-Type"] == "image/svg+xml; charset=utf-8"
        text = "".join(ET.fromstring(response.content).itertext())
        for word in ("packing", "usage", "overcommit", "slack", "memory", "cpu"):
            assert word in text
        empty = await reader.get(f"{ADDRESS}?over=1h&label=zone=none&format=svg")
        assert "Nothing is kept" in empty.text

    @pytest.mark.parametrize("span", ["", "7", "d", "0h", "91d", "1w", "99999h", "٣d"])
    async def test_span_that_is_none_is_refused(self, reader: APIClient, span: str) -> None:
        response = await reader.get(f"{ADDRESS}?over={span}")
        assert (response.status_code, list(response.json())) == (400, ["over"])
        unknown = await reader.get(f"{ADDRESS}?over=7d&host=nowhere")
        assert (unknown.status_code, list(unknown.json())) == (400, ["host"])

    async def test_old_hours_are_forgotten_and_those_of_deleted_hosts_go(self) -> None:
        host = await create_host()
        await keep(1, 24 * 91)
        await upkeep.maintain(now=timezone.now())
        assert await DensityHour.objects.acount() == 2
        await db.execute("DELETE FROM fleet_container WHERE host_id = %s", host.pk)
        await db.execute("DELETE FROM fleet_host WHERE id = %s", host.pk)
        assert await DensityHour.objects.acount() == 0


class TestGroups:
    async def test_hosts_are_grouped_by_a_label(self, reader: APIClient) -> None:
        await create_host("alpha", labels={"zone": "b"})
        await create_host("beta", labels={"zone": "a"}, containers=["one", "two"])
        await create_host("gamma", labels={"zone": "b"})
        await create_host("delta")
        answer = (await reader.get(f"{ADDRESS}?group_by=label:zone")).json()
        assert answer["group_by"] == "label:zone"
        assert [(one["value"], one["hosts"]) for one in answer["groups"]] == [
            ("a", ["beta"]),
            ("b", ["alpha", "gamma"]),
            (None, ["delta"]),
        ]
        by_value = {one["value"]: one for one in answer["groups"]}
        assert by_value["a"]["containers_counted"] == 2
        assert by_value["a"]["memory"]["packing"] == 0.4
        total = sum(one["memory"]["reservations"] for one in answer["groups"])
        assert total == answer["fleet"]["memory"]["reservations"]

    async def test_fragmentation_is_told_for_a_shape(self, reader: APIClient) -> None:
        await create_host("alpha")  # 12 of 15 GiB and 7 of 8 cores are free
        await create_host("beta")
        shape = f"shape_cpus=0.5&shape_memory_bytes={5 * 2**30}"
        answer = (await reader.get(f"{ADDRESS}?{shape}")).json()
        assert answer["fleet"]["fragmentation"] == {
            "shape": {"cpus": 0.5, "memory_bytes": 5 * 2**30},
            "headroom": 4,
            "pooled": 4,
            "fragmentation": 0.0,
            "reason": None,
        }
        uneven = (await reader.get(f"{ADDRESS}?shape_memory_bytes={7 * 2**30}")).json()
        assert uneven["fleet"]["fragmentation"]["fragmentation"] == pytest.approx(1 / 3, abs=1e-4)
        assert [host["headroom"] for host in uneven["hosts"]] == [1, 1]

    @pytest.mark.parametrize("query", ["group_by=zone", "group_by=label:", "shape_cpus=0",
                                       "shape_cpus=nan", "shape_memory_bytes=x"])  # fmt: skip
    async def test_what_is_wrong_is_named(self, reader: APIClient, query: str) -> None:
        response = await reader.get(f"{ADDRESS}?{query}")
        assert (response.status_code, list(response.json())) == (400, [query.partition("=")[0]])


class TestBeforehand:
    async def fleet(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """Fifty samples each of two containers, and a fleet that counts as large."""
        monkeypatch.setattr(recent, "CONTAINERS_MIN", 1)
        host = await create_host("alpha", containers=["web", "db"])
        now = timezone.now()
        rows = [
            Usage(
                container=one, at=now - timedelta(seconds=20 + n), cpu_cores=n / 10, memory_bytes=n
            )
            for one in [one async for one in Container.objects.all()]
            for n in range(50)
        ]
        await Usage.objects.abulk_create(rows)
        return [host, now]

    async def test_what_is_computed_beforehand_is_what_would_be_read(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, now = await self.fleet(monkeypatch)
        (live,) = await fetch_hosts(at=now, window_hours=1.0)
        assert live["measured_at"] is None
        assert await recent.refresh(now=now) == 2
        (beforehand,) = await fetch_hosts(at=now + timedelta(seconds=5), window_hours=1.0)
        assert beforehand["measured_at"] == now
        for name in ("cpu_p95", "memory_p95", "samples", "heard_at", "cpu_current"):
            assert beforehand[name] == live[name], name
        assert len(list(build_host(beforehand).containers)) == 2

    async def test_report_says_until_when_samples_count(
        self, monkeypatch: pytest.MonkeyPatch, reader: APIClient
    ) -> None:
        _, now = await self.fleet(monkeypatch)
        await recent.refresh(now=now)
        answer = (await reader.get(ADDRESS)).json()
        assert answer["window"]["end"] == now.isoformat() != answer["at"]
        named = (await reader.get(f"{ADDRESS}?host=alpha")).json()
        assert named["window"]["end"] == named["at"]
        other = (await reader.get(f"{ADDRESS}?window_hours=2")).json()
        assert other["window"]["end"] == other["at"]

    async def own(self, **constants: float) -> Workload:
        """A workload with these constants, of which `web` is."""
        workload = await Workload.objects.acreate(name="w", image="x")
        await Container.objects.filter(name="web").aupdate(workload=workload)
        await services.create_policy(workload=workload, constants=constants)
        return workload

    @pytest.mark.parametrize("constants", [{"use_percentile": 0.5}, {"window_hours": 24}])
    async def test_what_is_computed_beforehand_is_by_the_containers_own_constants(
        self, monkeypatch: pytest.MonkeyPatch, constants: dict[str, float]
    ) -> None:
        _, now = await self.fleet(monkeypatch)
        assert await recent.refresh(now=now) == 2
        workload = await self.own(**constants)
        one = await Container.objects.aget(name="web")
        await Usage.objects.acreate(
            container=one, at=now - timedelta(hours=3), cpu_cores=90.0, memory_bytes=90
        )
        own = await fetch_own(await fetch_policies(), COUNTED)
        assert list(own) == [workload.pk]
        (live,) = await fetch_hosts(at=now, own=own)
        assert live["measured_at"] == now, "of the other"
        place = live["names"].index("web")
        assert await recent.refresh(now=now) == 1, "what has another window or percentile"
        row = await UsageRecent.objects.aget(container_id=one.pk)
        effective = own[workload.pk].policy
        found = (row.window_hours, row.percentile)
        assert found == (effective.window_hours, effective.use_percentile)
        assert row.cpu_p95 == live["cpu_p95"][place]
        await UsageRecent.objects.all().aupdate(cpu_p95=77.0)
        (beforehand,) = await fetch_hosts(at=now, own=own)
        assert beforehand["cpu_p95"] == [77.0, 77.0]
        (usual,) = await fetch_hosts(at=now)
        assert usual["cpu_p95"][place] != 77.0, "not by constants that no longer hold"
        assert await recent.refresh(now=now + timedelta(minutes=5)) == (
            1 if "window_hours" in constants else 2
        ), "a longer window is computed less often"

    async def test_hours_are_kept_by_the_containers_own_constants(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, now = await self.fleet(monkeypatch)
        await Container.objects.all().aupdate(memory_reservation_bytes=None)
        await self.own(memory_floor_bytes=2**30)
        assert await density_history.keep_hour(now=now) == 1
        hour = await DensityHour.objects.aget()
        assert hour.memory_reservations > 2**30

    async def test_newest_sample_is_always_live(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _, now = await self.fleet(monkeypatch)
        await recent.refresh(now=now)
        one = await Container.objects.afirst()
        at = now + timedelta(seconds=30)
        await Usage.objects.acreate(container=one, at=at, cpu_cores=7.0, memory_bytes=5)
        (row,) = await fetch_hosts(at=at, window_hours=1.0)
        assert 7.0 in row["cpu_current"]
        assert at in row["heard_at"]

    async def test_what_is_too_old_or_too_little_is_read_live(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, now = await self.fleet(monkeypatch)
        await recent.refresh(now=now)
        (row,) = await fetch_hosts(at=now + timedelta(minutes=16), window_hours=1.0)
        assert row["measured_at"] is None
        await UsageRecent.objects.all().aupdate(samples=recent.SAMPLES_MIN - 1)
        (row,) = await fetch_hosts(at=now, window_hours=1.0)
        assert row["measured_at"] is None

    async def test_it_is_due_every_few_minutes_and_not_for_small_fleets(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, now = await self.fleet(monkeypatch)
        assert await recent.refresh(now=now) == 2
        assert await recent.refresh(now=now + timedelta(minutes=3)) == 0
        monkeypatch.setattr(recent, "BATCH", 1)
        assert await recent.refresh(now=now + timedelta(minutes=5)) == 2
        monkeypatch.setattr(recent, "CONTAINERS_MIN", 2)
        assert await recent.refresh(now=now + timedelta(minutes=10)) == 0

    async def test_rows_of_containers_that_are_gone_are_dropped(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, now = await self.fleet(monkeypatch)
        await UsageRecent.objects.acreate(
            container_id=2**40, computed_at=now - timedelta(days=2), window_hours=1, samples=1
        )
        await recent.refresh(now=now)
        assert await UsageRecent.objects.acount() == 2
        assert await Host.objects.acount() == 1
