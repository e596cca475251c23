"""Keeping the conditions of workloads true, in the transaction that changes what they say."""

import json
from collections.abc import Collection
from datetime import datetime

from app import db
from app.fleet.conditions import Facts, assess
from app.fleet.services.events import Change

FACTS = """
    SELECT w.id, w.name, w.replicas, w.generation, w.observed_generation,
        w.conditions::text AS conditions,
        (SELECT count(*) FROM fleet_container c WHERE c.workload_id = w.id
            AND c.state = 'running') AS running,
        (SELECT count(*) FROM fleet_container c WHERE c.workload_id = w.id
            AND c.state IN ('restarting', 'dead')) AS failing
    FROM fleet_workload w WHERE w.id = ANY(%s::bigint[]) ORDER BY w.id FOR NO KEY UPDATE
"""
WRITE = """
    UPDATE fleet_workload AS w SET conditions = r.conditions
    FROM jsonb_to_recordset(%s::text::jsonb) AS r (id bigint, conditions jsonb)
    WHERE w.id = r.id
"""


async def refresh_conditions(*, workload_ids: Collection[int], at: datetime) -> list[Change]:
    """Assess workloads anew, in the caller's transaction; the events, for the caller to record.

    The version stays: it counts what writers change.
    """
    if not workload_ids:
        return []
    changed = []
    for row in await db.fetch(FACTS, sorted(workload_ids)):
        before = json.loads(row["conditions"])
        facts = Facts(
            replicas=row["replicas"],
            generation=row["generation"],
            observed_generation=row["observed_generation"],
            running=row["running"],
            failing=row["failing"],
        )
        after = assess(facts, before=before, at=at)
        if after != before:
            changed.append({"id": row["id"], "name": row["name"], "conditions": after})
    if changed:
        await db.execute(WRITE, json.dumps(changed))
    return [
        Change(
            "workload.conditions_changed",
            one["id"],
            {"name": one["name"], "conditions": one["conditions"]},
        )
        for one in changed
    ]
