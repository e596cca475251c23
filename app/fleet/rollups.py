"""Rolling raw samples up into hours: incrementally, restartably, each sample exactly once.

Samples are stored with a mark (hour, containers) in the same transaction. An hour that is over is
rolled up by one statement, which deletes its marks and computes the hours of their containers anew
from all their samples: statement and marks see the same samples. A mark that is committed later is
left for the next time. Nothing is ever added to an hour, so nothing is added twice.
"""

from datetime import datetime, timedelta

from app import db
from app.fleet.policy import DEFAULT, Policy

SETTLING = timedelta(minutes=1)
"""How long after its end an hour is left alone: most of its late samples are in by then."""

LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('fleet_usage_rollup', 0)) AS is_ours"
NEXT = "SELECT min(hour) AS hour FROM fleet_usage_mark WHERE hour < %s::timestamptz"
ROLL_UP = """
    WITH mark AS (
        DELETE FROM fleet_usage_mark WHERE hour = $1::timestamptz RETURNING container_ids
    ), sample AS MATERIALIZED (
        SELECT container_id, at, cpu_cores, memory_bytes,
            floor(ln(cpu_cores * ($2::float8 - 1) / $3::float8 + 1) / ln($2::float8))::int
                AS cpu_bucket,
            floor(ln(memory_bytes * ($2::float8 - 1) / $4::float8 + 1) / ln($2::float8))::int
                AS memory_bucket
        FROM fleet_usage
        WHERE at >= $1::timestamptz AND at < $1::timestamptz + interval '1 hour'
            AND container_id IN (SELECT unnest(container_ids) FROM mark)
    ), cpu AS (
        SELECT container_id, jsonb_object_agg(cpu_bucket, samples) AS histogram
        FROM (SELECT container_id, cpu_bucket, count(*) AS samples FROM sample GROUP BY 1, 2) AS b
        GROUP BY container_id
    ), memory AS (
        SELECT container_id, jsonb_object_agg(memory_bucket, samples) AS histogram
        FROM (SELECT container_id, memory_bucket, count(*) AS samples FROM sample GROUP BY 1, 2) b
        GROUP BY container_id
    ), total AS (
        SELECT container_id, count(*) AS samples, min(at) AS first_at, max(at) AS last_at,
            sum(cpu_cores) AS cpu_sum, max(cpu_cores) AS cpu_max,
            sum(memory_bytes)::float8 AS memory_sum, max(memory_bytes) AS memory_max
        FROM sample GROUP BY container_id
    ), rolled AS (
        INSERT INTO fleet_usage_hour (
            container_id, hour, samples, first_at, last_at, cpu_sum, cpu_max, memory_sum,
            memory_max, cpu_histogram, memory_histogram
        )
        SELECT t.container_id, $1::timestamptz, t.samples, t.first_at, t.last_at, t.cpu_sum,
            t.cpu_max, t.memory_sum, t.memory_max, cpu.histogram, memory.histogram
        FROM total t
            JOIN cpu ON cpu.container_id = t.container_id
            JOIN memory ON memory.container_id = t.container_id
        ON CONFLICT (container_id, hour) DO UPDATE SET
            samples = EXCLUDED.samples, first_at = EXCLUDED.first_at, last_at = EXCLUDED.last_at,
            cpu_sum = EXCLUDED.cpu_sum, cpu_max = EXCLUDED.cpu_max,
            memory_sum = EXCLUDED.memory_sum, memory_max = EXCLUDED.memory_max,
            cpu_histogram = EXCLUDED.cpu_histogram, memory_histogram = EXCLUDED.memory_histogram
        RETURNING 1
    )
    SELECT count(*) AS rolled FROM rolled
"""


async def roll_up(*, now: datetime, policy: Policy = DEFAULT) -> int:
    """Roll up every hour that is over and has new samples; the number of containers' hours.

    One hour is one transaction: what is interrupted is begun again with the hour it was in.
    Returns at once while another worker does it.
    """
    until = (now - SETTLING).replace(minute=0, second=0, microsecond=0)
    rolled = 0
    while (count := await _roll_up_next(until, policy)) is not None:
        rolled += count
    return rolled


async def _roll_up_next(until: datetime, policy: Policy) -> int | None:
    """Roll up the oldest marked hour before `until`; None when there is none, or not our turn."""
    async with db.atomic():
        (turn,) = await db.fetch(LOCK)
        if not turn["is_ours"]:
            return None
        (oldest,) = await db.fetch(NEXT, until)
        if oldest["hour"] is None:
            return None
        (row,) = await db.fetch(
            ROLL_UP,
            oldest["hour"],
            policy.histogram_bucket_growth,
            policy.histogram_cpu_first_cores,
            float(policy.histogram_memory_first_bytes),
        )
    return int(row["rolled"])
