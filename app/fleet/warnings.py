"""The warnings in the answer to a write of workloads: what is known of their use is read for it."""

from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from app.fleet.models import Workload
from app.fleet.policies import fetch_policies
from app.fleet.rightsizing import assess
from app.fleet.rightsizing_queries import amounts, fetch_members
from app.fleet.soft_constraints import find_warnings

RESOURCES = ("cpu_reservation", "cpu_limit", "memory_reservation_bytes", "memory_limit_bytes")


async def warn(workloads: Sequence[Workload], *, are_new: bool = False) -> None:
    """Set `warnings` of each workload, as it stands. Nothing is read for new ones."""
    policies = await fetch_policies()
    at = timezone.now()
    ids = [] if are_new else [workload.pk for workload in workloads]
    members = await fetch_members(workload_ids=ids, policies=policies, at=at) if ids else None
    for workload in workloads:
        spec: dict[str, Any] = {name: getattr(workload, name) for name in (*RESOURCES, "placement")}
        effective = policies.effective(team_id=workload.team_id, workload_id=workload.pk)
        assessment = None
        if members is not None:
            cpu, memory = amounts(spec)
            evidence = members.evidence_of_workload(workload.pk, at=at, policy=effective.policy)
            assessment = assess(evidence, cpu=cpu, memory=memory, policy=effective.policy)
        found = find_warnings(spec, assessment, effective.policy)
        workload.warnings = [one._asdict() for one in found]
