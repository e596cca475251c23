"""What is true of a workload, each with a reason for programs and a message for people. Pure.

Conditions, not phases: several may hold at once, and each says since when.

    Ready          as many containers run as are asked for
    Progressing    what was asked for last is not applied yet
    Degraded       containers restart, or are dead; the reason tells OOM kills apart
    OverCommitted  a host that it runs on could be asked for more memory than it can give: the
                   declared limits, or reservations where there is none, are above allocatable
    Stale          hosts that it runs on are silent, so that what is said is what was last known
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
    oom_killed: int = 0
    """Those of them that were OOM-killed."""
    silent: tuple[str, ...] = ()
    """Hosts with live containers of it that were not heard from."""
    over_committed: tuple[str, ...] = ()
    """Hosts with live containers of it whose limits are above what is allocatable."""


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
    if facts.oom_killed:
        failing = f"{failing[:-1]}, {facts.oom_killed} of them OOM-killed."
    why = "OOMKilled" if facts.oom_killed else "Failing" if facts.failing else "Healthy"
    return {
        "Ready": ready,
        "Progressing": (is_behind, "NotApplied" if is_behind else "Applied", applied),
        "Degraded": (facts.failing > 0, why, failing),
        "OverCommitted": _about_hosts(
            facts.over_committed,
            ("LimitsAboveAllocatable", "Memory limits are above what is allocatable on"),
            ("LimitsFit", "Memory limits fit on every host that it runs on."),
        ),
        "Stale": _about_hosts(
            facts.silent,
            ("HostsSilent", "Nothing was heard from"),
            ("HostsHeard", "Every host that it runs on reports."),
        ),
    }


def _about_hosts(
    hosts: tuple[str, ...], bad: tuple[str, str], good: tuple[str, str]
) -> tuple[bool, str, str]:
    if not hosts:
        return (False, *good)
    reason, start = bad
    named = ", ".join(hosts[:3]) + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else "")
    return True, reason, f"{start} {named}."
