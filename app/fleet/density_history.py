"""Density over time: what the report came to, hour by hour, for each host.

Once an hour a worker makes the report and keeps its sums: what was reserved and allocatable then
cannot be told from usage later. A host that was not heard of in an hour counts as the report counts
it, with what was last known.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app import db
from app.fleet.density import Density, Resource, assess_host
from app.fleet.density_queries import build_host, fetch_hosts
from app.fleet.policies import fetch_own, fetch_policies
from app.fleet.policy import COUNTED, Own
from app.fleet.turns import in_turns

SUMS = ("allocatable", "reservations", "limits", "use", "use_p95")
NAMES = [f"{resource}_{name}" for resource in ("cpu", "memory") for name in SUMS]

LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('fleet_density_hour', 0)) AS is_ours"
IS_KEPT = "SELECT EXISTS (SELECT 1 FROM fleet_density_hour WHERE hour = %s::timestamptz) AS is_kept"
KEEP = f"""
    INSERT INTO fleet_density_hour (host_id, hour, containers, {", ".join(NAMES)})
    SELECT h.id, $1::timestamptz, r.containers, {", ".join(f"r.{name}" for name in NAMES)}
    FROM jsonb_to_recordset($2::text::jsonb) AS r (
        host_id bigint, containers int, {", ".join(f"{name} float8" for name in NAMES)}
    ) JOIN fleet_host h ON h.id = r.host_id
    ORDER BY h.id FOR KEY SHARE OF h
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - put together from constants
POINTS = f"""
    SELECT d.hour AS at, count(*) AS hosts, sum(d.containers) AS containers,
        {", ".join(f"sum(d.{name}) AS {name}" for name in NAMES)}
    FROM fleet_density_hour d JOIN fleet_host h ON h.id = d.host_id
    WHERE d.hour >= $1::timestamptz AND d.hour <= $2::timestamptz AND h.labels @> $3::jsonb
        AND ($4::text[] IS NULL OR h.name = ANY($4::text[]) OR h.id::text = ANY($4::text[]))
    GROUP BY d.hour ORDER BY d.hour
"""  # noqa: S608 - put together from constants
FORGET = "DELETE FROM fleet_density_hour WHERE hour < %s::timestamptz"


async def keep_hour(*, now: datetime) -> int:
    """Keep this hour's sums, unless they are kept; the number of hosts. One worker does it."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    async with db.atomic():
        (turn,) = await db.fetch(LOCK)
        (row,) = await db.fetch(IS_KEPT, hour)
        if not turn["is_ours"] or row["is_kept"]:
            return 0
        own = await fetch_own(await fetch_policies(), COUNTED)
        rows = await fetch_hosts(at=now, own=own)
        kept = [_sums(build_host(row), now, own) async for row in in_turns(rows)]
        return await db.execute(KEEP, hour, json.dumps(kept))


def _sums(host: Any, now: datetime, own: Own) -> dict[str, Any]:
    assessed = assess_host(host, at=now, own=own)
    sums = {
        f"{resource}_{name}": getattr(assessed.densities[resource], name)
        for resource in Resource
        for name in SUMS
    }
    return {"host_id": host.id, "containers": assessed.containers_counted, **sums}


async def forget_hours(*, now: datetime, keep_days: int) -> int:
    """Drop what is older. The number of rows: a few hundred an hour, three hundred hosts' worth."""
    return await db.execute(FORGET, now - timedelta(days=keep_days))


@dataclass(frozen=True, slots=True)
class DensityHistory:
    """`points` are dicts: `at`, `hosts`, `containers`, `cpu` and `memory`, those as Density."""

    since: datetime
    until: datetime
    points: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "points": [
                {
                    "at": point["at"].isoformat(),
                    "hosts": point["hosts"],
                    "containers": point["containers"],
                    **{str(one): density_as_dict(point[one]) for one in Resource},
                }
                for point in self.points
            ],
        }


def density_as_dict(density: Density) -> dict[str, Any]:
    told = density.as_dict()
    ratios = ("packing", "usage", "overcommit", "slack")
    return {name: told[name] for name in ("unit", *SUMS, *ratios)}


async def fetch_density_history(
    *,
    since: datetime,
    until: datetime,
    hosts: Collection[str] = (),
    labels: Mapping[str, str] | None = None,
) -> DensityHistory:
    """What was kept of these hosts (by name or id; all, if none is named) that carry the labels."""
    rows = await db.fetch(POINTS, since, until, json.dumps(labels or {}), list(hosts) or None)
    return DensityHistory(since, until, [_point(row) for row in rows])


def _point(row: Mapping[str, Any]) -> dict[str, Any]:
    point = {name: row[name] for name in ("at", "hosts", "containers")}
    for one in Resource:
        point[one] = Density(
            resource=one,
            capacity=row[f"{one}_allocatable"],
            system=0,
            reservations=row[f"{one}_reservations"],
            limits=row[f"{one}_limits"],
            use=row[f"{one}_use"],
            use_p95=row[f"{one}_use_p95"],
            basis={},
        )
    return point
