"""What an agent reports of its host: a full relist, applied with a fixed number of statements.

A report is idempotent, and may come late: one that is older than the host's last changes nothing.
Reports of one host are applied one after the other (its row is locked).
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import F, Q

from app import db
from app.errors import Denied, Invalid
from app.fleet import relist
from app.fleet.bounds import BOUNDS
from app.fleet.models import Container, Host, State, Workload
from app.fleet.policy import DEFAULT
from app.fleet.relist import Changed, Relist, Row
from app.fleet.services.conditions import refresh_conditions
from app.fleet.services.conflicts import conflicts
from app.fleet.services.events import Change, difference, image_change, record_changes

# The columns are spelled out rather than put together: each statement can be read and run.
INSERT = """
    INSERT INTO fleet_container (
        engine_id, host_id, workload_id, image_id, name, labels, state,
        cpu_reservation, cpu_limit, memory_reservation_bytes, memory_limit_bytes,
        started_at, finished_at, exit_code, oom_killed, last_seen_at
    )
    SELECT r.*, %s::timestamptz FROM jsonb_to_recordset(%s::text::jsonb) AS r (
        engine_id text, host_id bigint, workload_id bigint, image_id bigint, name text,
        labels jsonb, state text, cpu_reservation float8, cpu_limit float8,
        memory_reservation_bytes bigint, memory_limit_bytes bigint,
        started_at timestamptz, finished_at timestamptz, exit_code int, oom_killed bool
    )
    RETURNING id, engine_id
"""
UPDATE = """
    UPDATE fleet_container AS c SET
        host_id = r.host_id, workload_id = r.workload_id, image_id = r.image_id, name = r.name,
        labels = r.labels, state = r.state,
        cpu_reservation = r.cpu_reservation, cpu_limit = r.cpu_limit,
        memory_reservation_bytes = r.memory_reservation_bytes,
        memory_limit_bytes = r.memory_limit_bytes,
        started_at = r.started_at, finished_at = r.finished_at, exit_code = r.exit_code,
        oom_killed = r.oom_killed, last_seen_at = %s::timestamptz, version = c.version + 1
    FROM jsonb_to_recordset(%s::text::jsonb) AS r (
        engine_id text, host_id bigint, workload_id bigint, image_id bigint, name text,
        labels jsonb, state text, cpu_reservation float8, cpu_limit float8,
        memory_reservation_bytes bigint, memory_limit_bytes bigint,
        started_at timestamptz, finished_at timestamptz, exit_code int, oom_killed bool
    )
    WHERE c.engine_id = r.engine_id
"""
REMOVE = """
    UPDATE fleet_container
    SET state = 'removed', finished_at = COALESCE(finished_at, %s::timestamptz),
        version = version + 1
    WHERE id = ANY(%s::bigint[])
"""
SEEN = "UPDATE fleet_container SET last_seen_at = %s::timestamptz WHERE id = ANY(%s::bigint[])"
HOLD_IMAGES = """
    WITH held AS (
        INSERT INTO fleet_image AS i (reference, digest, size_bytes)
        SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS r (reference, digest, size)
        ORDER BY reference, digest
        ON CONFLICT (reference, digest) DO UPDATE
            SET size_bytes = CASE EXCLUDED.size_bytes WHEN 0 THEN i.size_bytes
                ELSE EXCLUDED.size_bytes END
        RETURNING id, reference, digest, xmax = 0 AS is_new
    ), holding AS (
        INSERT INTO fleet_image_hosts (image_id, host_id) SELECT id, %s::bigint FROM held
        ON CONFLICT DO NOTHING
    )
    SELECT id, reference, digest, is_new FROM held
"""
# No sample shows a kill at the limit; without a limit, the last samples are all there is.
KILLED = """
    INSERT INTO fleet_oom_kill (container_id, at, memory_bytes)
    SELECT c.id, k.at, greatest(c.memory_limit_bytes, (
        SELECT max(u.memory_bytes) FROM fleet_usage u
        WHERE u.container_id = c.id AND u.at > k.at - interval '1 hour' AND u.at <= k.at
    ))
    FROM unnest(%s::text[], %s::timestamptz[]) AS k (engine_id, at)
        JOIN fleet_container c USING (engine_id)
    ON CONFLICT (container_id, at) DO NOTHING
    RETURNING container_id, at, memory_bytes
"""


class Observed(NamedTuple):
    """The answer to a report: the host's id, and the id of each container by its engine's id."""

    host_id: int
    containers: dict[str, int]


async def observe_host(
    *,
    host: dict[str, Any],
    observed_at: datetime,
    images: Sequence[Row] = (),
    containers: Sequence[Row] = (),
    clock_skew_seconds: float | None = None,
    only_host: str = "",
) -> Observed:
    """Store a host's full relist. Containers of the host that the list lacks become 'removed'.

    The dictionaries are as the agent sends them, validated. `clock_skew_seconds` is how far the
    host's clock is ahead, where that is known; `only_host` the one host that may be reported.
    Raises Denied for another, Invalid for a host with less than its system reserves, and Conflict
    when another host reports the same containers at the same moment.
    """
    if only_host and host["name"] != only_host:
        raise Denied(
            f"This token is bound to the host {only_host!r}, and reports {host['name']!r}. Give"
            " that agent a token of its own, or correct its AGENT_HOST_NAME.",
            code="other_host",
        )
    with conflicts():
        async with db.atomic():
            stored_host, host_changes, is_late = await _observe_host(
                host, observed_at, clock_skew_seconds
            )
            stored = await _stored_containers(stored_host.pk, containers)
            if is_late:
                return Observed(stored_host.pk, {key: row["id"] for key, row in stored.items()})
            image_ids, image_changes = await _hold_images(
                stored_host.pk, relist.image_keys(images, containers)
            )
            reported = await _resolve(stored_host.pk, image_ids, containers)
            plan = relist.compare(stored, reported, host_id=stored_host.pk, observed_at=observed_at)
            created = await _apply(plan, observed_at)
            kills = await _record_kills(relist.oom_killed(plan), observed_at)
            touched = _touched(stored, plan)
            if host_changes or _was_silent(stored_host, observed_at):
                touched |= {row["workload_id"] for row in reported} - {None}
            workload_changes = await refresh_conditions(workload_ids=touched, at=observed_at)
            await record_changes(
                *host_changes,
                *image_changes,
                *_changes(plan, created),
                *kills,
                *workload_changes,
            )
    ids = {key: row["id"] for key, row in stored.items()} | created
    return Observed(stored_host.pk, {row["engine_id"]: ids[row["engine_id"]] for row in reported})


async def _observe_host(
    values: dict[str, Any], observed_at: datetime, clock_skew_seconds: float | None
) -> tuple[Host, list[Change], bool]:
    """The host's row, locked and brought up to date; the events; whether the report is late."""
    locked = Host.objects.select_for_update(no_key=True).filter(name=values["name"])
    host = await locked.afirst()
    if host is None:
        defaults = values | {
            "last_seen_at": observed_at,
            "clock_skew_seconds": clock_skew_seconds,
        }
        host, is_new = await Host.objects.aget_or_create(name=values["name"], defaults=defaults)
        if is_new:
            return host, [Change("host.created", host.pk, dict(values))], False
        host = await locked.aget()  # another report of it was quicker: after that one
    if host.last_seen_at and observed_at < host.last_seen_at:
        return host, [], True
    _check_reserved(host, values)
    differing = difference({name: getattr(host, name) for name in values}, values)
    await Host.objects.filter(pk=host.pk).aupdate(
        **differing,
        last_seen_at=observed_at,
        clock_skew_seconds=clock_skew_seconds,
        version=host.version + bool(differing),
        updated_at=observed_at if differing else host.updated_at,
    )
    changes = [Change("host.updated", host.pk, differing)] if differing else []
    if is_skewed(clock_skew_seconds) != is_skewed(host.clock_skew_seconds):
        skew = {"clock_skew_seconds": clock_skew_seconds}
        changes.append(Change("host.clock_changed", host.pk, {"name": host.name, **skew}))
    return host, changes, False


def _check_reserved(host: Host, values: dict[str, Any]) -> None:
    """A report may leave out what the system reserves, and the machine have become smaller."""
    for reserved, capacity in (
        ("reserved_cpus", "cpus"),
        ("reserved_memory_bytes", "memory_bytes"),
    ):
        kept, whole = values.get(reserved, getattr(host, reserved)), values[capacity]
        if kept >= whole:
            message = (
                f"The host {host.name} has {kept} reserved for its system, and reports {whole} in"
                f" all. Report a smaller {reserved} (the agent's AGENT_RESERVED_CPUS and"
                " AGENT_RESERVED_MEMORY_BYTES), or lower it at hosts/."
            )
            raise Invalid(message, fields={"host": [message]})


def is_skewed(seconds: float | None) -> bool:
    """Whether a host's clock is wrong by more than is let pass."""
    return abs(seconds or 0.0) > BOUNDS.clock_skew_seconds


async def _stored_containers(host_id: int, containers: Sequence[Row]) -> dict[str, Row]:
    """By engine id: what is stored of this host and not removed, and of what is reported."""
    stored = (
        Container.objects.select_for_update(no_key=True)
        .filter(
            (Q(host_id=host_id) & ~Q(state=State.REMOVED))
            | Q(engine_id__in=[row["engine_id"] for row in containers])
        )
        .order_by("id")
        .values("id", "engine_id", "last_seen_at", *relist.COLUMNS)
    )
    return {row["engine_id"]: row async for row in stored}


async def _resolve(
    host_id: int, image_ids: dict[tuple[str, str], int], containers: Sequence[Row]
) -> list[Row]:
    """The reported containers as rows of the table: images and workloads by id."""
    by_reference = {reference: (reference, digest) for reference, digest in image_ids}
    workload_ids = await _workload_ids(containers)
    rows = []
    for container in containers:
        row = {name: container.get(name) for name in relist.COLUMNS}
        key = relist.image_key(container, by_reference)
        row |= {
            "engine_id": container["engine_id"],
            "host_id": host_id,
            "image_id": image_ids[key] if key else None,
            "workload_id": workload_ids.get(relist.workload_name(row["labels"] or {}) or ""),
            "labels": row["labels"] or {},
            "oom_killed": bool(row["oom_killed"]),
        }
        rows.append(row)
    return rows


async def _hold_images(
    host_id: int, sizes: dict[tuple[str, str], int]
) -> tuple[dict[tuple[str, str], int], list[Change]]:
    """Make the host hold exactly these images; their ids, and the events."""
    held = {
        (row["reference"], row["digest"]): row
        for row in await db.fetch(
            """
            SELECT i.id, i.reference, i.digest, i.size_bytes FROM fleet_image i
            JOIN fleet_image_hosts h ON h.image_id = i.id WHERE h.host_id = %s
            """,
            host_id,
        )
    }
    ids = {key: row["id"] for key, row in held.items() if key in sizes}
    changes: list[Change] = []
    missing = [
        key
        for key, size in sizes.items()
        if key not in ids or size not in (0, held[key]["size_bytes"])
    ]
    if missing:
        rows = await db.fetch(
            HOLD_IMAGES,
            [reference for reference, _ in missing],
            [digest for _, digest in missing],
            [sizes[key] for key in missing],
            host_id,
        )
        ids |= {(row["reference"], row["digest"]): row["id"] for row in rows}
        changes += [image_change(row, is_new=row["is_new"]) for row in rows]
    if gone := [row["id"] for key, row in held.items() if key not in sizes]:
        changes += [image_change(row) for key, row in held.items() if key not in sizes]
        await db.execute(
            "DELETE FROM fleet_image_hosts WHERE host_id = %s AND image_id = ANY(%s::bigint[])",
            host_id,
            gone,
        )
    return ids, changes


async def _workload_ids(containers: Sequence[Row]) -> dict[str, int]:
    """Workloads by the names on the containers' labels; of two teams', the shared or older one."""
    names = {relist.workload_name(row.get("labels") or {}) for row in containers} - {None}
    if not names:
        return {}
    found: dict[str, int] = {}
    rows = Workload.objects.filter(name__in=names).order_by(
        F("team_id").asc(nulls_first=True), "id"
    )
    async for name, pk in rows.values_list("name", "id"):
        found.setdefault(name, pk)
    return found


async def _apply(plan: Relist, observed_at: datetime) -> dict[str, int]:
    """Write the plan, a statement for each kind of change; the ids of the new containers."""
    created: dict[str, int] = {}
    if plan.new:
        rows = await db.fetch(INSERT, observed_at, _records(plan.new))
        created = {row["engine_id"]: row["id"] for row in rows}
    if plan.changed:
        await db.execute(UPDATE, observed_at, _records([change.row for change in plan.changed]))
    if plan.gone:
        await db.execute(REMOVE, observed_at, [row["id"] for row in plan.gone])
    if plan.seen:
        await db.execute(SEEN, observed_at, plan.seen)
    return created


async def _record_kills(killed: Sequence[Row], observed_at: datetime) -> list[Change]:
    """Remember that these containers were OOM-killed; the events."""
    if not killed:
        return []
    moments = [row["finished_at"] or observed_at for row in killed]
    rows = await db.fetch(KILLED, [row["engine_id"] for row in killed], moments)
    return [
        Change(
            "container.oom_killed",
            row["container_id"],
            {"at": row["at"].isoformat(), "memory_bytes": row["memory_bytes"]},
        )
        for row in rows
    ]


def _was_silent(host: Host, observed_at: datetime) -> bool:
    """Whether the host, as it was before this report, had not been heard from."""
    silence = timedelta(seconds=DEFAULT.stale_after_seconds)
    return host.last_seen_at is None or observed_at - host.last_seen_at > silence


def _touched(stored: dict[str, Row], plan: Relist) -> set[int]:
    """The workloads of containers that came, went or changed; of those that moved, both."""
    rows = [*plan.new, *plan.gone, *(change.row for change in plan.changed)]
    rows += [stored[change.row["engine_id"]] for change in plan.changed]
    return {row["workload_id"] for row in rows if row["workload_id"] is not None}


def _records(rows: Sequence[Row]) -> str:
    return json.dumps(rows, default=datetime.isoformat)


def _changes(plan: Relist, created: dict[str, int]) -> list[Change]:
    def data(row: Row, **more: Any) -> dict[str, Any]:
        return {"name": row["name"], "host": row["host_id"], "workload": row["workload_id"], **more}

    new = [
        Change("container.created", created[row["engine_id"]], data(row, state=row["state"]))
        for row in plan.new
    ]
    return [
        *new,
        *(_change(change, data(change.row)) for change in plan.changed),
        *(
            Change(
                "container.state_changed",
                row["id"],
                data(row, state_before=row["state"], state="removed"),
            )
            for row in plan.gone
        ),
    ]


def _change(change: Changed, data: dict[str, Any]) -> Change:
    data["changed"] = list(change.columns)
    if "state" not in change.columns:
        return Change("container.updated", change.id, data)
    data |= {
        "state_before": change.state_before,
        "state": change.row["state"],
        "exit_code": change.row["exit_code"],
        "oom_killed": change.row["oom_killed"],
    }
    return Change("container.state_changed", change.id, data)
