"""The percentiles of the last hour, computed beforehand where there are many containers.

Reading an hour of samples of fifteen thousand containers takes PostgreSQL about ten seconds, and
nothing that is rolled up by the hour can stand in for an hour that ends now. So every few minutes
a worker computes the percentiles of all containers, a thousand at a time, and the density report of
many containers takes those: exact, of an hour that ended some minutes ago. Few containers are
always read live.

Window and percentile are each container's own, and the row says which it has. A longer window is
computed less often, so that it costs no more: a fifteenth of it may pass.
"""

from datetime import datetime, timedelta

from app import db
from app.fleet.bounds import BOUNDS
from app.fleet.density import STATES_COUNTED
from app.fleet.policies import fetch_own, fetch_policies
from app.fleet.policy import COUNTED, DEFAULT, Own

CONTAINERS_MIN = 500
"""Above so many live containers percentiles are computed beforehand."""
REFRESH_AFTER = timedelta(minutes=4)
"""Of a window of an hour or less; of a longer one as much longer."""
SAMPLES_MIN = 30
"""A container with fewer samples is read live: it is young, and soon read."""
BATCH = 1_000


def age_max(window_hours: float) -> timedelta:
    """What is older is not used: something is wrong with the upkeep; samples are read instead."""
    return timedelta(minutes=15 * max(1.0, window_hours))


LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('fleet_usage_recent', 0)) AS is_ours"
COUNT = "SELECT count(*) AS live FROM fleet_container WHERE state = ANY(%s::text[])"
COMPUTE = """
    WITH chosen AS (
        SELECT c.id, coalesce(o.hours, $4::float8) AS hours,
            coalesce(o.share, $6::float8) AS share
        FROM fleet_container c
            LEFT JOIN unnest($8::bigint[], $9::float8[], $10::float8[])
                AS o (workload_id, hours, share) ON o.workload_id = c.workload_id
        WHERE c.state = ANY($1::text[])
    ), due AS MATERIALIZED (
        SELECT c.* FROM chosen c LEFT JOIN fleet_usage_recent r ON r.container_id = c.id
        WHERE r.container_id IS NULL
            OR r.computed_at < $2::timestamptz - $3::interval * greatest(1, c.hours)
            OR r.window_hours <> c.hours OR r.percentile <> c.share
        ORDER BY c.id LIMIT $5::int
    ), computed AS (
        INSERT INTO fleet_usage_recent AS r (
            container_id, computed_at, window_hours, percentile, samples, cpu_p95, memory_p95
        )
        SELECT due.id, $2::timestamptz, due.hours, due.share, m.samples, m.cpu_p95, m.memory_p95
        FROM due CROSS JOIN LATERAL (
            SELECT count(*) AS samples,
                percentile_cont(due.share) WITHIN GROUP (ORDER BY u.cpu_cores) AS cpu_p95,
                percentile_cont(due.share) WITHIN GROUP (ORDER BY u.memory_bytes) AS memory_p95
            FROM fleet_usage u
            WHERE u.container_id = due.id
                AND u.at >= $2::timestamptz - due.hours * interval '1 hour'
                AND u.at <= $2::timestamptz + $7::float8 * interval '1 second'
        ) m
        ON CONFLICT (container_id) DO UPDATE SET
            computed_at = EXCLUDED.computed_at, window_hours = EXCLUDED.window_hours,
            percentile = EXCLUDED.percentile,
            samples = EXCLUDED.samples, cpu_p95 = EXCLUDED.cpu_p95,
            memory_p95 = EXCLUDED.memory_p95
        RETURNING 1
    )
    SELECT count(*) AS computed FROM computed
"""
FORGET = "DELETE FROM fleet_usage_recent WHERE computed_at < %s::timestamptz"


async def refresh(*, now: datetime) -> int:
    """Compute what is due; the number of containers. Stops while another worker does it."""
    (row,) = await db.fetch(COUNT, list(STATES_COUNTED))
    if row["live"] <= CONTAINERS_MIN:
        return 0
    computed, own = 0, await fetch_own(await fetch_policies(), COUNTED)
    while count := await _compute_some(now, own):
        computed += count
    await db.execute(FORGET, now - timedelta(days=1))
    return computed


async def _compute_some(now: datetime, own: Own) -> int:
    async with db.atomic():
        (turn,) = await db.fetch(LOCK)
        if not turn["is_ours"]:
            return 0
        (row,) = await db.fetch(
            COMPUTE,
            list(STATES_COUNTED),
            now,
            REFRESH_AFTER,
            DEFAULT.window_hours,
            BATCH,
            DEFAULT.use_percentile,
            BOUNDS.clock_ahead_seconds,
            list(own),
            [float(one.policy.window_hours) for one in own.values()],
            [float(one.policy.use_percentile) for one in own.values()],
        )
    return int(row["computed"])
