"""How much room a container needs: the sizes that headroom and repack plans count with, `rec(w)`.

Each resource of a container is, the first that is known:

    recommended   the reservation that right-sizing recommends for its workload (all replicas'
                  evidence together), else for the container itself
    declared      what it reserves now, at least the policy's floor
    observed      the percentile that would be reserved, of the little that was observed so far
    floor         the policy's floor

so no container ever has size 0, and none is guessed where its owner or right-sizing says better.
"""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from app import db
from app.fleet.policies import fetch_policies
from app.fleet.policy import Policy
from app.fleet.rightsizing import Amounts, Assessment, Sizing, assess
from app.fleet.rightsizing_queries import amounts, fetch_members
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


async def fetch_sizes(*, container_ids: Collection[int], at: datetime) -> dict[int, Size]:
    """The size of each of these containers, by id; ids of no container are left out.

    Six statements, whatever the number of containers; fifteen thousand take some seconds, in turns
    of 5 ms between which the event loop serves others. Samples since the last full hour count up
    to `rightsizing_queries.OPEN_MAX` containers (with their workloads'), OOM kills always.
    """
    rows = await db.fetch(CONTAINERS, list(container_ids))
    policies = await fetch_policies()
    workload_ids = {row["workload_id"] for row in rows if row["workload_id"] is not None}
    members = await fetch_members(
        workload_ids=workload_ids,
        container_ids=[row["id"] for row in rows],
        policies=policies,
        at=at,
    )
    known: dict[tuple[int, Amounts, Amounts], Assessment] = {}
    sizes: dict[int, Size] = {}
    async for row in in_turns(rows):
        policy = policies.effective(team_id=row["team_id"], workload_id=row["workload_id"]).policy
        cpu, memory = amounts(row)
        assessed = []
        if (pk := row["workload_id"]) is not None:
            key = (pk, cpu, memory)
            if key not in known:  # replicas are mostly alike
                evidence = members.evidence_of_workload(pk, at=at, policy=policy)
                known[key] = assess(evidence, cpu=cpu, memory=memory, policy=policy)
            assessed.append(known[key])
        if not assessed or None in (assessed[0].cpu.recommended, assessed[0].memory.recommended):
            evidence = members.evidence(row["id"], at=at, policy=policy)
            assessed.append(assess(evidence, cpu=cpu, memory=memory, policy=policy))
        sizes[row["id"]] = _size(cpu, memory, assessed, policy)
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
