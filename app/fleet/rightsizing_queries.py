"""What right-sizing reads: the summaries of what is rolled up, the samples since, the OOM kills.

A fixed number of statements, whatever the number of containers. Samples of hours that are not
rolled up yet are read one by one: above OPEN_MAX containers they are left out unless asked for, and
what is told is up to an hour old. OOM kills are always told at once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from app import db
from app.fleet.policies import Policies
from app.fleet.policy import DEFAULT, Policy
from app.fleet.rightsizing import Amounts, Evidence, Kill, Part, combine

OPEN_MAX = 500
"""Containers whose newest samples are read one by one: five hundred have 180,000 an hour."""

SUMMARIES = """
    SELECT container_id, reference, samples, first_at, last_at, cpu_weights::text AS cpu,
        memory_weights::text AS memory, peaks::text AS peaks, startup_memory_bytes
    FROM fleet_usage_summary JOIN unnest($1::bigint[]) AS chosen (container_id) USING (container_id)
"""
# An hour is in the summary as a whole or not at all, the oldest first: what is not in it begins
# after `reference`.
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
    ), cpu AS (
        SELECT id, jsonb_object_agg(cpu_bucket, samples) AS histogram
        FROM (SELECT id, cpu_bucket, count(*) AS samples FROM sample GROUP BY 1, 2) AS b GROUP BY id
    ), memory AS (
        SELECT id, jsonb_object_agg(memory_bucket, samples) AS histogram
        FROM (SELECT id, memory_bucket, count(*) AS samples FROM sample GROUP BY 1, 2) b GROUP BY id
    )
    SELECT t.*, cpu.histogram::text AS cpu, memory.histogram::text AS memory
    FROM (
        SELECT id, count(*) AS samples, min(at) AS first_at, max(at) AS last_at,
            max(cpu_cores) AS cpu_max, max(memory_bytes) AS memory_max,
            max(memory_bytes) FILTER (WHERE is_start) AS startup_memory_bytes
        FROM sample GROUP BY id
    ) t JOIN cpu USING (id) JOIN memory USING (id)
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
    policy: Policy = DEFAULT,
) -> dict[int, Observed]:
    """What is stored of each container, by its id; one of which nothing is known is left out.

    `with_open` says whether to read the samples that are not rolled up yet: if None, up to OPEN_MAX
    containers.
    """
    ids = list(container_ids)
    if with_open is None:
        with_open = len(ids) <= OPEN_MAX
    summaries = {row["container_id"]: row for row in await db.fetch(SUMMARIES, ids)}
    opened = await _fetch_open(ids, at, policy) if with_open else {}
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


async def _fetch_open(ids: list[int], at: datetime, policy: Policy) -> dict[int, Row]:
    rows = await db.fetch(
        OPEN,
        ids,
        at - timedelta(hours=policy.window_hours_max),
        at + timedelta(seconds=policy.clock_ahead_seconds),
        timedelta(seconds=policy.startup_seconds),
        policy.histogram_bucket_growth,
        policy.histogram_cpu_first_cores,
        float(policy.histogram_memory_first_bytes),
    )
    return {row["id"]: row for row in rows}


def build_evidence(observed: Observed, *, at: datetime, policy: Policy = DEFAULT) -> Evidence:
    """The evidence of one container. Peaks count by whole days (UTC), kills to the second."""
    summary, opened, kills = observed
    since = at - timedelta(days=policy.evidence_days)
    evidence = Evidence(kills=tuple(kill for kill in kills if kill.at >= since))
    peaks: list[tuple[float, float]] = []
    rows = []
    if summary:
        first_day = since.astimezone(UTC).timestamp() // 86_400
        days = orjson.loads(summary["peaks"])
        peaks += [(cpu, memory) for day, (cpu, memory) in days.items() if int(day) >= first_day]
        rows.append((summary, summary["reference"]))
    if opened:
        peaks.append((opened["cpu_max"], opened["memory_max"]))
        rows.append((opened, opened["last_at"].replace(minute=0, second=0, microsecond=0)))
    if not rows:
        return evidence
    startups = [row["startup_memory_bytes"] for row, _ in rows if row["startup_memory_bytes"]]
    return Evidence(
        samples=sum(row["samples"] for row, _ in rows),
        first_at=min(row["first_at"] for row, _ in rows),
        last_at=max(row["last_at"] for row, _ in rows),
        parts=tuple(
            Part(reference, orjson.loads(row["cpu"]), orjson.loads(row["memory"]))
            for row, reference in rows
        ),
        cpu_peak=max((cpu for cpu, _ in peaks), default=None),
        memory_peak=max((memory for _, memory in peaks), default=None),
        startup_peak=max(startups, default=None),
        kills=evidence.kills,
    )


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
    observed = await fetch_observed(sorted(ids.union(container_ids)), at=at, with_open=with_open)
    return Members({pk: tuple(ids) for pk, ids in by_workload.items()}, observed)


def amounts(row: Mapping[str, Any]) -> tuple[Amounts, Amounts]:
    """What a row of containers or workloads declares, cpu and memory; Docker's 0 is none."""
    return (
        Amounts(row["cpu_reservation"] or None, row["cpu_limit"] or None),
        Amounts(row["memory_reservation_bytes"] or None, row["memory_limit_bytes"] or None),
    )
