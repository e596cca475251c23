"""What a team may reserve: writing quotas, and holding workloads to them."""

from typing import Any, TypedDict, Unpack

from app import db
from app.db import models
from app.errors import Denied, NotFound
from app.fleet.models import Quota, Workload
from app.fleet.services.conflicts import conflicts
from app.fleet.services.events import Change, difference, record_changes
from app.fleet.services.versions import Versions, check_version


class QuotaSpec(TypedDict, total=False):
    """What a writer may say of a quota."""

    team: models.Model  # of accounts, which this app does not import
    cpus: float | None
    memory_bytes: int | None


MEANINGS = {"fleet_quota_team": ("team", "This team has a quota. Change that one.")}
RESERVED = """
    SELECT coalesce(sum(replicas * cpu_reservation), 0) AS cpus,
        coalesce(sum(replicas * memory_reservation_bytes), 0)::bigint AS memory_bytes
    FROM fleet_workload WHERE team_id = %s
"""

Share = tuple[int | None, float, int]
"""A workload's team, and what all its replicas reserve: cores and bytes."""


async def create_quota(**spec: Unpack[QuotaSpec]) -> Quota:
    """Give a team a quota. Raises Conflict when it has one."""
    with conflicts(MEANINGS):
        async with db.atomic():
            quota = await Quota.objects.acreate(**spec)
            await record_changes(Change("quota.created", quota.pk, _summary(quota)))
    return quota


async def update_quota(
    *, quota_id: int, versions: Versions = None, **changes: Unpack[QuotaSpec]
) -> Quota:
    """Change a quota. What is reserved already stays. Raises NotFound and Outdated."""
    with conflicts(MEANINGS):
        async with db.atomic():
            quota = await _locked(quota_id, versions)
            changes.pop("team", None)
            before = {name: getattr(quota, name) for name in changes}
            if differing := difference(before, dict(changes)):
                for name, value in differing.items():
                    setattr(quota, name, value)
                quota.version += 1
                await quota.asave(update_fields=[*differing, "version"])
                await record_changes(Change("quota.updated", quota.pk, _summary(quota)))
    return quota


async def delete_quota(*, quota_id: int, versions: Versions = None) -> None:
    """The team may reserve as much as it likes. Raises NotFound and Outdated."""
    async with db.atomic():
        quota = await _locked(quota_id, versions)
        await db.execute("DELETE FROM fleet_quota WHERE id = %s", quota_id)
        await record_changes(Change("quota.deleted", quota_id, _summary(quota)))


def share_of(workload: Workload) -> Share:
    return (
        workload.team_id,
        workload.replicas * (workload.cpu_reservation or 0.0),
        workload.replicas * (workload.memory_reservation_bytes or 0),
    )


async def hold_to_quota(workload: Workload, *, before: Share | None) -> None:
    """Raises Denied when the workload, as it has just been written, takes its team over its quota.

    `before` is what it reserved until now: one that asks for no more than that is let through.
    Teams' writers come one after the other here: the quota is locked until they commit.
    """
    team_id, cpus, memory = share_of(workload)
    if team_id is None:
        return
    had = before if before and before[0] == team_id else (team_id, 0.0, 0)
    if cpus <= had[1] and memory <= had[2]:
        return
    quota = await Quota.objects.select_for_update(no_key=True).filter(team_id=team_id).afirst()
    if quota is None:
        return
    (reserved,) = await db.fetch(RESERVED, team_id)
    problems = [
        f"{noun}: {_figure(total - new + old)} of {_figure(allowed)} are reserved,"
        f" and this asks for {_figure(new - old)} more"
        for noun, total, new, old, allowed in (
            ("cpu cores", reserved["cpus"], cpus, had[1], quota.cpus),
            ("memory bytes", reserved["memory_bytes"], memory, had[2], quota.memory_bytes),
        )
        if allowed is not None and new > old and total > allowed
    ]
    if problems:
        raise Denied(
            f"The quota of the team does not allow it. {'; '.join(problems)}. Reserve less, or have"
            " the quota raised.",
            code="quota_exceeded",
        )


def _figure(value: float) -> str:
    """Bytes to the last one, cores to a thousandth."""
    return str(value) if isinstance(value, int) else f"{round(value, 3):g}"


async def _locked(quota_id: int, versions: Versions) -> Quota:
    try:
        quota: Quota = await Quota.objects.select_for_update(no_key=True).aget(pk=quota_id)
    except Quota.DoesNotExist:
        raise NotFound(f"There is no quota {quota_id}.") from None
    check_version(quota.version, versions)
    return quota


def _summary(quota: Quota) -> dict[str, Any]:
    return {"team": quota.team_id, "cpus": quota.cpus, "memory_bytes": quota.memory_bytes}
