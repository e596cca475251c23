"""What the density report reads: one statement, whatever the size of the fleet.

Percentiles are taken on the server, over the raw samples of the window; of a large fleet they are
taken beforehand (`app.fleet.recent`), and `measured_at` says when. The answer is one row a host
with its containers in arrays: three hundred rows cost the event loop far less than fifteen
thousand. Where workloads have constants of their own, each container is read by its workload's.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from app import db
from app.fleet import recent
from app.fleet.bounds import BOUNDS
from app.fleet.density import STATES_COUNTED, Host
from app.fleet.manifests import Containers
from app.fleet.policy import DEFAULT, NOBODY, Own

# name of the array -> the container's expression in it
COLUMNS = {
    "ids": "c.id",
    "names": "c.name",
    "states": "c.state",
    "heard_at": "greatest(c.last_seen_at, newest.at)",
    "samples": "coalesce(r.samples, m.samples)",
    "cpu_reservation": "c.cpu_reservation",
    "cpu_limit": "c.cpu_limit",
    "cpu_current": "CASE WHEN newest.at >= {fresh} THEN newest.cpu_cores END",
    "cpu_p95": "coalesce(r.cpu_p95, m.cpu_p95)",
    "memory_reservation": "c.memory_reservation_bytes::float8",
    "memory_limit": "c.memory_limit_bytes::float8",
    "memory_current": "CASE WHEN newest.at >= {fresh} THEN newest.memory_bytes::float8 END",
    "memory_p95": "coalesce(r.memory_p95, m.memory_p95)",
}
WORKLOADS = {"workload_ids": "c.workload_id"}
PLACEMENT_COLUMNS = {
    **WORKLOADS,
    "pins": "c.labels ->> 'stowage.pin'",
    "constraints": "c.labels ->> 'stowage.constraints'",
}
"""What placement reads beside these."""

# Of each container: the percentile, from when samples count, from when one is current, from when
# and of which window percentiles that were computed beforehand are used.
BY_DEFAULT = {
    "share": "$4::float8",
    "since": "$6::timestamptz",
    "fresh": "$5::timestamptz",
    "newest_since": "$6::timestamptz",
    "measured": "min(r.computed_at)",
    "window": "$9::float8",
    "computed_since": "$8::timestamptz",
    "bound": "",
    "own": "",
}
BY_OWN = {
    "share": "coalesce(o.share, $4::float8)",
    "since": "coalesce(o.since, $6::timestamptz)",
    "fresh": "coalesce(o.fresh, $5::timestamptz)",
    "newest_since": "least(coalesce(o.since, $6::timestamptz), o.fresh)",
    "measured": "min(r.computed_at) FILTER (WHERE coalesce(o.hours, $9::float8) = $9::float8)",
    "window": "coalesce(o.hours, $9::float8)",
    "computed_since": "coalesce(o.computed_since, $8::timestamptz)",
    "bound": " AND u.at >= $17::timestamptz",
    "own": """LEFT JOIN unnest(
        $11::bigint[], $12::float8[], $13::float8[], $14::timestamptz[], $15::timestamptz[],
        $16::timestamptz[]
    ) AS o (workload_id, share, hours, since, fresh, computed_since)
        ON o.workload_id = c.workload_id
    """,
}
# A sample of a host whose clock runs ahead is a sample of now. The bounds on `at` let PostgreSQL
# skip the partitions of other days. Window and percentile are compared within coalesce(): taken for
# rare, as before the table was analyzed, all containers would be compared with all.
HOSTS = """
SELECT
    h.id, h.name, h.labels::text AS labels, h.last_seen_at,
    h.cpus, h.memory_bytes, h.reserved_cpus, h.reserved_memory_bytes,
    {measured} AS measured_at,
    {arrays}
FROM fleet_host h
    LEFT JOIN fleet_container c ON c.host_id = h.id AND c.state = ANY($3::text[])
    {own}LEFT JOIN fleet_usage_recent r ON r.container_id = c.id
        AND r.computed_at >= {computed_since} AND r.samples >= $10::int
        AND coalesce(r.window_hours = {window} AND r.percentile = {share}, false)
    LEFT JOIN LATERAL (
        SELECT
            count(*) AS samples,
            percentile_cont({share}) WITHIN GROUP (ORDER BY u.cpu_cores) AS cpu_p95,
            percentile_cont({share}) WITHIN GROUP (ORDER BY u.memory_bytes) AS memory_p95
        FROM fleet_usage u
        WHERE r.container_id IS NULL
            AND u.container_id = c.id AND u.at >= {since} AND u.at <= $7::timestamptz{bound}
    ) m ON true
    LEFT JOIN LATERAL (
        SELECT u.at, u.cpu_cores, u.memory_bytes FROM fleet_usage u
        WHERE u.container_id = c.id AND u.at >= {newest_since} AND u.at <= $7::timestamptz{bound}
        ORDER BY u.at DESC LIMIT 1
    ) newest ON true
WHERE h.labels @> $1::jsonb
    AND ($2::text[] IS NULL OR h.name = ANY($2::text[]) OR h.id::text = ANY($2::text[]))
GROUP BY h.id
ORDER BY h.name
"""


def _statement(columns: Mapping[str, str], constants: Mapping[str, str]) -> str:
    arrays = ",\n    ".join(
        f"array_agg({expression} ORDER BY c.name, c.id) FILTER (WHERE c.id IS NOT NULL) AS {name}"
        for name, expression in columns.items()
    )
    return HOSTS.format(arrays=arrays.format(**constants), **constants)


STATEMENTS = {
    (False, False): _statement(COLUMNS, BY_DEFAULT),
    (False, True): _statement(COLUMNS | WORKLOADS, BY_OWN),
    (True, False): _statement(COLUMNS | PLACEMENT_COLUMNS, BY_DEFAULT),
    (True, True): _statement(COLUMNS | PLACEMENT_COLUMNS, BY_OWN),
}
"""By whether they are for placement, and whether any workload has constants of its own."""

Row = dict[str, Any]


async def fetch_hosts(
    *,
    at: datetime,
    window_hours: float | None = None,
    hosts: Collection[str] = (),
    labels: Mapping[str, str] | None = None,
    own: Own = NOBODY,
    for_placement: bool = False,
) -> list[Row]:
    """Hosts, by name, as rows for `build_host`: all of them, or those named (by name or id) that
    carry every label given. Hosts that are named are read live. `for_placement` adds what is in
    PLACEMENT_COLUMNS.

    Containers are read by the defaults, or by what their workloads have of their `own`; an explicit
    `window_hours` is for all.
    """
    hours = DEFAULT.window_hours if window_hours is None else window_hours
    return await db.fetch(
        STATEMENTS[for_placement, bool(own)],
        json.dumps(labels or {}),
        list(hosts) or None,
        list(STATES_COUNTED),
        DEFAULT.use_percentile,
        at - timedelta(seconds=DEFAULT.stale_after_seconds),
        at - timedelta(hours=hours),
        at + timedelta(seconds=BOUNDS.clock_ahead_seconds),
        at if hosts else at - recent.age_max(hours),
        hours,
        recent.SAMPLES_MIN,
        *(_columns_of(own, at, window_hours, is_live=bool(hosts)) if own else ()),
    )


def _columns_of(
    own: Own, at: datetime, window_hours: float | None, *, is_live: bool
) -> Iterator[Any]:
    """The columns of BY_OWN's table, and a bound on `at` of all, which is known beforehand."""
    policies = [one.policy for one in own.values()]
    default = window_hours or DEFAULT.window_hours
    hours = [float(window_hours or one.window_hours) for one in policies]
    silences = [one.stale_after_seconds for one in policies]
    yield list(own)
    yield [float(one.use_percentile) for one in policies]
    yield hours
    yield [at - timedelta(hours=one) for one in hours]
    yield [at - timedelta(seconds=one) for one in silences]
    yield [at if is_live else at - recent.age_max(one) for one in hours]
    yield at - max(timedelta(hours=max(default, *hours)), timedelta(seconds=max(silences)))


async def fetch_known(names: Collection[str]) -> set[str]:
    """Which of these are names or ids of hosts."""
    rows = await db.fetch(
        "SELECT name, id::text FROM fleet_host"
        " WHERE name = ANY($1::text[]) OR id::text = ANY($1::text[])",
        list(names),
    )
    return {value for row in rows for value in row.values()}


def build_host(row: Row) -> Host:
    """A host with its containers, from a row of `fetch_hosts`."""
    return Host(
        id=row["id"],
        name=row["name"],
        labels=json.loads(row["labels"]),
        last_seen_at=row["last_seen_at"],
        cpus=row["cpus"],
        memory_bytes=row["memory_bytes"],
        reserved_cpus=row["reserved_cpus"],
        reserved_memory_bytes=row["reserved_memory_bytes"],
        containers=Containers(
            [row[name] or () for name in (*COLUMNS, *PLACEMENT_COLUMNS) if name in row]
        ),
    )
