"""A full relist of a host against what is stored: what is new, changed, gone. Pure; no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

Row = dict[str, Any]

SEEN_RESOLUTION = timedelta(seconds=30)
"""How far `last_seen_at` of an unchanged container may lag behind: a row written per container and
report would be most of the database's work."""

COLUMNS = (
    "host_id",
    "workload_id",
    "image_id",
    "name",
    "labels",
    "state",
    "cpu_reservation",
    "cpu_limit",
    "memory_reservation_bytes",
    "memory_limit_bytes",
    "started_at",
    "finished_at",
    "exit_code",
    "oom_killed",
)
"""What a report says of a container, beside its engine's id."""

WORKLOAD_LABELS = (
    "stowage.workload",
    "com.docker.swarm.service.name",
    "com.docker.compose.service",
)
"""The labels that name a container's workload, the first that is there counts."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A stored container that the report describes otherwise: its id, the columns, both states."""

    id: int
    row: Row
    columns: tuple[str, ...]
    state_before: str


@dataclass(frozen=True, slots=True)
class Relist:
    """What a report means for the stored containers of its host."""

    new: list[Row]
    changed: list[Changed]
    gone: list[Row]
    seen: list[int]


def compare(
    stored: Mapping[str, Row], reported: Iterable[Row], *, host_id: int, observed_at: datetime
) -> Relist:
    """Compare `reported` (rows of COLUMNS and engine_id) to `stored`, by engine id.

    `stored` holds what the database has of this host, and of other hosts where an engine id moved.
    """
    new: list[Row] = []
    changed: list[Changed] = []
    seen: list[int] = []
    missing = dict(stored)
    for row in reported:
        before = missing.pop(row["engine_id"], None)
        if before is None:
            new.append(row)
        elif columns := tuple(name for name in COLUMNS if before[name] != row[name]):
            changed.append(Changed(before["id"], row, columns, before["state"]))
        elif before["last_seen_at"] <= observed_at - SEEN_RESOLUTION:
            seen.append(before["id"])
    gone = [
        row for row in missing.values() if row["host_id"] == host_id and row["state"] != "removed"
    ]
    return Relist(new, changed, gone, seen)


def oom_killed(plan: Relist) -> list[Row]:
    """The reported containers that were OOM-killed since the last report."""
    killed = [row for row in plan.new if row["oom_killed"]]
    for change in plan.changed:
        is_news = not {"oom_killed", "finished_at"}.isdisjoint(change.columns)
        if change.row["oom_killed"] and is_news:
            killed.append(change.row)
    return killed


def workload_name(labels: Mapping[str, str]) -> str | None:
    """The name of the workload that a container belongs to, as its labels say."""
    return next((labels[key] for key in WORKLOAD_LABELS if labels.get(key)), None)


def image_keys(images: Iterable[Row], containers: Iterable[Row]) -> dict[tuple[str, str], int]:
    """(reference, digest) -> size of every image that the host holds; size 0 where none is told.

    A running container's image is held too, listed or not.
    """
    keys = {
        (row["reference"], row.get("digest") or ""): row.get("size_bytes") or 0 for row in images
    }
    by_reference = {reference: (reference, digest) for reference, digest in keys}
    for row in containers:
        if key := image_key(row, by_reference):
            keys.setdefault(key, 0)
    return keys


def image_key(
    container: Row, by_reference: Mapping[str, tuple[str, str]]
) -> tuple[str, str] | None:
    """The image of a container. Without a digest it is the listed one of that reference."""
    reference, digest = container.get("image"), container.get("image_digest")
    if not reference:
        return None
    if digest:
        return reference, digest
    return by_reference.get(reference, (reference, ""))
