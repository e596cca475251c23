"""What right-sizing reads: the summaries of what is rolled up, the samples since, the OOM kills.

A fixed number of statements, whatever the number of containers. Samples of hours that are not
rolled up yet are read one by one: above OPEN_MAX containers they are left out unless asked for, and
what is told is up to an hour old. OOM kills are always told at once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from app import db
from app.fleet.bounds import BOUNDS
from app.fleet.histograms import Layout
from app.fleet.policies import NOBODYS, Policies
from app.fleet.policy import DEFAULT, Policy
from app.fleet.rightsizing import Amounts, Evidence, Kill, Part, combine
from app.fleet.storages import fetch_storages, group

OPEN_MAX = 500
"""Containers whose newest samples are read one by one: five hundred have 180,000 an hour."""
CHUNK = 1_000
"""Containers of many whose evidence is read at once; it takes some kilobytes each."""

SUMMARIES = """
    SELECT container_id, reference, samples, first_at, last_at, cpu_weights::text AS cpu,
        memory_weights::text AS memory, peaks::text AS peaks, startup_memory_bytes, layout
    FROM fleet_usage_summary JOIN unnest($1::bigint[]) AS chosen (container_id) USING (container_id)
"""
# An hour is in the summary as a whole or not at all, the oldest first: what is not in it begins
# after `reference`. What is grouped is not joined: a plan that PostgreSQL makes for any containers
# grouped anew for each of them.
OPEN = """
    WITH chosen AS (
        SELECT c.id, c.started_at,
            coalesce(s.reference + interval '1 hour', $2::timestamptz) AS since
        FROM unnest($1::bigint[]) AS asked (id)
            JOIN fleet_container c USING (id)
            LEFT JOIN fleet_usage_summary s ON s.container_id = c.id
    ), sample AS MATERIALIZED (
        SELECT c.id, u.at, u.cpu_cores, u.memory_bytes,
            u.at >= c.started_at AND u.at <= c.started_at + $4::interval AS is_start,
            floor(ln(u.cpu_cores * ($5::float8 - 1) / $6::float8 + 1) / ln($5::float8))::int
                AS cpu_bucket,
            floor(ln(u.memory_bytes * ($5::float8 - 1) / $7::float8 + 1) / ln($5::float8))::int
                AS memory_bucket
        FROM chosen c JOIN fleet_usage u ON u.container_id = c.id AND u.at >= c.since
            AND u.at >= $2::timestamptz AND u.at <= $3::timestamptz
    ), part AS (
        SELECT id, true AS is_cpu, cpu_bucket AS bucket, count(*) AS samples, min(at) AS first_at,
            max(at) AS last_at, max(cpu_cores) AS cpu_max, max(memory_bytes) AS memory_max,
            max(memory_bytes) FILTER (WHERE is_start) AS startup_memory_bytes
        FROM sample GROUP BY id, cpu_bucket
        UNION ALL
        SELECT id, false, memory_bucket, count(*), NULL, NULL, NULL, NULL, NULL
        FROM sample GROUP BY id, memory_bucket
    )
    SELECT id, (sum(samples) FILTER (WHERE is_cpu))::bigint AS samples,
        min(first_at) AS first_at, max(last_at) AS last_at,
        max(cpu_max) AS cpu_max, max(memory_max) AS memory_max,
        max(startup_memory_bytes) AS startup_memory_bytes,
        (jsonb_object_agg(bucket, samples) FILTER (WHERE is_cpu))::text AS cpu,
        (jsonb_object_agg(bucket, samples) FILTER (WHERE NOT is_cpu))::text AS memory,
        $8::float8[] AS layout
    FROM part GROUP BY id
"""
KILLS = """
    SELECT container_id, at, memory_bytes
    FROM fleet_oom_kill JOIN unnest($1::bigint[]) AS chosen (container_id) USING (container_id)
"""

# Replaced replicas are evidence too.
MEMBERS = """
    SELECT c.id, c.workload_id
    FROM unnest($1::bigint[]) AS chosen (id) JOIN fleet_container c ON c.workload_id = chosen.id
    WHERE c.state <> 'removed' OR c.last_seen_at >= $2::timestamptz - $3::float8 * interval '1 day'
"""

Row = dict[str, Any]


class Observed(NamedTuple):
    """What is stored of a container's use; `build_evidence` makes Evidence of it by a policy."""

    summary: Row | None
    open: Row | None
    """What is not in the summary yet."""
    kills: tuple[Kill, ...]


NOTHING = Observed(None, None, ())


async def fetch_observed(
    container_ids: Sequence[int],
    *,
    at: datetime,
    with_open: bool | None = None,
    policies: Policies = NOBODYS,
) -> dict[int, Observed]:
    """What is stored of each container, by its id; one of which nothing is known is left out.

    `with_open` says whether to read the samples that are not rolled up yet: if None, up to OPEN_MAX
    containers.
    """
    ids = list(container_ids)
    if with_open is None:
        with_open = len(ids) <= OPEN_MAX
    summaries = {row["container_id"]: row for row in await db.fetch(SUMMARIES, ids)}
    opened = await _fetch_open(ids, at, policies) if with_open else {}
    kills: dict[int, list[Kill]] = {}
    for row in await db.fetch(KILLS, ids):
        kill = Kill(row["at"], row["memory_bytes"], row["container_id"])
        kills.setdefault(kill.container_id, []).append(kill)
    return {
        pk: Observed(
            summaries.get(pk), opened.get(pk), tuple(sorted(kills.get(pk, ()), key=_by_at))
        )
        for pk in summaries.keys() | opened.keys() | kills.keys()
    }


def _by_at(kill: Kill) -> datetime:
    return kill.at


async def _fetch_open(ids: list[int], at: datetime, policies: Policies) -> dict[int, Row]:
    opened: dict[int, Row] = {}
    for storage, some in group(ids, await fetch_storages(policies, ids)).items():
        rows = await db.fetch(
            OPEN,
            some,
            at - timedelta(hours=BOUNDS.window_hours_max),
            at + timedelta(seconds=BOUNDS.clock_ahead_seconds),
            timedelta(seconds=storage.startup_seconds),
            *storage.layout,
            storage.layout.stored,
        )
        opened |= {row["id"]: row for row in rows}
    return opened


def build_evidence(observed: Observed, *, at: datetime, policy: Policy = DEFAULT) -> Evidence:
    """The evidence of one container. Peaks count by whole days (UTC), kills to the second."""
    summary, opened, kills = observed
    since, first_day = _window(at, policy.evidence_days)
    if kills:
        kills = tuple(kill for kill in kills if kill.at >= since)
    if summary is None and opened is None:
        return Evidence(kills=kills)
    peaks: list[tuple[float, float]] = []
    rows = []
    if summary is not None:
        days = orjson.loads(summary["peaks"])
        peaks += [peak for day, peak in days.items() if int(day) >= first_day]
        rows.append((summary, summary["reference"]))
    if opened is not None:
        peaks.append((opened["cpu_max"], opened["memory_max"]))
        rows.append((opened, opened["last_at"].replace(minute=0, second=0, microsecond=0)))
    startups = [row["startup_memory_bytes"] for row, _ in rows if row["startup_memory_bytes"]]
    return Evidence(
        samples=sum([row["samples"] for row, _ in rows]),
        first_at=min([row["first_at"] for row, _ in rows]),
        last_at=max([row["last_at"] for row, _ in rows]),
        parts=tuple(
            [
                Part(
                    reference,
                    orjson.loads(row["cpu"]),
                    orjson.loads(row["memory"]),
                    Layout.read(row["layout"]),
                )
                for row, reference in rows
            ]
        ),
        cpu_peak=max([cpu for cpu, _ in peaks], default=None),
        memory_peak=max([memory for _, memory in peaks], default=None),
        startup_peak=max(startups, default=None),
        kills=kills,
    )


@lru_cache(maxsize=16)
def _window(at: datetime, days: float) -> tuple[datetime, float]:
    """From when kills count, and from which day since 1970 peaks do."""
    since = at - timedelta(days=days)
    return since, since.astimezone(UTC).timestamp() // 86_400


@dataclass(frozen=True, slots=True)
class Members:
    """The containers of workloads, and what is stored of each."""

    by_workload: Mapping[int, tuple[int, ...]]
    observed: Mapping[int, Observed]

    def evidence(self, container_id: int, *, at: datetime, policy: Policy) -> Evidence:
        return build_evidence(self.observed.get(container_id, NOTHING), at=at, policy=policy)

    def evidence_of_workload(self, workload_id: int, *, at: datetime, policy: Policy) -> Evidence:
        ids = self.by_workload.get(workload_id, ())
        return combine(self.evidence(pk, at=at, policy=policy) for pk in ids)


async def fetch_members(
    *,
    workload_ids: Collection[int],
    policies: Policies,
    at: datetime,
    container_ids: Collection[int] = (),
    with_open: bool | None = None,
) -> Members:
    """What is stored of these containers and of all that belong to these workloads, replaced ones
    of the window included."""
    by_workload: dict[int, list[int]] = {}
    for row in await db.fetch(MEMBERS, list(workload_ids), at, policies.evidence_days):
        by_workload.setdefault(row["workload_id"], []).append(row["id"])
    ids = {pk for pks in by_workload.values() for pk in pks}
    observed = await fetch_observed(
        sorted(ids.union(container_ids)), at=at, with_open=with_open, policies=policies
    )
    return Members({pk: tuple(ids) for pk, ids in by_workload.items()}, observed)


def amounts(row: Mapping[str, Any]) -> tuple[Amounts, Amounts]:
    """What a row of containers or workloads declares, cpu and memory; Docker's 0 is none."""
    return (
        Amounts(row["cpu_reservation"] or None, row["cpu_limit"] or None),
        Amounts(row["memory_reservation_bytes"] or None, row["memory_limit_bytes"] or None),
    )
