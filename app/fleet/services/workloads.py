"""Writing workloads. Each change of the spec raises the generation and leaves a revision."""

from typing import Any, TypedDict, Unpack

from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone

from app import db
from app.db import models
from app.errors import Invalid, NotFound
from app.fleet.conditions import Facts, assess
from app.fleet.models import Container, Revision, Workload
from app.fleet.services.conditions import refresh_conditions
from app.fleet.services.conflicts import conflicts
from app.fleet.services.events import Change, difference, record_changes
from app.fleet.services.quotas import hold_to_quota, share_of
from app.fleet.services.versions import Versions, check_version

SPEC = (
    "image",
    "command",
    "env",
    "replicas",
    "cpu_reservation",
    "cpu_limit",
    "memory_reservation_bytes",
    "memory_limit_bytes",
    "ports",
    "health_check",
    "update_policy",
    "placement",
    "labels",
)
"""The fields of a spec: a revision holds them, and a change of one is a new generation."""


class WorkloadSpec(TypedDict, total=False):
    """What a writer may say of a workload."""

    team: models.Model | None  # of accounts, which this app does not import
    name: str
    image: str
    command: list[str]
    env: dict[str, str]
    replicas: int
    cpu_reservation: float | None
    cpu_limit: float | None
    memory_reservation_bytes: int | None
    memory_limit_bytes: int | None
    ports: list[dict[str, Any]]
    health_check: dict[str, Any] | None
    update_policy: dict[str, Any]
    placement: dict[str, Any]
    labels: dict[str, str]


_RACE = (
    "The reservation would be above the limit: another request changed one of them at this moment."
    " Read the workload again and retry."
)
MEANINGS = {
    "workload_unique": ("name", "This team has a workload of this name. Choose another name."),
    "cpu_reservation_within_limit": ("cpu_reservation", _RACE),
    "memory_reservation_within_limit": ("memory_reservation_bytes", _RACE),
}


async def create_workload(
    *, created_by: AbstractBaseUser | None = None, **spec: Unpack[WorkloadSpec]
) -> Workload:
    """Add a workload and its revision 1.

    Raises Conflict when the team has one of this name, Denied when its quota is too small.
    """
    with conflicts(MEANINGS):
        async with db.atomic():
            workload = Workload(**spec)
            workload.conditions = assess(_facts(workload), before=[], at=workload.created_at)
            await workload.asave(force_insert=True)
            await hold_to_quota(workload, before=None)
            await _add_revision(workload, created_by)
            await record_changes(Change("workload.created", workload.pk, summary_of(workload)))
    return workload


async def update_workload(
    *,
    workload_id: int,
    changed_by: AbstractBaseUser | None = None,
    versions: Versions = None,
    **changes: Unpack[WorkloadSpec],
) -> Workload:
    """Change a workload; nothing is written when nothing differs.

    Raises NotFound, Outdated, Conflict when the name is taken, and Denied when the
    team's quota is too small.
    """
    with conflicts(MEANINGS):
        async with db.atomic():
            workload = await locked_workload(workload_id, versions)
            differing = _differing(workload, dict(changes))
            if differing:
                await _write(workload, differing, changed_by)
    return workload


async def roll_back_workload(
    *,
    workload_id: int,
    revision: int,
    changed_by: AbstractBaseUser | None = None,
    versions: Versions = None,
) -> Workload:
    """Give a workload the spec of one of its revisions, as a new generation with its own revision.

    Raises NotFound, Outdated, and Invalid when there is no such revision.
    """
    with conflicts(MEANINGS):
        async with db.atomic():
            workload = await locked_workload(workload_id, versions)
            target = await Revision.objects.filter(workload=workload, number=revision).afirst()
            if target is None:
                message = (
                    f"This workload has no revision {revision}. Write a number from 1 to"
                    f" {workload.generation}: see its revisions/."
                )
                raise Invalid(message, fields={"revision": [message]})
            differing = _differing(workload, target.spec)
            if differing:
                await _write(workload, differing, changed_by)
    return workload


async def delete_workload(*, workload_id: int, versions: Versions = None) -> None:
    """Delete a workload with its revisions. Its containers stay, tied to none.

    Raises NotFound and Outdated.
    """
    with conflicts():
        async with db.atomic():
            # Containers first, as an observation does: the two must not wait for each other.
            await db.fetch(
                "SELECT id FROM fleet_container WHERE workload_id = %s ORDER BY id"
                " FOR NO KEY UPDATE",
                workload_id,
            )
            workload = await locked_workload(workload_id, versions)
            await Container.objects.of_workload(workload_id).aupdate(workload=None)
            await db.execute("DELETE FROM fleet_revision WHERE workload_id = %s", workload_id)
            await db.execute(
                "DELETE FROM fleet_policy_override WHERE workload_id = %s", workload_id
            )
            await db.execute("DELETE FROM fleet_workload WHERE id = %s", workload_id)
            await record_changes(Change("workload.deleted", workload_id, {"name": workload.name}))


async def locked_workload(workload_id: int, versions: Versions = None) -> Workload:
    """The workload, locked until the transaction ends. Raises NotFound and Outdated."""
    try:
        workload: Workload = await Workload.objects.select_for_update(no_key=True).aget(
            pk=workload_id
        )
    except Workload.DoesNotExist:
        raise NotFound(f"There is no workload {workload_id}.") from None
    check_version(workload.version, versions)
    return workload


async def _write(
    workload: Workload, values: dict[str, Any], changed_by: AbstractBaseUser | None
) -> None:
    is_new_generation = not values.keys().isdisjoint(SPEC)
    before = share_of(workload)
    for name, value in values.items():
        setattr(workload, name, value)
    workload.version += 1
    workload.generation += is_new_generation
    workload.updated_at = timezone.now()
    await workload.asave(update_fields=[*values, "version", "generation", "updated_at"])
    await hold_to_quota(workload, before=before)
    if is_new_generation:
        await _add_revision(workload, changed_by)
    conditions = await refresh_conditions(workload_ids=[workload.pk], at=workload.updated_at)
    for change in conditions:
        workload.conditions = change.data["conditions"]
        workload.observed_generation = change.data["observed_generation"]
    await record_changes(
        Change("workload.updated", workload.pk, summary_of(workload) | {"changed": sorted(values)}),
        *conditions,
    )


async def _add_revision(workload: Workload, author: AbstractBaseUser | None) -> None:
    await Revision.objects.acreate(
        workload=workload,
        number=workload.generation,
        spec=spec_of(workload),
        created_by_id=getattr(author, "pk", None),
    )


def _differing(workload: Workload, changes: dict[str, Any]) -> dict[str, Any]:
    """The changes that say something new. Teams are compared by id: the stored one isn't loaded."""
    before = {name: getattr(workload, name) for name in changes if name != "team"}
    after = {name: value for name, value in changes.items() if name != "team"}
    differing = difference(before, after)
    if "team" in changes:
        team = changes["team"]
        if workload.team_id != (team and team.pk):
            differing["team"] = team
    return differing


def _facts(workload: Workload) -> Facts:
    return Facts(workload.replicas, workload.generation, workload.observed_generation)


def spec_of(workload: Workload) -> dict[str, Any]:
    """What a revision holds of the workload as it is."""
    return {name: getattr(workload, name) for name in SPEC}


def summary_of(workload: Workload) -> dict[str, Any]:
    """What an event tells of the workload."""
    return {
        "name": workload.name,
        "team": workload.team_id,
        "generation": workload.generation,
        "image": workload.image,
        "replicas": workload.replicas,
    }
