"""Changing the labels of many objects in one transaction, with a constant number of statements."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone

from app import db
from app.errors import Conflict, Invalid
from app.fleet.models import Host, Revision, Workload
from app.fleet.services.conditions import refresh_conditions
from app.fleet.services.conflicts import conflicts
from app.fleet.services.events import Change, record_changes
from app.fleet.services.workloads import spec_of, summary_of
from app.fleet.validation import MAX_LABELS

WRITE_HOSTS = """
    UPDATE fleet_host AS h SET labels = r.labels, version = h.version + 1, updated_at = %s
    FROM jsonb_to_recordset(%s::text::jsonb) AS r (id bigint, labels jsonb) WHERE h.id = r.id
"""
WRITE_WORKLOADS = """
    UPDATE fleet_workload AS w SET labels = r.labels, version = w.version + 1,
        generation = w.generation + 1, updated_at = %s
    FROM jsonb_to_recordset(%s::text::jsonb) AS r (id bigint, labels jsonb) WHERE w.id = r.id
"""


class LabelChange(NamedTuple):
    """What becomes of one object's labels: `labels` are all it has then; without, those of `add`
    are set and those named in `remove` taken off. `version`: only if it has that still.
    """

    object_id: int
    version: int | None = None
    labels: dict[str, str] | None = None
    add: dict[str, str] = {}
    remove: Sequence[str] = ()

    def apply(self, before: dict[str, str]) -> dict[str, str]:
        if self.labels is not None:
            return self.labels
        kept = {key: text for key, text in before.items() if key not in self.remove}
        return kept | self.add


class StaleItemsError(Conflict):
    """Some of the objects have been written since. `versions`: their current ones, by the place of
    the change.
    """

    def __init__(self, versions: dict[int, int]) -> None:
        super().__init__("Some of the objects have changed.", code="version_mismatch")
        self.versions = versions


async def label_hosts(*, changes: Sequence[LabelChange]) -> list[Host]:
    """Change the labels of hosts, all or none; the hosts, in the order of `changes`.

    Raises StaleItemsError; Invalid, by place, for a host that is gone or would have too many.
    """
    with conflicts():
        async with db.atomic():
            hosts: list[Host] = await _locked(Host, changes)
            if differing := _apply(hosts, changes):
                await _write(WRITE_HOSTS, differing)
                await record_changes(
                    *(Change("host.updated", one.pk, {"labels": one.labels}) for one in differing)
                )
    return hosts


async def label_workloads(
    *, changes: Sequence[LabelChange], changed_by: AbstractBaseUser | None = None
) -> list[Workload]:
    """Change the labels of workloads, all or none: each that differs gets a new generation and its
    revision. Raises as `label_hosts`.
    """
    with conflicts():
        async with db.atomic():
            workloads: list[Workload] = await _locked(Workload, changes)
            if differing := _apply(workloads, changes):
                for workload in differing:
                    workload.generation += 1
                await _write(WRITE_WORKLOADS, differing)
                await _add_revisions(differing, changed_by)
                await _record(differing)
    return workloads


async def _locked(model: Any, changes: Sequence[LabelChange]) -> list[Any]:
    """The objects, locked, in the order of `changes`."""
    ids = [change.object_id for change in changes]
    rows = model.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")
    found = {row.pk: row async for row in rows}
    noun = model._meta.verbose_name
    missing = {
        str(place): {"id": [f"There is no {noun} {pk}."]}
        for place, pk in enumerate(ids)
        if pk not in found
    }
    if missing:
        raise Invalid("Some of the objects are gone.", fields=missing)
    objects = [found[pk] for pk in ids]
    stale = {
        place: one.version
        for place, (one, change) in enumerate(zip(objects, changes, strict=True))
        if change.version not in (None, one.version)
    }
    if stale:
        raise StaleItemsError(stale)
    return objects


def _apply(objects: list[Any], changes: Sequence[LabelChange]) -> list[Any]:
    """Give each object its labels; those that differ now. Raises Invalid."""
    labels = [change.apply(one.labels) for one, change in zip(objects, changes, strict=True)]
    too_many = {
        str(place): {"labels": [f"It would have {len(one)} labels; at most {MAX_LABELS}."]}
        for place, one in enumerate(labels)
        if len(one) > MAX_LABELS
    }
    if too_many:
        raise Invalid("Too many labels.", fields=too_many)
    at, differing = timezone.now(), []
    for one, after in zip(objects, labels, strict=True):
        if one.labels != after:
            one.labels, one.version, one.updated_at = after, one.version + 1, at
            differing.append(one)
    return differing


async def _write(statement: str, objects: list[Any]) -> None:
    rows = [{"id": one.pk, "labels": one.labels} for one in objects]
    await db.execute(statement, objects[0].updated_at, json.dumps(rows))


async def _add_revisions(workloads: list[Workload], author: AbstractBaseUser | None) -> None:
    await Revision.objects.abulk_create(
        Revision(
            workload=one,
            number=one.generation,
            spec=spec_of(one),
            created_by_id=getattr(author, "pk", None),
        )
        for one in workloads
    )


async def _record(workloads: list[Workload]) -> None:
    by_id = {one.pk: one for one in workloads}
    conditions = await refresh_conditions(workload_ids=by_id, at=workloads[0].updated_at)
    for change in conditions:
        workload = by_id[change.object_id]
        workload.conditions = change.data["conditions"]
        workload.observed_generation = change.data["observed_generation"]
    await record_changes(
        *(
            Change("workload.updated", one.pk, summary_of(one) | {"changed": ["labels"]})
            for one in workloads
        ),
        *conditions,
    )
