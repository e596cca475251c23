"""Keeping the conditions of workloads true, in the transaction that changes what they say."""

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from app import db
from app.fleet.conditions import Facts, assess
from app.fleet.policy import DEFAULT
from app.fleet.querysets import LIVE_STATES
from app.fleet.services.events import Change, record_changes

BATCH = 200
"""Workloads that are assessed in one transaction."""

# Hosts are silent by each workload's own constant, else its team's, else the default: $4 seconds.
FACTS = """
    WITH running_on AS MATERIALIZED (
        SELECT DISTINCT c.workload_id, c.host_id FROM fleet_container c
        WHERE c.workload_id = ANY($1::bigint[]) AND c.state = ANY($2::text[])
    ), host AS MATERIALIZED (
        SELECT h.id, h.name, h.last_seen_at,
            h.memory_bytes - h.reserved_memory_bytes < (
                SELECT sum(coalesce(c.memory_limit_bytes, c.memory_reservation_bytes))
                FROM fleet_container c WHERE c.host_id = h.id AND c.state = ANY($2::text[])
            ) AS is_over
        FROM fleet_host h WHERE h.id IN (SELECT host_id FROM running_on)
    ), workload AS MATERIALIZED (
        SELECT w.id, $3::timestamptz - interval '1 second' * coalesce(
            (SELECT (p.constants ->> 'stale_after_seconds')::float8
                FROM fleet_policy_override p WHERE p.workload_id = w.id),
            (SELECT (p.constants ->> 'stale_after_seconds')::float8
                FROM fleet_policy_override p WHERE p.team_id = w.team_id),
            $4::float8
        ) AS silent_since
        FROM fleet_workload w WHERE w.id = ANY($1::bigint[])
    )
    SELECT w.id, w.name, w.replicas, w.generation, w.observed_generation,
        (SELECT min(CASE WHEN c.labels ->> 'stowage.generation' ~ '^[0-9]{1,15}$'
            THEN (c.labels ->> 'stowage.generation')::bigint ELSE 0 END)
            FROM fleet_container c
            WHERE c.workload_id = w.id AND c.state = ANY($2::text[])) AS labelled,
        w.conditions::text AS conditions,
        (SELECT count(*) FROM fleet_container c WHERE c.workload_id = w.id
            AND c.state = 'running') AS running,
        (SELECT count(*) FROM fleet_container c WHERE c.workload_id = w.id
            AND c.state IN ('restarting', 'dead')) AS failing,
        (SELECT count(*) FROM fleet_container c WHERE c.workload_id = w.id
            AND c.state IN ('restarting', 'dead') AND c.oom_killed) AS oom_killed,
        ARRAY(SELECT h.name::text FROM host h JOIN running_on r ON r.host_id = h.id
            WHERE r.workload_id = w.id AND coalesce(h.last_seen_at < o.silent_since, true)
            ORDER BY 1) AS silent,
        ARRAY(SELECT h.name::text FROM host h JOIN running_on r ON r.host_id = h.id
            WHERE r.workload_id = w.id AND h.is_over ORDER BY 1) AS over_committed
    FROM fleet_workload w JOIN workload o USING (id) ORDER BY w.id FOR NO KEY UPDATE OF w
"""
LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('fleet_conditions', 0)) AS is_ours"
NEXT = "SELECT id FROM fleet_workload WHERE id > %s ORDER BY id LIMIT %s"
WRITE = """
    UPDATE fleet_workload AS w
    SET conditions = r.conditions, observed_generation = r.observed_generation
    FROM jsonb_to_recordset(%s::text::jsonb)
        AS r (id bigint, conditions jsonb, observed_generation bigint)
    WHERE w.id = r.id
"""


async def refresh_conditions(*, workload_ids: Collection[int], at: datetime) -> list[Change]:
    """Assess workloads anew, in the caller's transaction; the events, for the caller to record.

    The version stays: it counts what writers change.
    """
    if not workload_ids:
        return []
    changed = []
    ids, silence = sorted(workload_ids), DEFAULT.stale_after_seconds
    for row in await db.fetch(FACTS, ids, list(LIVE_STATES), at, silence):
        before = json.loads(row["conditions"])
        facts = _facts(row)
        after = assess(facts, before=before, at=at)
        if after != before or facts.observed_generation != row["observed_generation"]:
            changed.append(
                {
                    "id": row["id"],
                    "name": row["name"],
                    "conditions": after,
                    "observed_generation": facts.observed_generation,
                }
            )
    if changed:
        await db.execute(WRITE, json.dumps(changed))
    return [
        Change(
            "workload.conditions_changed",
            one["id"],
            {
                "name": one["name"],
                "conditions": one["conditions"],
                "observed_generation": one["observed_generation"],
            },
        )
        for one in changed
    ]


async def refresh_all_conditions(*, now: datetime) -> int:
    """Assess every workload anew: silence comes without a report. The number that changed.

    Leaves it to another worker that is doing it.
    """
    last, changed = 0, 0
    while ids := [row["id"] for row in await db.fetch(NEXT, last, BATCH)]:
        async with db.atomic():
            (turn,) = await db.fetch(LOCK)
            if not turn["is_ours"]:
                break
            changes = await refresh_conditions(workload_ids=ids, at=now)
            await record_changes(*changes)
        last, changed = ids[-1], changed + len(changes)
    return changed


def _observed_generation(row: dict[str, Any]) -> int:
    """The generation that every live container carries at least; it never falls.

    Those that carry none, or none that can be read, leave it where it is.
    """
    labelled = min(row["labelled"] or 0, row["generation"])
    return int(max(labelled, row["observed_generation"]))


def _facts(row: dict[str, Any]) -> Facts:
    return Facts(
        replicas=row["replicas"],
        generation=row["generation"],
        observed_generation=_observed_generation(row),
        running=row["running"],
        failing=row["failing"],
        oom_killed=row["oom_killed"],
        silent=tuple(row["silent"]),
        over_committed=tuple(row["over_committed"]),
    )
