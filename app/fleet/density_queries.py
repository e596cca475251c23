"""What the density report reads: one statement, whatever the size of the fleet.

Percentiles are taken on the server, over the raw samples of the window. The answer is one row a
host with its containers in arrays: three hundred rows cost the event loop far less than fifteen
thousand.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from app import db
from app.fleet.density import STATES_COUNTED, Container, Host
from app.fleet.policy import DEFAULT, Policy
from app.fleet.shares import Measure

# name of the array -> the container's expression in it
COLUMNS = {
    "ids": "c.id",
    "names": "c.name",
    "states": "c.state",
    "heard_at": "greatest(c.last_seen_at, m.sampled_at)",
    "samples": "coalesce(m.samples, 0)",
    "cpu_reservation": "c.cpu_reservation",
    "cpu_limit": "c.cpu_limit",
    "cpu_current": "m.cpu_current",
    "cpu_p95": "m.cpu_p95",
    "memory_reservation": "c.memory_reservation_bytes::float8",
    "memory_limit": "c.memory_limit_bytes::float8",
    "memory_current": "m.memory_current::float8",
    "memory_p95": "m.memory_p95",
}
ARRAYS = ",\n    ".join(
    f"array_agg({expression} ORDER BY c.name, c.id) FILTER (WHERE c.id IS NOT NULL) AS {name}"
    for name, expression in COLUMNS.items()
)

# No upper bound on `at`: a sample of a host whose clock runs ahead is a sample of now.
HOSTS = f"""
WITH chosen AS (
    SELECT * FROM fleet_host
    WHERE labels @> $1::jsonb
        AND ($2::text[] IS NULL OR name = ANY($2::text[]) OR id::text = ANY($2::text[]))
),
counted AS (
    SELECT c.* FROM fleet_container c JOIN chosen h ON h.id = c.host_id
    WHERE c.state = ANY($3::text[])
),
measured AS (
    SELECT
        u.container_id,
        count(*) AS samples,
        max(u.at) AS sampled_at,
        percentile_cont($4::float8) WITHIN GROUP (ORDER BY u.cpu_cores) AS cpu_p95,
        percentile_cont($4::float8) WITHIN GROUP (ORDER BY u.memory_bytes) AS memory_p95,
        (array_agg(u.cpu_cores ORDER BY u.at DESC)
            FILTER (WHERE u.at >= $5::timestamptz))[1] AS cpu_current,
        (array_agg(u.memory_bytes ORDER BY u.at DESC)
            FILTER (WHERE u.at >= $5::timestamptz))[1] AS memory_current
    FROM fleet_usage u JOIN counted c ON c.id = u.container_id
    WHERE u.at >= $6::timestamptz
    GROUP BY u.container_id
)
SELECT
    h.id, h.name, h.labels::text AS labels, h.last_seen_at,
    h.cpus, h.memory_bytes, h.reserved_cpus, h.reserved_memory_bytes,
    {ARRAYS}
FROM chosen h
    LEFT JOIN counted c ON c.host_id = h.id
    LEFT JOIN measured m ON m.container_id = c.id
GROUP BY
    h.id, h.name, h.labels::text, h.last_seen_at,
    h.cpus, h.memory_bytes, h.reserved_cpus, h.reserved_memory_bytes
ORDER BY h.name
"""  # noqa: S608 - put together from constants

Row = dict[str, Any]


async def fetch_hosts(
    *,
    at: datetime,
    window_hours: float,
    hosts: Collection[str] = (),
    labels: Mapping[str, str] | None = None,
    policy: Policy = DEFAULT,
) -> list[Row]:
    """Hosts, by name, as rows for `build_host`: all of them, or those named (by name or id) that
    carry every label given.
    """
    return await db.fetch(
        HOSTS,
        json.dumps(labels or {}),
        list(hosts) or None,
        list(STATES_COUNTED),
        policy.use_percentile,
        at - timedelta(seconds=policy.stale_after_seconds),
        at - timedelta(hours=window_hours),
    )


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
        containers=tuple(
            Container(
                id=number,
                name=name,
                state=state,
                heard_at=heard_at,
                samples=samples,
                cpu=Measure(*measures[:4]),
                memory=Measure(*measures[4:]),
            )
            for number, name, state, heard_at, samples, *measures in _transposed(row)
        ),
    )


def _transposed(row: Row) -> Iterator[tuple[Any, ...]]:
    """A host's containers, each with its columns in the order of `COLUMNS`."""
    return zip(*(row[name] or () for name in COLUMNS), strict=True)
