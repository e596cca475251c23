"""Conditions of workloads: what they say, since when, and that they follow what is observed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.fleet import services
from app.fleet.conditions import Facts, assess
from app.fleet.models import Event, Workload
from app.fleet.services.conditions import refresh_all_conditions
from app.rest.test import APIClient
from tests.fleet.samples import LATER, NOW, container, report

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("facts", "statuses", "reason"),
    [
        (Facts(2, 1, 0), {"Progressing"}, "TooFewReplicas"),
        (Facts(2, 1, 1, running=1), set(), "TooFewReplicas"),
        (Facts(2, 1, 1, running=2), {"Ready"}, "ReplicasRunning"),
        (Facts(2, 1, 1, running=3), set(), "TooManyReplicas"),
        (Facts(0, 4, 4), {"Ready"}, "ScaledToZero"),
        (Facts(2, 2, 1, running=2, failing=1), {"Ready", "Progressing", "Degraded"}, "Failing"),
        (Facts(0, 1, 1, failing=2, oom_killed=1), {"Ready", "Degraded"}, "OOMKilled"),
        (Facts(0, 1, 1, silent=("a",)), {"Ready", "Stale"}, "HostsSilent"),
        (Facts(0, 1, 1, over_committed=("a",)), {"Ready", "OverCommitted"}, "LimitsAbove"),
    ],
)
def test_facts_lead_to_conditions(facts: Facts, statuses: set[str], reason: str) -> None:
    conditions = assess(facts, before=[], at=AT)
    assert {one["type"] for one in conditions if one["status"]} == statuses
    assert any(one["reason"].startswith(reason) for one in conditions)
    assert all(one["message"] and one["since"] == AT.isoformat() for one in conditions)


def test_condition_that_stays_keeps_its_time_and_one_that_turns_does_not() -> None:
    before = assess(Facts(2, 1, 1, running=1), before=[], at=AT)
    later = AT + timedelta(minutes=1)
    after = assess(Facts(2, 1, 1, running=2), before=before, at=later)
    since = {one["type"]: one["since"] for one in after}
    assert since["Ready"] == later.isoformat()
    assert since["Progressing"] == AT.isoformat()


def test_message_follows_while_the_status_stays() -> None:
    before = assess(Facts(3, 1, 1, running=1), before=[], at=AT)
    after = assess(Facts(3, 1, 1, running=2), before=before, at=AT)
    assert after[0]["message"] == "2 of 3 replicas run."


async def ready() -> dict[str, Any]:
    conditions = (await Workload.objects.aget()).conditions
    return next(one for one in conditions if one["type"] == "Ready")


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestFollowing:
    async def test_workload_becomes_ready_and_falls_short_again(self) -> None:
        await services.create_workload(name="web", image="x", replicas=2)
        one, two = (container(name, labels={"stowage.workload": "web"}) for name in "ab")
        await services.observe_host(**report(one))
        assert (await ready())["message"] == "1 of 2 replicas run."
        await services.observe_host(**report(one, two, observed_at=LATER))
        assert (await ready())["status"] is True
        assert (await ready())["since"] == LATER.isoformat()
        later = LATER + timedelta(minutes=1)
        await services.observe_host(**report(one, two | {"state": "exited"}, observed_at=later))
        assert (await ready())["status"] is False

    async def test_each_change_is_an_event_and_no_new_version(self) -> None:
        workload = await services.create_workload(name="web", image="x")
        labels = {"stowage.workload": "web"}
        await services.observe_host(**report(labels=labels))
        await services.observe_host(**report(labels=labels, observed_at=LATER))
        events = Event.objects.filter(kind="workload.conditions_changed")
        assert [event.object_id async for event in events] == [workload.pk]
        assert (await Workload.objects.aget()).version == 1

    async def test_scaling_is_judged_at_once(self, writer: APIClient) -> None:
        workload = await services.create_workload(name="web", image="x")
        await services.observe_host(**report(labels={"stowage.workload": "web"}, observed_at=NOW))
        url = f"/api/v1/workloads/{workload.pk}/"
        scaled = (await writer.patch(url, {"replicas": 3})).json()
        assert scaled["conditions"][0]["message"] == "1 of 3 replicas run."
        assert (await writer.get(url)).json() == scaled | {"warnings": None}


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestGenerations:
    async def observe(self, minute: int, *generations: str | None) -> None:
        """Replicas that carry these; None carries none."""
        ones = [
            container(f"c{number}", labels={"stowage.workload": "web"} | carried)
            for number, carried in enumerate(
                {} if one is None else {"stowage.generation": one} for one in generations
            )
        ]
        at = NOW + timedelta(minutes=minute)
        await services.observe_host(**report(*ones, observed_at=at))

    async def test_generation_is_observed_once_every_replica_carries_it(
        self, writer: APIClient
    ) -> None:
        workload = await services.create_workload(name="web", image="x", replicas=2)
        url = f"/api/v1/workloads/{workload.pk}/"
        await self.observe(1, "1", "1")
        seen = await writer.get(url)
        assert (seen.json()["generation"], seen.json()["observed_generation"]) == (1, 1)
        assert await status_of("Progressing") == (False, "Applied")
        changed = (await writer.patch(url, {"image": "x:2"})).json()
        assert (changed["generation"], changed["observed_generation"]) == (2, 1)
        assert await status_of("Progressing") == (True, "NotApplied")
        conditions = {one["type"]: one for one in changed["conditions"]}
        assert conditions["Progressing"]["message"] == "Generation 1 of 2 is applied."
        await self.observe(2, "1", "2")
        assert await status_of("Progressing") == (True, "NotApplied")
        await self.observe(3, "2", "2")
        assert await status_of("Progressing") == (False, "Applied")
        last = await writer.get(url)
        assert (last.json()["observed_generation"], last.json()["version"]) == (2, 2)
        assert last["ETag"] != seen["ETag"]
        event = await Event.objects.filter(kind="workload.conditions_changed").alatest("id")
        assert event.data["observed_generation"] == 2

    @pytest.mark.parametrize("carried", [None, "", "two", "-1", "9" * 30, "1.5"])
    async def test_what_is_no_generation_observes_none(self, carried: str | None) -> None:
        await services.create_workload(name="web", image="x")
        await self.observe(1, carried, "1")
        assert (await Workload.objects.aget()).observed_generation == 0
        assert await status_of("Progressing") == (True, "NotApplied")

    async def test_generation_is_never_above_the_workloads_and_never_falls(self) -> None:
        await services.create_workload(name="web", image="x")
        await self.observe(1, "7")
        assert (await Workload.objects.aget()).observed_generation == 1
        await self.observe(2, None)
        assert (await Workload.objects.aget()).observed_generation == 1


def test_message_names_three_hosts_and_counts_the_others() -> None:
    facts = Facts(0, 1, 1, silent=("a", "b", "c", "d", "e"))
    message = next(one for one in assess(facts, before=[], at=AT) if one["type"] == "Stale")
    assert message["message"] == "Nothing was heard from a, b, c and 2 more."


async def status_of(name: str) -> tuple[bool, str]:
    conditions = (await Workload.objects.aget()).conditions
    one = next(one for one in conditions if one["type"] == name)
    return one["status"], one["reason"]


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestHosts:
    labels = {"stowage.workload": "web"}

    async def test_workload_of_a_silent_host_is_stale_until_it_is_heard_again(self) -> None:
        await services.create_workload(name="web", image="x")
        await services.observe_host(**report(labels=self.labels, observed_at=NOW))
        assert await status_of("Stale") == (False, "HostsHeard")
        assert await refresh_all_conditions(now=NOW + timedelta(seconds=59)) == 0
        assert await refresh_all_conditions(now=NOW + timedelta(minutes=5)) == 1
        assert await status_of("Stale") == (True, "HostsSilent")
        assert await Event.objects.filter(kind="workload.conditions_changed").aexists()
        later = NOW + timedelta(minutes=6)
        await services.observe_host(**report(labels=self.labels, observed_at=later))
        assert await status_of("Stale") == (False, "HostsHeard")

    async def test_limits_above_what_a_host_can_give_are_overcommitted(self) -> None:
        await services.create_workload(name="web", image="x")
        half = 4 * 2**30  # of 8 GiB, 1 of them the system's
        one = container("a", labels=self.labels, memory_limit_bytes=half)
        await services.observe_host(**report(one, observed_at=NOW))
        assert await status_of("OverCommitted") == (False, "LimitsFit")
        other = container("b", memory_limit_bytes=half)
        await services.observe_host(**report(one, other, observed_at=LATER))
        await refresh_all_conditions(now=LATER)
        assert await status_of("OverCommitted") == (True, "LimitsAboveAllocatable")

    async def test_oom_killed_replica_degrades_with_its_reason(self) -> None:
        await services.create_workload(name="web", image="x")
        dead = container("a", labels=self.labels, state="restarting", oom_killed=True)
        await services.observe_host(**report(dead, observed_at=NOW))
        assert await status_of("Degraded") == (True, "OOMKilled")

    async def test_many_workloads_are_assessed_in_batches(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from app.fleet.services import conditions

        monkeypatch.setattr(conditions, "BATCH", 2)
        for number in range(5):
            await services.create_workload(name=f"w{number}", image="x")
        await Workload.objects.all().aupdate(conditions=[])
        assert await refresh_all_conditions(now=NOW) == 5
        assert await refresh_all_conditions(now=NOW) == 0
