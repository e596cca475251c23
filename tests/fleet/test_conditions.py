"""Conditions of workloads: what they say, since when, and that they follow what is observed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.fleet import services
from app.fleet.conditions import Facts, assess
from app.fleet.models import Event, Workload
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
        (Facts(2, 2, 1, running=2, failing=1), {"Ready", "Progressing", "Degraded"}, "Replicas"),
    ],
)
def test_facts_lead_to_conditions(facts: Facts, statuses: set[str], reason: str) -> None:
    conditions = assess(facts, before=[], at=AT)
    assert {one["type"] for one in conditions if one["status"]} == statuses
    assert conditions[0]["reason"].startswith(reason)
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
        assert (await writer.get(url)).json() == scaled
