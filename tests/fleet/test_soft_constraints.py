"""Warnings about what is allowed and probably not meant, in the answer to a write."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from app.accounts.models import Team
from app.fleet import services
from app.fleet.models import UsageSummary
from app.rest.test import APIClient
from tests.fleet.samples import container, report

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]
WORKLOADS = "/api/v1/workloads/"
MIB = 2**20
FITTING = {
    "cpu_reservation": 0.2,
    "memory_reservation_bytes": 400 * MIB,
    "memory_limit_bytes": 600 * MIB,
}


def codes(response: Any) -> list[tuple[str, str]]:
    return [(one["code"], one["field"]) for one in response.json()["warnings"]]


@pytest.fixture
def used() -> Any:
    """A workload that was seen to use 0.2 cores and, at its peak, 500 MiB."""

    async def make(**spec: Any) -> str:
        workload = await services.create_workload(name="w", image="x", **spec)
        one = container("a", labels={"stowage.workload": "w"})
        observed = await services.observe_host(**report(one, observed_at=timezone.now()))
        now = timezone.now()
        await UsageSummary.objects.acreate(
            container_id=observed.containers["a"],
            reference=now - timedelta(hours=1),
            samples=20_000,
            first_at=now - timedelta(days=3),
            last_at=now,
            cpu_weights={"48": 1000.0},
            memory_weights={"20": 1000.0},
            peaks={str(int(now.timestamp() // 86400)): [0.2, 500 * MIB]},
        )
        return f"{WORKLOADS}{workload.pk}/"

    return make


async def test_what_is_not_declared_is_warned_of(writer: APIClient) -> None:
    created = await writer.post(WORKLOADS, {"name": "bare", "image": "x"})
    assert created.status_code == 201
    assert codes(created) == [
        ("no_memory_limit", "memory_limit_bytes"),
        ("no_reservation", "cpu_reservation"),
        ("no_reservation", "memory_reservation_bytes"),
    ]
    whole = await writer.post(WORKLOADS, {"name": "whole", "image": "x", **FITTING})
    assert codes(whole) == []


async def test_spec_that_fits_its_use_is_not_warned_of(writer: APIClient, used: Any) -> None:
    url = await used()
    assert codes(await writer.patch(url, FITTING)) == []
    assert (await writer.get(url)).json()["warnings"] is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"memory_limit_bytes": 450 * MIB}, ("limit_below_peak", "memory_limit_bytes")),
        ({"cpu_reservation": 2.0}, ("reservation_above_need", "cpu_reservation")),
        ({"cpu_reservation": 0.05}, ("reservation_below_need", "cpu_reservation")),
        (
            {"memory_reservation_bytes": 2**30, "memory_limit_bytes": 2**30},
            ("reservation_above_need", "memory_reservation_bytes"),
        ),
        (
            {"memory_reservation_bytes": 100 * MIB},
            ("reservation_below_need", "memory_reservation_bytes"),
        ),
    ],
)
async def test_spec_that_does_not_fit_is_told_so(
    change: dict[str, Any], expected: tuple[str, str], writer: APIClient, used: Any
) -> None:
    url = await used(**FITTING)
    dry = await writer.patch(f"{url}?dry_run=all", change)
    assert codes(dry) == [expected]
    assert all(one["message"] for one in dry.json()["warnings"])
    assert codes(await writer.patch(url, change)) == [expected]


async def test_rolling_back_warns_too_and_a_policy_decides(writer: APIClient, used: Any) -> None:
    url = await used(**FITTING | {"cpu_reservation": 2.0})
    await writer.patch(url, FITTING)
    rolled_back = await writer.post(f"{url}rollback/", {"revision": 1})
    assert codes(rolled_back) == [("reservation_above_need", "cpu_reservation")]
    team = await Team.objects.acreate(name="Core", slug="core")
    await services.create_policy(team=team, constants={"excess_warned": 100})
    assert codes(await writer.patch(url, {"team": team.pk})) == []
