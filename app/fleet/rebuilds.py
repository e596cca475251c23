"""Making summaries anew from their hours, when somebody has changed how usage is stored.

A summary's row says in which layout and by which half-life its weights are. Where that is no longer
its container's, because a policy was written or deleted or a workload went to another team, the
weights are computed anew from the hours that are stored, each put into the new layout from its own.
Never from the old weights: so an hour can later be taken out as it was put in. Counts and peaks
depend on neither, and stay.

Some containers are one transaction, under the lock of rolling up, so no hour comes in between.
"""

import json
from datetime import timedelta
from typing import Any

from app import db
from app.fleet.histograms import STANDARD, Layout, tabulate
from app.fleet.policies import fetch_own, fetch_policies
from app.fleet.policy import STORED, Own
from app.fleet.rollups import LOCK, TABLE, WEIGHED, WEIGHT_MIN
from app.fleet.storages import USUAL, Storage

BATCH = 20
"""Containers: up to a month of hours of each is read, a second or so."""
MOST = 2_000
"""Containers in one round of the upkeep, which has other things to do."""
HALF_LIVES = 30
"""Hours that are older weigh less than a millionth of a sample."""

# Those of the partial index, and those whose workload has constants of its own; few of both.
OUTDATED = """
    WITH own AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset($1::text::jsonb)
            AS o (workload_id bigint, layout float8[], half_life_hours float8)
    ), candidate AS (
        SELECT container_id FROM fleet_usage_summary
        WHERE layout IS NOT NULL OR half_life_hours IS NOT NULL
        UNION SELECT c.id FROM own JOIN fleet_container c USING (workload_id)
    )
    SELECT s.container_id AS id, o.layout, o.half_life_hours
    FROM candidate JOIN fleet_usage_summary s USING (container_id)
        JOIN fleet_container c ON c.id = s.container_id
        LEFT JOIN own o ON o.workload_id = c.workload_id
    WHERE s.layout IS DISTINCT FROM o.layout
        OR s.half_life_hours IS DISTINCT FROM o.half_life_hours
    ORDER BY s.container_id LIMIT $2::int
"""
HOURS = """
    fleet_usage_summary s JOIN fleet_usage_hour h ON h.container_id = s.container_id
        AND h.hour > s.reference - $2::interval AND h.hour <= s.reference
"""
LAYOUTS = f"SELECT DISTINCT h.layout FROM {HOURS} WHERE s.container_id = ANY($1::bigint[])"  # noqa: S608 - put together from constants
REBUILD = f"""
    WITH part AS (
        SELECT s.container_id, b.is_cpu, coalesce(t.target, b.bucket) AS bucket,
            b.samples * power(
                0.5::float8, extract(epoch FROM s.reference - h.hour)::float8 / $3::float8
            ) AS weight
        FROM {HOURS} CROSS JOIN LATERAL (
            SELECT true, key, value::float8 FROM jsonb_each_text(h.cpu_histogram)
            UNION ALL SELECT false, key, value::float8 FROM jsonb_each_text(h.memory_histogram)
        ) AS b (is_cpu, bucket, samples){TABLE.format(number="$7", hour="h", usual="$8")}
        WHERE s.container_id = ANY($1::bigint[])
    ), {WEIGHED.format(least="$4")}
    UPDATE fleet_usage_summary AS s
    SET cpu_weights = coalesce(f.cpu, '{{}}'), memory_weights = coalesce(f.memory, '{{}}'),
        layout = $5::float8[], half_life_hours = nullif($6::float8, 0)
    FROM unnest($1::bigint[]) AS chosen (container_id) LEFT JOIN folded f USING (container_id)
    WHERE s.container_id = chosen.container_id
"""  # noqa: S608 - put together from constants


async def rebuild_summaries(*, most: int = MOST) -> int:
    """Make anew what is stored otherwise than its policy says, up to so many containers; how many.

    Stops while another worker rolls up or does this.
    """
    rebuilt = 0
    while rebuilt < most and (count := await _rebuild_some(min(BATCH, most - rebuilt))):
        rebuilt += count
    return rebuilt


async def _rebuild_some(most: int) -> int:
    async with db.atomic():
        (turn,) = await db.fetch(LOCK)
        if not turn["is_ours"]:
            return 0
        own = await fetch_own(await fetch_policies(), STORED)
        rows = await db.fetch(OUTDATED, _table(own), most)
        groups: dict[Storage, list[int]] = {}
        for row in rows:
            half_life = row["half_life_hours"] or USUAL.half_life_hours
            storage = USUAL._replace(layout=Layout.read(row["layout"]), half_life_hours=half_life)
            groups.setdefault(storage, []).append(row["id"])
        if groups:
            await db.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        for storage, ids in groups.items():
            await _rebuild(storage, ids)
    return len(rows)


def _table(own: Own) -> str:
    rows: list[dict[str, Any]] = []
    for pk, effective in own.items():
        storage = Storage.of(effective.policy)
        half_life = storage.stored_half_life
        if storage.layout.stored or half_life:
            rows.append(
                {
                    "workload_id": pk,
                    "layout": storage.layout.stored,
                    "half_life_hours": half_life,
                }
            )
    return json.dumps(rows)


async def _rebuild(storage: Storage, ids: list[int]) -> None:
    span = timedelta(hours=HALF_LIVES * storage.half_life_hours)
    layouts = {Layout.read(row["layout"]) for row in await db.fetch(LAYOUTS, ids, span)}
    await db.execute(
        REBUILD,
        ids,
        span,
        storage.half_life_hours * 3600,
        WEIGHT_MIN,
        storage.layout.stored,
        storage.stored_half_life or 0.0,
        tabulate(tuple(sorted(layouts - {storage.layout})), storage.layout),
        list(STANDARD),
    )
