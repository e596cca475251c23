"""What a choice of containers used over time: `GET usage/?resolution=1h`.

Steps of an hour or more are read from the roll-ups, and from raw samples where an hour isn't rolled
up yet; shorter steps are read from raw samples alone. A step without samples has no point.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app import db
from app.fleet.querysets import LIVE_STATES

RESOLUTIONS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "1d": timedelta(days=1),
}
MAX_POINTS = 3_000
HOUR = timedelta(hours=1)
UNROLLED = timedelta(hours=24)
"""How far back an hour may wait to be rolled up and still be read from its raw samples."""

# Sums are of float8: adding bigint up makes numeric, which takes several times as long.
POINTS = """
    WITH part AS (
        SELECT container_id, date_bin($5::interval, hour, $2::timestamptz) AS step,
            samples::float8, cpu_sum, cpu_max, memory_sum, memory_max::float8
        FROM fleet_usage_hour
        WHERE container_id = ANY($1::bigint[])
            AND hour >= $2::timestamptz AND hour < least($3::timestamptz, $4::timestamptz)
        UNION ALL
        SELECT container_id, date_bin($5::interval, at, $2::timestamptz),
            1, cpu_cores, cpu_cores, memory_bytes::float8, memory_bytes::float8
        FROM fleet_usage
        WHERE container_id = ANY($1::bigint[])
            AND at >= greatest($2::timestamptz, $4::timestamptz) AND at < $3::timestamptz
    ), one AS (
        SELECT step, sum(samples) AS samples,
            sum(cpu_sum) AS cpu_sum, max(cpu_max) AS cpu_max,
            sum(memory_sum) AS memory_sum, max(memory_max) AS memory_max
        FROM part GROUP BY container_id, step
    )
    SELECT step AS at, count(*) AS containers, sum(samples)::bigint AS samples,
        sum(cpu_sum / samples) AS cpu_mean, sum(cpu_max) AS cpu_max,
        sum(memory_sum / samples) AS memory_mean, sum(memory_max)::bigint AS memory_max
    FROM one GROUP BY step ORDER BY step
"""
# In steps of an hour, a row of the roll-ups is a container's step already.
POINTS_BY_HOUR = """
    WITH one AS (
        SELECT hour AS step, samples::float8, cpu_sum, cpu_max, memory_sum, memory_max::float8
        FROM fleet_usage_hour
        WHERE container_id = ANY($1::bigint[])
            AND hour >= $2::timestamptz AND hour < least($3::timestamptz, $4::timestamptz)
        UNION ALL
        SELECT date_bin('1 hour', at, $2::timestamptz) AS step,
            count(*), sum(cpu_cores), max(cpu_cores),
            sum(memory_bytes::float8), max(memory_bytes)
        FROM fleet_usage
        WHERE container_id = ANY($1::bigint[])
            AND at >= greatest($2::timestamptz, $4::timestamptz) AND at < $3::timestamptz
        GROUP BY container_id, step
    )
    SELECT step AS at, count(*) AS containers, sum(samples)::bigint AS samples,
        sum(cpu_sum / samples) AS cpu_mean, sum(cpu_max) AS cpu_max,
        sum(memory_sum / samples) AS memory_mean, sum(memory_max)::bigint AS memory_max
    FROM one GROUP BY step ORDER BY step
"""
ROLLED_UNTIL = """
    SELECT coalesce(min(hour), date_trunc('hour', $1::timestamptz, 'UTC')) AS moment
    FROM fleet_usage_mark WHERE hour >= $2::timestamptz
"""
TOTALS = """
    SELECT count(*) AS containers,
        coalesce(sum(cpu_reservation), 0) AS cpu_reservation,
        coalesce(sum(cpu_limit), 0) AS cpu_limit,
        count(*) FILTER (WHERE cpu_limit IS NULL) AS cpu_unlimited,
        coalesce(sum(memory_reservation_bytes), 0)::bigint AS memory_reservation_bytes,
        coalesce(sum(memory_limit_bytes), 0)::bigint AS memory_limit_bytes,
        count(*) FILTER (WHERE memory_limit_bytes IS NULL) AS memory_unlimited
    FROM fleet_container WHERE id = ANY($1::bigint[]) AND state = ANY($2::text[])
"""


@dataclass(frozen=True, slots=True)
class Span:
    """From when until when, in steps of what. `since` is the beginning of a step."""

    since: datetime
    until: datetime
    resolution: str

    @property
    def step(self) -> timedelta:
        return RESOLUTIONS[self.resolution]

    @property
    def points(self) -> int:
        return -(-(self.until - self.since) // self.step)

    @classmethod
    def covering(cls, since: datetime, until: datetime, resolution: str) -> "Span":
        """The span that begins with the step that `since` lies in; steps are counted in UTC."""
        epoch = datetime(2001, 1, 1, tzinfo=UTC)
        step = RESOLUTIONS[resolution]
        return cls(epoch + (since - epoch) // step * step, until, resolution)


@dataclass(frozen=True, slots=True)
class History:
    """`totals` are of those containers that are live now; `points` are dicts as `POINTS` names.

    `_mean` is the sum of the containers' means. `_max` is the sum of their peaks: together they
    used at most that.
    """

    span: Span
    totals: dict[str, Any]
    points: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        return {
            "since": self.span.since,
            "until": self.span.until,
            "resolution": self.span.resolution,
            "now": self.totals,
            # As DRF writes moments; thousands of them one by one through its encoder take longer.
            "points": [
                point | {"at": point["at"].isoformat().replace("+00:00", "Z")}
                for point in self.points
            ],
        }


async def fetch_history(*, container_ids: list[int], span: Span, now: datetime) -> History:
    """A fixed number of statements, whatever the span and the number of containers."""
    rolled_until = span.since
    if span.step >= HOUR:
        (row,) = await db.fetch(ROLLED_UNTIL, now, now - UNROLLED)
        rolled_until = row["moment"]
    arguments = (container_ids, span.since, span.until, rolled_until)
    async with db.atomic():
        # A plan for any values reads far more than one for these: 200 ms in place of 20.
        await db.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        if span.step == HOUR:
            points = await db.fetch(POINTS_BY_HOUR, *arguments)
        else:
            points = await db.fetch(POINTS, *arguments, span.step)
    (totals,) = await db.fetch(TOTALS, container_ids, list(LIVE_STATES))
    return History(span, totals, points)
