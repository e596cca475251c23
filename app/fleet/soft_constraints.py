"""What is allowed and probably not meant: warnings about a workload as it was written. Pure.

code                        the spec
no_memory_limit             one replica may take all memory of its host
no_reservation              is counted with its use; nothing is kept free for it
limit_below_peak            would have been OOM-killed by what it was seen to use
reservation_below_need      reserves less than what right-sizing recommends
reservation_above_need      reserves half as much again as what is recommended, or more
not_in_swarm                asks of its placement what a Swarm service has no field for
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from app.fleet.placement_rules import PREFERRED, REQUIRED
from app.fleet.policy import Policy
from app.fleet.rightsizing import Assessment, Sizing


class Warned(NamedTuple):
    code: str
    field: str
    message: str


def find_warnings(
    spec: Mapping[str, Any], assessment: Assessment | None, policy: Policy
) -> list[Warned]:
    """What to warn of. `spec` has resources and placement as a workload names them; without an
    assessment nothing is known of its use.
    """
    return [*_declared(spec), *(_measured(assessment, policy) if assessment else ())]


def _declared(spec: Mapping[str, Any]) -> Iterator[Warned]:
    if spec["memory_limit_bytes"] is None:
        yield Warned(
            "no_memory_limit",
            "memory_limit_bytes",
            "Without a memory limit one replica may take all memory of its host. Set one.",
        )
    for field in ("cpu_reservation", "memory_reservation_bytes"):
        if not spec[field]:
            yield Warned(
                "no_reservation",
                field,
                "Nothing is reserved, so nothing is kept free for it. Reserve what it needs.",
            )
    yield from _beyond_swarm(spec["placement"])


def _beyond_swarm(placement: Mapping[str, Any]) -> Iterator[Warned]:
    """Swarm has constraints, a maximum of replicas a node, and spreading as a preference."""
    affinities = placement.get("anti_affinity") or {}
    if affinities.get("required") or affinities.get("preferred"):
        yield Warned(
            "not_in_swarm",
            "placement",
            "Swarm knows no anti-affinity: its scheduler will not keep to it. To keep replicas"
            " apart, set max_per_host; of others, name the hosts in constraints.",
        )
    for spread in placement.get("spread") or ():
        if spread.get("when_unsatisfiable", REQUIRED) == REQUIRED:
            yield Warned(
                "not_in_swarm",
                "placement",
                f"Swarm spreads over {spread['topology_key']} as a preference only, without"
                f" max_skew. Say {PREFERRED} if that will do.",
            )


def _measured(assessment: Assessment, policy: Policy) -> Iterator[Warned]:
    memory = assessment.memory
    peak = max(memory.use.peak or 0, assessment.evidence.startup_peak or 0)
    if memory.current.limit is not None and memory.current.limit < peak:
        yield Warned(
            "limit_below_peak",
            "memory_limit_bytes",
            f"It was seen to use {peak:.0f} bytes, more than this limit: it would be OOM-killed.",
        )
    yield from _against_need(assessment.cpu, "cpu_reservation", policy.change_min_cores, policy)
    yield from _against_need(memory, "memory_reservation_bytes", policy.change_min_bytes, policy)


def _against_need(sizing: Sizing, field: str, least: float, policy: Policy) -> Iterator[Warned]:
    target = sizing.target and sizing.target.reservation
    reserved = sizing.current.reservation
    if target is None or not reserved:
        return
    if reserved > target * (1 + policy.excess_warned) and reserved - target > least:
        yield Warned(
            "reservation_above_need",
            field,
            f"Right-sizing recommends {target:.12g}; {reserved / target:.1f} times it is reserved.",
        )
    if target - reserved > max(policy.change_min * reserved, least):
        yield Warned(
            "reservation_below_need",
            field,
            f"Right-sizing recommends {target:.12g}: it uses more than is reserved.",
        )
