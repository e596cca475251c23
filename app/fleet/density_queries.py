"""What the density report reads: one statement, whatever the size of the fleet.

Percentiles are taken on the server, over the raw samples of the window; of a large fleet they are
taken beforehand (`app.fleet.recent`), and `measured_at` says when. The answer is one row a host
with its containers in arrays: three hundred rows cost the event loop far less than fifteen
thousand.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app import db
from app.fleet import recent
from app.fleet.density import STATES_COUNTED, Container, Host
from app.fleet.policy import DEFAULT, Policy
from app.fleet.shares import Measure

# name of the array -> the container's expression in it
COLUMNS = {
    "ids": "c.id",
    "names": "c.name",
    "states": "c.state",
    "heard_at": "greatest(c.last_seen_at, newest.at)",
    "samples": "coalesce(r.samples, m.samples)",
    "cpu_reservation": "c.cpu_reservation",
    "cpu_limit": "c.cpu_limit",
    "cpu_current": "CASE WHEN newest.at >= $5::timestamptz THEN newest.cpu_cores END",
    "cpu_p95": "coalesce(r.cpu_p95, m.cpu_p95)",
    "memory_reservation": "c.memory_reservation_bytes::float8",
    "memory_limit": "c.memory_limit_bytes::float8",
    "memory_current": (
        "CASE WHEN newest.at >= $5::timestamptz THEN newest.memory_bytes::float8 END"
    ),
    "memory_p95": "coalesce(r.memory_p95, m.memory_p95)",
}
ARRAYS = ",\n    ".join(
    f"array_agg({expression} ORDER BY c.name, c.id) FILTER (WHERE c.id IS NOT NULL) AS {name}"
    for name, expression in COLUMNS.items()
)

# A sample of a host whose clock runs ahead is a sample of now. The bounds on `at` let PostgreSQL
# skip the partitions of other days.
HOSTS = f"""
SELECT
    h.id, h.name, h.labels::text AS labels, h.last_seen_at,
    h.cpus, h.memory_bytes, h.reserved_cpus, h.reserved_memory_bytes,
    min(r.computed_at) AS measured_at,
    {ARRAYS}
FROM fleet_host h
    LEFT JOIN fleet_container c ON c.host_id = h.id AND c.state = ANY($3::text[])
    LEFT JOIN fleet_usage_recent r ON r.container_id = c.id AND r.computed_at >= $8::timestamptz
        AND r.window_hours = $9::float8 AND r.samples >= $10::int
    LEFT JOIN LATERAL (
        SELECT
            count(*) AS samples,
            percentile_cont($4::float8) WITHIN GROUP (ORDER BY u.cpu_cores) AS cpu_p95,
            percentile_cont($4::float8) WITHIN GROUP (ORDER BY u.memory_bytes) AS memory_p95
        FROM fleet_usage u
        WHERE r.container_id IS NULL
            AND u.container_id = c.id AND u.at >= $6::timestamptz AND u.at <= $7::timestamptz
    ) m ON true
    LEFT JOIN LATERAL (
        SELECT u.at, u.cpu_cores, u.memory_bytes FROM fleet_usage u
        WHERE u.container_id = c.id AND u.at >= $6::timestamptz AND u.at <= $7::timestamptz
        ORDER BY u.at DESC LIMIT 1
    ) newest ON true
WHERE h.labels @> $1::jsonb
    AND ($2::text[] IS NULL OR h.name = ANY($2::text[]) OR h.id::text = ANY($2::text[]))
GROUP BY h.id
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
    carry every label given. Hosts that are named are read live.
    """
    return await db.fetch(
        HOSTS,
        json.dumps(labels or {}),
        list(hosts) or None,
        list(STATES_COUNTED),
        policy.use_percentile,
        at - timedelta(seconds=policy.stale_after_seconds),
        at - timedelta(hours=window_hours),
        at + timedelta(seconds=policy.clock_ahead_seconds),
        at if hosts else at - recent.AGE_MAX,
        window_hours,
        recent.SAMPLES_MIN,
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
        containers=Containers(tuple(row[name] or () for name in COLUMNS)),
    )


class Containers(Collection[Container]):
    """A host's containers as they came, in columns; each is made when it is asked for.

    Fifteen thousand that are kept would make every round of the garbage collector a long one.
    """

    def __init__(self, columns: tuple[Sequence[Any], ...]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns[0])

    def __contains__(self, container: object) -> bool:
        return any(one == container for one in self)

    def __iter__(self) -> Iterator[Container]:
        for number, name, state, heard_at, samples, *measures in zip(*self._columns, strict=True):
            yield Container(
                id=number,
                name=name,
                state=state,
                heard_at=heard_at,
                samples=samples,
                cpu=Measure(*measures[:4]),
                memory=Measure(*measures[4:]),
            )
