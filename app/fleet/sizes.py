"""How much room a container needs: the sizes that headroom and repack plans count with, `rec(w)`.

Each resource of a container is, the first that is known:

    recommended   the reservation that right-sizing recommends for its workload (all replicas'
                  evidence together), else for the container itself
    declared      what it reserves now, at least the policy's floor
    observed      the percentile that would be reserved, of the little that was observed so far
    floor         the policy's floor

so no container ever has size 0, and none is guessed where its owner or right-sizing says better.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from app import db
from app.fleet.policies import Policies, fetch_policies
from app.fleet.policy import Policy
from app.fleet.remembered import AT_ONCE, Memory, expires, fetch_stamps
from app.fleet.rightsizing import Amounts, Assessment, Evidence, Sizing, Uses, assess
from app.fleet.rightsizing_queries import CHUNK, Row, amounts, fetch_members
from app.fleet.turns import in_turns

CONTAINERS = """
    SELECT c.id, c.workload_id, w.team_id, c.cpu_reservation, c.cpu_limit,
        c.memory_reservation_bytes, c.memory_limit_bytes
    FROM unnest($1::bigint[]) AS chosen (id) JOIN fleet_container c USING (id)
        LEFT JOIN fleet_workload w ON w.id = c.workload_id
"""
WORKLOADS = """
    SELECT w.id, w.id AS workload_id, w.team_id, w.cpu_reservation, w.cpu_limit,
        w.memory_reservation_bytes, w.memory_limit_bytes
    FROM unnest($1::bigint[]) AS chosen (id) JOIN fleet_workload w USING (id)
"""


class Size(NamedTuple):
    """What one container needs; both are above 0. The bases are as the module's table says."""

    cpus: float
    memory_bytes: int
    cpu_basis: str
    memory_basis: str


class Sized(NamedTuple):
    """A size that is remembered."""

    stamp: int
    since: float
    until: float
    size: Size


MEMORY: Memory[Sized] = Memory()
"""The worker's own."""


async def fetch_sizes(*, container_ids: Collection[int], at: datetime) -> dict[int, Size]:
    """The size of each of these containers, by id; ids of no container are left out.

    Six statements for up to CHUNK containers. Of more, those whose evidence has changed since they
    were asked for last are sized anew, a CHUNK at a time, in turns of 5 ms between which the event
    loop serves others. Samples since the last full hour count up
    to `rightsizing_queries.OPEN_MAX` containers (with their workloads'), OOM kills always.
    """
    ids, rows = list(container_ids), []
    for start in range(0, len(ids), AT_ONCE):
        rows += await db.fetch(CONTAINERS, ids[start : start + AT_ONCE])
    policies = await fetch_policies()
    if len(rows) <= CHUNK:
        found = await _fetch_some(rows, policies, at, with_open=None)
        return {pk: known.size for pk, known in found.items()}
    return await _remembered(rows, policies, at)


async def _remembered(rows: list[Row], policies: Policies, at: datetime) -> dict[int, Size]:
    """Of many, those whose evidence has changed are sized anew."""
    rows.sort(key=lambda row: row["workload_id"] or 0)
    stamps = await _fetch_stamps(rows, policies, at)
    sizes: dict[int, Size] = {}
    missing = [row async for row in in_turns(rows) if not _recall(row, stamps, at, sizes)]
    for start in range(0, len(missing), CHUNK):
        async with MEMORY.turn:
            batch = missing[start : start + CHUNK]
            # Less what another computed who asked meanwhile.
            left = [row for row in batch if not _recall(row, stamps, at, sizes)]
            for pk, made in (await _fetch_some(left, policies, at, with_open=False)).items():
                sizes[pk] = made.size
                MEMORY.keep((False, pk), made._replace(stamp=stamps[pk]))
    return sizes


def _recall(row: Row, stamps: dict[int, int], at: datetime, sizes: dict[int, Size]) -> bool:
    """Puts the container's size to the others, if it is remembered; whether it is."""
    pk = row["id"]
    found = MEMORY.find((False, pk), stamp=stamps[pk], at=at)
    if found is not None:
        sizes[pk] = found.size
    return found is not None


async def _fetch_stamps(rows: Sequence[Row], policies: Policies, at: datetime) -> dict[int, int]:
    """By id, of all that the size of each comes from."""
    workload_ids = {row["workload_id"] for row in rows if row["workload_id"] is not None}
    days = policies.evidence_days
    ids = [row["id"] for row in rows]
    own = await fetch_stamps(ids, is_workload=False, at=at, evidence_days=days)
    shared = await fetch_stamps(workload_ids, is_workload=True, at=at, evidence_days=days)
    stamps = {}
    async for row in in_turns(rows):
        pk, workload_id = row["id"], row["workload_id"]
        policy = policies.effective(team_id=row["team_id"], workload_id=workload_id).policy
        versions = own.get(pk), shared.get(workload_id) if workload_id is not None else None
        stamps[pk] = hash((*versions, workload_id, amounts(row), policy))
    return stamps


async def _fetch_some(
    rows: Sequence[Row], policies: Policies, at: datetime, *, with_open: bool | None
) -> dict[int, Sized]:
    """Computed anew; without stamps."""
    workload_ids = {row["workload_id"] for row in rows if row["workload_id"] is not None}
    members = await fetch_members(
        workload_ids=workload_ids,
        container_ids=[row["id"] for row in rows],
        policies=policies,
        at=at,
        with_open=with_open,
    )
    of_workloads: dict[int, tuple[Evidence, Uses]] = {}
    known: dict[tuple[int, Amounts, Amounts], Assessment] = {}
    sizes: dict[int, Sized] = {}
    async for row in in_turns(rows):
        policy = policies.effective(team_id=row["team_id"], workload_id=row["workload_id"]).policy
        cpu, memory = amounts(row)
        assessed = []
        if (pk := row["workload_id"]) is not None:
            key = (pk, cpu, memory)
            if key not in known:  # replicas are mostly alike
                if pk not in of_workloads:
                    evidence = members.evidence_of_workload(pk, at=at, policy=policy)
                    of_workloads[pk] = (evidence, Uses.of(evidence, policy))
                evidence, uses = of_workloads[pk]
                known[key] = assess(evidence, cpu=cpu, memory=memory, policy=policy, uses=uses)
            assessed.append(known[key])
        if not assessed or None in (assessed[0].cpu.recommended, assessed[0].memory.recommended):
            evidence = members.evidence(row["id"], at=at, policy=policy)
            assessed.append(assess(evidence, cpu=cpu, memory=memory, policy=policy))
        until = min(expires(one.evidence, policy=policy, at=at) for one in assessed)
        size = _size(cpu, memory, assessed, policy)
        sizes[row["id"]] = Sized(0, at.timestamp(), until, size)
    return sizes


async def fetch_workload_sizes(*, workload_ids: Collection[int], at: datetime) -> dict[int, Size]:
    """The size of one replica of each of these workloads, by id; its spec counts as declared."""
    rows = await db.fetch(WORKLOADS, list(workload_ids))
    policies = await fetch_policies()
    members = await fetch_members(
        workload_ids=[row["id"] for row in rows], policies=policies, at=at
    )
    sizes: dict[int, Size] = {}
    async for row in in_turns(rows):
        policy = policies.effective(team_id=row["team_id"], workload_id=row["id"]).policy
        cpu, memory = amounts(row)
        evidence = members.evidence_of_workload(row["id"], at=at, policy=policy)
        assessed = assess(evidence, cpu=cpu, memory=memory, policy=policy)
        sizes[row["id"]] = _size(cpu, memory, [assessed], policy)
    return sizes


def _size(cpu: Amounts, memory: Amounts, assessed: list[Assessment], policy: Policy) -> Size:
    cpus, cpu_basis = _amount(
        [one.cpu for one in assessed],
        cpu.reservation,
        policy.cpu_reservation_percentile,
        policy.cpu_floor_cores,
    )
    memory_bytes, memory_basis = _amount(
        [one.memory for one in assessed],
        memory.reservation,
        policy.memory_reservation_percentile,
        policy.memory_floor_bytes,
    )
    return Size(cpus, int(memory_bytes), cpu_basis, memory_basis)


def _amount(
    assessed: list[Sizing], declared: float | None, share: float, floor: float
) -> tuple[float, str]:
    for one in assessed:
        if one.recommended is not None and one.recommended.reservation is not None:
            return one.recommended.reservation, "recommended"
    if declared is not None:
        return max(declared, floor), "declared"
    for one in assessed:
        observed = one.use.percentile(share)
        if observed is not None and observed > floor:
            return round(observed, 6), "observed"
    return floor, "floor"
