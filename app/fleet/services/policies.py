"""Writing the constants that teams and workloads have set for themselves."""

from typing import Any, TypedDict, Unpack

from app import db
from app.db import models
from app.errors import NotFound
from app.fleet.models import PolicyOverride, Workload
from app.fleet.services.conflicts import conflicts
from app.fleet.services.events import Change, difference, record_changes
from app.fleet.services.versions import Versions, check_version


class PolicySpec(TypedDict, total=False):
    """What a writer may say: whose constants, one of the two, and which."""

    team: models.Model | None  # of accounts, which this app does not import
    workload: Workload | None
    constants: dict[str, float]


MEANINGS = {
    "fleet_policy_override_team": ("team", "This team has its constants. Change those."),
    "fleet_policy_override_workload": (
        "workload",
        "This workload has its constants. Change those.",
    ),
}


async def create_policy(**spec: Unpack[PolicySpec]) -> PolicyOverride:
    """Give a team or a workload constants of its own. Raises Conflict when it has some."""
    with conflicts(MEANINGS):
        async with db.atomic():
            policy = await PolicyOverride.objects.acreate(**spec)
            await record_changes(Change("policy.created", policy.pk, _summary(policy)))
    return policy


async def update_policy(
    *, policy_id: int, constants: dict[str, float], versions: Versions = None
) -> PolicyOverride:
    """Replace the constants, all of them. Raises NotFound and Outdated."""
    async with db.atomic():
        policy = await _locked(policy_id, versions)
        if difference({"constants": policy.constants}, {"constants": constants}):
            policy.constants = constants
            policy.version += 1
            await policy.asave(update_fields=["constants", "version"])
            await record_changes(Change("policy.updated", policy.pk, _summary(policy)))
    return policy


async def delete_policy(*, policy_id: int, versions: Versions = None) -> None:
    """Back to the team's constants, or the defaults. Raises NotFound and Outdated."""
    async with db.atomic():
        policy = await _locked(policy_id, versions)
        await db.execute("DELETE FROM fleet_policy_override WHERE id = %s", policy_id)
        await record_changes(Change("policy.deleted", policy_id, _summary(policy)))


async def _locked(policy_id: int, versions: Versions) -> PolicyOverride:
    try:
        policy: PolicyOverride = await PolicyOverride.objects.select_for_update(no_key=True).aget(
            pk=policy_id
        )
    except PolicyOverride.DoesNotExist:
        raise NotFound(f"There is no policy {policy_id}.") from None
    check_version(policy.version, versions)
    return policy


def _summary(policy: PolicyOverride) -> dict[str, Any]:
    return {
        "team": policy.team_id,
        "workload": policy.workload_id,
        "constants": policy.constants,
    }
