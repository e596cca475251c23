"""Every reason of right-sizing, made to appear in the answer of the API."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from app.fleet import services
from app.fleet.models import UsageSummary
from app.fleet.rightsizing import MESSAGES, Reason
from app.rest.test import APIClient
from tests.fleet.samples import container, report

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

ADDRESS = "/api/v1/reports/rightsizing/"
MIB = 2**20
GIB = 2**30
FITTING = {
    "cpu_reservation": 0.2,
    "memory_reservation_bytes": 400 * MIB,
    "memory_limit_bytes": 576 * MIB,
}
MUCH = {"memory_reservation_bytes": 3 * GIB, "memory_limit_bytes": 4 * GIB}
LONG = {"samples": 20_000, "hours": 72}

Make = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def told(reader: APIClient) -> Make:
    """The report on a container that uses 0.2 cores and 500 MiB at its peak; `killed` at a limit
    before it had what it is said to have now.
    """

    async def make(
        *, samples: int = 0, hours: float = 0, killed: int | None = None, **spec: Any
    ) -> dict[str, Any]:
        now = timezone.now()
        if killed is not None:
            dead = container("a", memory_limit_bytes=killed, oom_killed=True, state="restarting")
            await services.observe_host(**report(dead, observed_at=now - timedelta(seconds=9)))
        observed = await services.observe_host(**report(container("a", **spec), observed_at=now))
        if samples:
            await UsageSummary.objects.acreate(
                container_id=observed.containers["a"],
                reference=now - timedelta(hours=1),
                samples=samples,
                first_at=now - timedelta(hours=hours),
                last_at=now,
                cpu_weights={"48": 1000.0},
                memory_weights={"20": 1000.0},
                peaks={str(int(now.timestamp() // 86400)): [0.2, 500 * MIB]},
            )
        answer = await reader.get(f"{ADDRESS}?by=container")
        assert answer.status_code == 200, answer.text
        (found,) = answer.json()["results"]
        return dict(found)

    return make


CASES = [
    ("cpu", Reason.NO_SAMPLES, "insufficient", {}),
    ("memory", Reason.NO_SAMPLES, "insufficient", {}),
    ("cpu", Reason.TOO_FEW_SAMPLES, "insufficient", {"samples": 99, "hours": 72}),
    ("memory", Reason.TOO_FEW_SAMPLES, "insufficient", {"samples": 99, "hours": 72}),
    ("cpu", Reason.TOO_SHORT, "insufficient", {"samples": 20_000, "hours": 23}),
    ("memory", Reason.TOO_SHORT, "insufficient", {"samples": 20_000, "hours": 23}),
    ("cpu", Reason.NEEDS_MORE, "raise", LONG | {"cpu_reservation": 0.05}),
    ("memory", Reason.NEEDS_MORE, "raise", LONG | FITTING | {"memory_limit_bytes": 450 * MIB}),
    ("memory", Reason.OOM_KILLED, "raise", {"killed": 600 * MIB, "memory_limit_bytes": 600 * MIB}),
    ("cpu", Reason.UNRESERVED, "set", LONG),
    ("memory", Reason.UNRESERVED, "set", LONG | {"memory_limit_bytes": 576 * MIB}),
    ("memory", Reason.UNLIMITED, "set", LONG | {"memory_reservation_bytes": 400 * MIB}),
    ("cpu", Reason.NEEDS_LESS, "lower", LONG | {"cpu_reservation": 2.0}),
    ("memory", Reason.NEEDS_LESS, "lower", LONG | MUCH),
    ("cpu", Reason.WITHIN_THRESHOLD, "ok", LONG | FITTING),
    ("memory", Reason.WITHIN_THRESHOLD, "ok", LONG | FITTING),
    ("memory", Reason.OOM_IN_WINDOW, "ok", LONG | MUCH | {"killed": 100 * MIB}),
    ("cpu", Reason.LOW_CONFIDENCE, "ok", {"samples": 1000, "hours": 26, "cpu_reservation": 2.0}),
    ("memory", Reason.LOW_CONFIDENCE, "ok", {"samples": 1000, "hours": 26, **MUCH}),
]


@pytest.mark.parametrize(("resource", "reason", "state", "case"), CASES)
async def test_reason_appears(
    resource: str, reason: Reason, state: str, case: dict[str, Any], told: Make
) -> None:
    found = (await told(**case))[resource]
    assert (found["reason"], found["state"]) == (reason, state)
    assert found["message"] == MESSAGES[reason]
    assert (found["recommended"] is None) is (state == "insufficient")


async def test_every_reason_has_its_case() -> None:
    assert {reason for _, reason, _, _ in CASES} == set(Reason)
