"""Rolling raw samples up into hours: incrementally, restartably, each sample exactly once.

Samples are stored with a mark (hour, containers) in the same transaction. An hour that is over is
rolled up in one transaction, which takes its marks and then computes the hours of their containers
anew from all their samples: whoever reads samples after the marks sees all that were marked. A mark
that is committed later is left for the next time. Nothing is ever added to an hour, so nothing is
added twice.

The summary of a container (its decayed histograms and peaks) follows in the same transaction: what
the hour held before is taken out of it, and what it holds now is put in.

An hour is rolled up in the layout of its container's policy, and its row says which. A summary
stays in the layout and the half-life that its row says, whatever the policy, until
`app.fleet.rebuilds` makes it anew; hours of another layout are put in and taken out by the same
table of buckets.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from app import db
from app.fleet.histograms import STANDARD, Layout, tabulate
from app.fleet.policies import fetch_own, fetch_policies
from app.fleet.policy import STORED, Own
from app.fleet.storages import USUAL, Storage, Storages, group, storages_of

SETTLING = timedelta(minutes=1)
"""How long after its end an hour is left alone: most of its late samples are in by then."""

LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('fleet_usage_rollup', 0)) AS is_ours"
NEXT = "SELECT min(hour) AS hour FROM fleet_usage_mark WHERE hour < %s::timestamptz"
TAKE = "DELETE FROM fleet_usage_mark WHERE hour = %s::timestamptz RETURNING container_ids"
# Who would delete a container waits, so that its hour can refer to it.
HOLD = """
    SELECT id, workload_id FROM fleet_container WHERE id IN (SELECT unnest(%s::bigint[]))
    ORDER BY id FOR KEY SHARE
"""
# Which summaries are not stored by the defaults, which of those in $2 are, and in which other
# layouts the hour is stored. Mostly nothing, read from two small indexes.
OTHERWISE = """
    SELECT container_id, layout, half_life_hours FROM fleet_usage_summary
    WHERE (layout IS NOT NULL OR half_life_hours IS NOT NULL)
        AND container_id IN (SELECT unnest($1::bigint[]))
    UNION ALL
    SELECT container_id, NULL, NULL FROM fleet_usage_summary
    WHERE layout IS NULL AND half_life_hours IS NULL AND container_id = ANY($2::bigint[])
    UNION ALL
    SELECT NULL, layout, NULL FROM fleet_usage_hour
    WHERE hour = $3::timestamptz AND layout IS NOT NULL GROUP BY layout
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
            memory_max, cpu_histogram, memory_histogram, layout
        )
        SELECT t.container_id, $1::timestamptz, t.samples, t.first_at, t.last_at, t.cpu_sum,
            t.cpu_max, t.memory_sum, t.memory_max, cpu.histogram, memory.histogram, $6::float8[]
        FROM total t
            JOIN cpu ON cpu.container_id = t.container_id
            JOIN memory ON memory.container_id = t.container_id
        ON CONFLICT (container_id, hour) DO UPDATE SET
            samples = EXCLUDED.samples, first_at = EXCLUDED.first_at, last_at = EXCLUDED.last_at,
            cpu_sum = EXCLUDED.cpu_sum, cpu_max = EXCLUDED.cpu_max,
            memory_sum = EXCLUDED.memory_sum, memory_max = EXCLUDED.memory_max,
            cpu_histogram = EXCLUDED.cpu_histogram, memory_histogram = EXCLUDED.memory_histogram,
            layout = EXCLUDED.layout
        RETURNING 1
    )
    SELECT count(*) AS rolled FROM rolled
"""
# From weights of buckets to a summary's; those below {least}, of long ago, are left out: VPA's
# epsilon.
WEIGHED = """weighed AS (
        SELECT container_id, is_cpu, bucket, round(sum(weight)::numeric, 6) AS weight
        FROM part GROUP BY container_id, is_cpu, bucket HAVING sum(weight) >= {least}::float8
    ), folded AS (
        SELECT container_id,
            jsonb_object_agg(bucket, weight) FILTER (WHERE is_cpu) AS cpu,
            jsonb_object_agg(bucket, weight) FILTER (WHERE NOT is_cpu) AS memory
        FROM weighed GROUP BY container_id
    )"""
# $3 is 1 to put the hour in, -1 to take it out. Peaks and start-up peaks never fall: samples are
# not taken back. $7 and $8 are how the summaries of these containers are stored.
FOLD = """
    WITH hour AS MATERIALIZED (
        SELECT h.container_id, h.samples, h.first_at, h.last_at, h.cpu_max, h.memory_max,
            h.cpu_histogram, h.memory_histogram, h.layout, s.reference, s.cpu_weights,
            s.memory_weights, s.peaks, greatest(s.reference, h.hour) AS new_reference
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
        SELECT container_id, b.is_cpu, {bucket}, $3::float8 * b.weight * power(
            0.5::float8, extract(epoch FROM new_reference - $1::timestamptz)::float8 / $4::float8
        )
        FROM hour CROSS JOIN LATERAL (
            SELECT true, key, value::float8 FROM jsonb_each_text(cpu_histogram)
            UNION ALL SELECT false, key, value::float8 FROM jsonb_each_text(memory_histogram)
        ) AS b (is_cpu, bucket, weight){table}
    ), {weighed}, startup AS (
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
        startup_memory_bytes, layout, half_life_hours
    )
    SELECT h.container_id, h.new_reference, h.samples, h.first_at, h.last_at,
        coalesce(f.cpu, '{{}}'), coalesce(f.memory, '{{}}'),
        coalesce(h.peaks, '{{}}') || jsonb_build_object(day.key, jsonb_build_array(
            greatest(h.cpu_max, (h.peaks -> day.key ->> 0)::float8),
            greatest(h.memory_max, (h.peaks -> day.key ->> 1)::bigint)
        )),
        startup.memory, $7::float8[], nullif($8::float8, 0)
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
# The same by a table of `histograms.tabulate`, from layouts to that of the summary.
TABLE = """
            LEFT JOIN jsonb_to_recordset({number}::text::jsonb)
                AS t (layout float8[], is_cpu bool, bucket text, target text)
                ON t.layout = coalesce({hour}.layout, {usual}::float8[])
                AND t.is_cpu = b.is_cpu AND t.bucket = b.bucket"""
ALIKE = FOLD.format(bucket="b.bucket", table="", weighed=WEIGHED.format(least="$5"))
BY_TABLE = FOLD.format(
    weighed=WEIGHED.format(least="$5"),
    bucket="coalesce(t.target, b.bucket)",
    table=TABLE.format(number="$9", hour="hour", usual="$10"),
)
WEIGHT_MIN = 0.001
"""Weights of a bucket below this are forgotten: a thousandth of a sample, as VPA has it."""


async def roll_up(*, now: datetime) -> int:
    """Roll up every hour that is over and has new samples; the number of containers' hours.

    One hour is one transaction: what is interrupted is begun again with the hour it was in.
    Returns at once while another worker does it.
    """
    until = (now - SETTLING).replace(minute=0, second=0, microsecond=0)
    own = await fetch_own(await fetch_policies(), STORED)
    rolled = 0
    while (count := await _roll_up_next(until, own)) is not None:
        rolled += count
    return rolled


async def _roll_up_next(until: datetime, own: Own) -> int | None:
    """Roll up the oldest marked hour before `until`; None when there is none, or not our turn."""
    async with db.atomic():
        (turn,) = await db.fetch(LOCK)
        if not turn["is_ours"]:
            return None
        (oldest,) = await db.fetch(NEXT, until)
        if oldest["hour"] is None:
            return None
        hour = oldest["hour"]
        # A plan for any containers joins as if there were few: it takes many times as long.
        await db.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        marked = {pk for row in await db.fetch(TAKE, hour) for pk in row["container_ids"]}
        held = await db.fetch(HOLD, list(marked))
        ids = [row["id"] for row in held]
        storages = (
            storages_of(((row["id"], row["workload_id"]) for row in held), own) if own else {}
        )
        folding = await _plan_folding(hour, ids, storages)
        await _fold(hour, folding, -1)
        rolled = 0
        for layout, some in _by_layout(group(ids, storages)).items():
            (row,) = await db.fetch(ROLL_UP, hour, *layout, some, layout.stored)
            rolled += row["rolled"]
        await _fold(hour, folding, 1)
    return rolled


def _by_layout(groups: Mapping[Storage, list[int]]) -> dict[Layout, list[int]]:
    layouts: dict[Layout, list[int]] = {}
    for storage, ids in groups.items():
        layouts.setdefault(storage.layout, []).extend(ids)
    return layouts


class Folding(NamedTuple):
    """How the summaries of these containers are stored, and in which layouts hours may be."""

    groups: Mapping[Storage, list[int]]
    layouts: frozenset[Layout]


async def _plan_folding(hour: datetime, ids: list[int], storages: Storages) -> Folding:
    """Summaries that there are stay as they are stored; new ones are by the policy."""
    stored, layouts = dict(storages), {STANDARD, *(one.layout for one in storages.values())}
    for row in await db.fetch(OTHERWISE, ids, list(storages), hour):
        layout, pk = Layout.read(row["layout"]), row["container_id"]
        layouts.add(layout)
        if pk is not None:
            half_life = row["half_life_hours"] or USUAL.half_life_hours
            startup = storages.get(pk, USUAL).startup_seconds
            stored[pk] = Storage(layout, half_life, startup)
    return Folding(group(ids, stored), frozenset(layouts))


async def _fold(hour: datetime, folding: Folding, sign: int) -> None:
    """Put the hour as it stands into its containers' summaries (1), or take it out (-1)."""
    for storage, ids in folding.groups.items():
        others = tuple(sorted(folding.layouts - {storage.layout}))
        table = (tabulate(others, storage.layout), list(STANDARD)) if others else ()
        await db.execute(
            BY_TABLE if others else ALIKE,
            hour,
            ids,
            float(sign),
            storage.half_life_hours * 3600,
            WEIGHT_MIN,
            timedelta(seconds=storage.startup_seconds),
            storage.layout.stored,
            storage.stored_half_life or 0.0,
            *table,
        )
