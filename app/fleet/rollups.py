"""Rolling raw samples up into hours: incrementally, restartably, each sample exactly once.

Samples are stored with a mark (hour, containers) in the same transaction. An hour that is over is
rolled up in one transaction, which takes its marks and then computes the hours of their containers
anew from all their samples: whoever reads samples after the marks sees all that were marked. A mark
that is committed later is left for the next time. Nothing is ever added to an hour, so nothing is
added twice.

The summary of a container (its decayed histograms and peaks) follows in the same transaction: what
the hour held before is taken out of it, and what it holds now is put in.
"""

from datetime import datetime, timedelta

from app import db
from app.fleet.policy import DEFAULT, Policy

SETTLING = timedelta(minutes=1)
"""How long after its end an hour is left alone: most of its late samples are in by then."""

LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('fleet_usage_rollup', 0)) AS is_ours"
NEXT = "SELECT min(hour) AS hour FROM fleet_usage_mark WHERE hour < %s::timestamptz"
TAKE = "DELETE FROM fleet_usage_mark WHERE hour = %s::timestamptz RETURNING container_ids"
# Who would delete a container waits, so that its hour can refer to it.
HOLD = """
    SELECT id FROM fleet_container WHERE id IN (SELECT unnest(%s::bigint[]))
    ORDER BY id FOR KEY SHARE
"""
ROLL_UP = """
    WITH sample AS MATERIALIZED (
        SELECT container_id, at, cpu_cores, memory_bytes,
            floor(ln(cpu_cores * ($2::float8 - 1) / $3::float8 + 1) / ln($2::float8))::int
                AS cpu_bucket,
            floor(ln(memory_bytes * ($2::float8 - 1) / $4::float8 + 1) / ln($2::float8))::int
                AS memory_bucket
        FROM fleet_usage
        WHERE at >= $1::timestamptz AND at < $1::timestamptz + interval '1 hour'
            AND container_id IN (SELECT unnest($5::bigint[]))
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
# $3 is 1 to put the hour in, -1 to take it out. Weights below $5, of long ago, are left out: VPA's
# epsilon. Peaks and start-up peaks never fall: samples are not taken back.
FOLD = """
    WITH hour AS MATERIALIZED (
        SELECT h.container_id, h.samples, h.first_at, h.last_at, h.cpu_max, h.memory_max,
            h.cpu_histogram, h.memory_histogram, s.reference, s.cpu_weights, s.memory_weights,
            s.peaks, greatest(s.reference, h.hour) AS new_reference
        FROM fleet_usage_hour h LEFT JOIN fleet_usage_summary s USING (container_id)
        WHERE h.hour = $1::timestamptz AND h.container_id IN (SELECT unnest($2::bigint[]))
    ), part AS (
        SELECT container_id, b.is_cpu, b.bucket, b.weight * power(
            0.5::float8, extract(epoch FROM new_reference - reference)::float8 / $4::float8
        ) AS weight
        FROM hour CROSS JOIN LATERAL (
            SELECT true, key, value::float8 FROM jsonb_each_text(cpu_weights)
            UNION ALL SELECT false, key, value::float8 FROM jsonb_each_text(memory_weights)
        ) AS b (is_cpu, bucket, weight)
        UNION ALL
        SELECT container_id, b.is_cpu, b.bucket, $3::float8 * b.weight * power(
            0.5::float8, extract(epoch FROM new_reference - $1::timestamptz)::float8 / $4::float8
        )
        FROM hour CROSS JOIN LATERAL (
            SELECT true, key, value::float8 FROM jsonb_each_text(cpu_histogram)
            UNION ALL SELECT false, key, value::float8 FROM jsonb_each_text(memory_histogram)
        ) AS b (is_cpu, bucket, weight)
    ), weighed AS (
        SELECT container_id, is_cpu, bucket, round(sum(weight)::numeric, 6) AS weight
        FROM part GROUP BY container_id, is_cpu, bucket HAVING sum(weight) >= $5::float8
    ), folded AS (
        SELECT container_id,
            jsonb_object_agg(bucket, weight) FILTER (WHERE is_cpu) AS cpu,
            jsonb_object_agg(bucket, weight) FILTER (WHERE NOT is_cpu) AS memory
        FROM weighed GROUP BY container_id
    ), startup AS (
        SELECT u.container_id, max(u.memory_bytes) AS memory
        FROM fleet_container c JOIN fleet_usage u ON u.container_id = c.id
        WHERE c.id IN (SELECT container_id FROM hour)
            AND c.started_at > $1::timestamptz - $6::interval
            AND c.started_at < $1::timestamptz + interval '1 hour'
            AND u.at >= greatest(c.started_at, $1::timestamptz)
            AND u.at <= c.started_at + $6::interval
            AND u.at >= $1::timestamptz AND u.at < $1::timestamptz + interval '1 hour'
        GROUP BY u.container_id
    ), day AS (
        SELECT floor(extract(epoch FROM $1::timestamptz) / 86400)::bigint::text AS key
    )
    INSERT INTO fleet_usage_summary AS s (
        container_id, reference, samples, first_at, last_at, cpu_weights, memory_weights, peaks,
        startup_memory_bytes
    )
    SELECT h.container_id, h.new_reference, h.samples, h.first_at, h.last_at,
        coalesce(f.cpu, '{}'), coalesce(f.memory, '{}'),
        coalesce(h.peaks, '{}') || jsonb_build_object(day.key, jsonb_build_array(
            greatest(h.cpu_max, (h.peaks -> day.key ->> 0)::float8),
            greatest(h.memory_max, (h.peaks -> day.key ->> 1)::bigint)
        )),
        startup.memory
    FROM hour h
        CROSS JOIN day
        LEFT JOIN folded f USING (container_id)
        LEFT JOIN startup USING (container_id)
    ORDER BY h.container_id
    ON CONFLICT (container_id) DO UPDATE SET
        reference = EXCLUDED.reference,
        samples = s.samples + $3::float8::int * EXCLUDED.samples,
        first_at = least(s.first_at, EXCLUDED.first_at),
        last_at = greatest(s.last_at, EXCLUDED.last_at),
        cpu_weights = EXCLUDED.cpu_weights, memory_weights = EXCLUDED.memory_weights,
        peaks = EXCLUDED.peaks,
        startup_memory_bytes = greatest(s.startup_memory_bytes, EXCLUDED.startup_memory_bytes)
"""
WEIGHT_MIN = 0.001
"""Weights of a bucket below this are forgotten: a thousandth of a sample, as VPA has it."""


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
        hour = oldest["hour"]
        marked = {pk for row in await db.fetch(TAKE, hour) for pk in row["container_ids"]}
        ids = [row["id"] for row in await db.fetch(HOLD, list(marked))]
        await _fold(hour, ids, -1, policy)
        (row,) = await db.fetch(
            ROLL_UP,
            hour,
            policy.histogram_bucket_growth,
            policy.histogram_cpu_first_cores,
            float(policy.histogram_memory_first_bytes),
            ids,
        )
        await _fold(hour, ids, 1, policy)
    return int(row["rolled"])


async def _fold(hour: datetime, container_ids: list[int], sign: int, policy: Policy) -> None:
    """Put the hour as it stands into its containers' summaries (1), or take it out (-1)."""
    await db.execute(
        FOLD,
        hour,
        container_ids,
        float(sign),
        policy.histogram_half_life_hours * 3600,
        WEIGHT_MIN,
        timedelta(seconds=policy.startup_seconds),
    )
