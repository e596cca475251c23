"""What is true of a workload, each with a reason for programs and a message for people. Pure.

Conditions, not phases: several may hold at once, and each says since when.

    Ready          as many containers run as are asked for
    Progressing    what was asked for last is not applied yet
    Degraded       containers restart, or are dead
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

Condition = dict[str, Any]
"""{"type", "status" (true or false), "reason", "message", "since" (ISO 8601)}"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What conditions are drawn from."""

    replicas: int
    generation: int
    observed_generation: int
    running: int = 0
    failing: int = 0
    """Containers that restart or are dead."""


def assess(facts: Facts, *, before: list[Condition], at: datetime) -> list[Condition]:
    """The conditions now. `since` is kept where the status is what it was before."""
    statuses = {one["type"]: one for one in before}
    conditions = []
    for name, (status, reason, message) in _judge(facts).items():
        earlier = statuses.get(name)
        is_same = earlier is not None and earlier["status"] == status
        conditions.append(
            {
                "type": name,
                "status": status,
                "reason": reason,
                "message": message,
                "since": earlier["since"] if earlier and is_same else at.isoformat(),
            }
        )
    return conditions


def _judge(facts: Facts) -> dict[str, tuple[bool, str, str]]:
    running, replicas = facts.running, facts.replicas
    count = f"{running} of {replicas} replicas run."
    if running == replicas:
        ready = (True, "ReplicasRunning" if replicas else "ScaledToZero", count)
    elif running < replicas:
        ready = (False, "TooFewReplicas", count)
    else:
        ready = (False, "TooManyReplicas", count)
    applied = f"Generation {facts.observed_generation} of {facts.generation} is applied."
    is_behind = facts.observed_generation < facts.generation
    failing = f"{facts.failing} containers restart or are dead."
    return {
        "Ready": ready,
        "Progressing": (is_behind, "NotApplied" if is_behind else "Applied", applied),
        "Degraded": (facts.failing > 0, "Failing" if facts.failing else "Healthy", failing),
    }
