"""What a container should reserve and be limited to: pure computation on evidence. No I/O in here.

    Evidence              what was observed of a container, or of all containers of a workload
      └─ assess()     ->  Assessment: one Sizing each for cpu and memory, and the confidence
          target          what the formulas give
          recommended     what to set: the target where a change is due, else what is set now

    memory limit    = max(floor, round up to 4 MiB(max(peaks * 1.15, memory at OOM kills * 1.25)))
    memory reserve  = max(floor, P90 * 1.15, memory at OOM kills * 1.0), at most the limit
    cpu reserve     = max(floor, P95); no cpu limit
    confidence      = min(span in days, samples / 1440)

A change is due above 10 % and 16 MiB (0.010 core); downwards only at a confidence of 1 and without
an OOM kill in the window; after an OOM kill upwards always, with little history too. Percentiles
are of VPA's decaying histograms. docs/rightsizing.md works an example through.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from app.fleet import histograms
from app.fleet.histograms import STANDARD, Layout
from app.fleet.policy import DEFAULT, Policy

DAY = timedelta(days=1)
PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}


class State(StrEnum):
    """What to do; the first that holds for cpu or memory is the whole's."""

    RAISE = "raise"
    SET = "set"
    """Nothing is declared: declare what is recommended."""
    LOWER = "lower"
    INSUFFICIENT = "insufficient"
    """Too little is known to say anything."""
    OK = "ok"


ORDER = {state: place for place, state in enumerate(State)}


class Reason(StrEnum):
    """Why, for programs. `message` says it to people."""

    OOM_KILLED = "oom_killed"
    NEEDS_MORE = "needs_more"
    UNRESERVED = "unreserved"
    UNLIMITED = "unlimited"
    NEEDS_LESS = "needs_less"
    WITHIN_THRESHOLD = "within_threshold"
    OOM_IN_WINDOW = "oom_in_window"
    LOW_CONFIDENCE = "low_confidence"
    NO_SAMPLES = "no_samples"
    TOO_FEW_SAMPLES = "too_few_samples"
    TOO_SHORT = "too_short"


MESSAGES = {
    Reason.OOM_KILLED: "It was OOM-killed: raised above the memory that it had then.",
    Reason.NEEDS_MORE: "It uses more than is set.",
    Reason.UNRESERVED: "Nothing is reserved.",
    Reason.UNLIMITED: "There is no limit.",
    Reason.NEEDS_LESS: "It needs less than is set.",
    Reason.WITHIN_THRESHOLD: "What is set fits; a change would be too small to be worth it.",
    Reason.OOM_IN_WINDOW: "It seems to need less, but was OOM-killed: nothing is lowered.",
    Reason.LOW_CONFIDENCE: "It seems to need less; more history is needed to lower anything.",
    Reason.NO_SAMPLES: "It was never sampled.",
    Reason.TOO_FEW_SAMPLES: "Too few samples.",
    Reason.TOO_SHORT: "Too short a history.",
}


class Kill(NamedTuple):
    """An OOM kill. `memory_bytes` is what the container had then: its limit, or its last peak."""

    at: datetime
    memory_bytes: int | None
    container_id: int


class Part(NamedTuple):
    """One stretch of observations: weights of buckets as they weigh at `reference`."""

    reference: datetime
    cpu: Mapping[str, float]
    memory: Mapping[str, float]
    layout: Layout = STANDARD

    def laid_out(self, layout: Layout) -> "Part":
        if self.layout == layout:
            return self
        cpu = histograms.rearrange(self.cpu, self.layout.cpu, layout.cpu)
        memory = histograms.rearrange(self.memory, self.layout.memory, layout.memory)
        return Part(self.reference, cpu, memory, layout)


class Evidence(NamedTuple):
    """What was observed. Peaks and kills are those of the policy's window; None: none grounds."""

    samples: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    parts: tuple[Part, ...] = ()
    cpu_peak: float | None = None
    memory_peak: float | None = None
    startup_peak: float | None = None
    """The most memory that was used within `startup_seconds` of a start."""
    kills: tuple[Kill, ...] = ()

    @property
    def span(self) -> timedelta:
        if self.first_at is None or self.last_at is None:
            return timedelta()
        return self.last_at - self.first_at

    @property
    def oom_peak(self) -> int | None:
        """The most memory at an OOM kill."""
        return max((k.memory_bytes for k in self.kills if k.memory_bytes is not None), default=None)

    def weights(self, policy: Policy = DEFAULT) -> tuple[dict[int, float], dict[int, float]]:
        """The decayed weights of the policy's buckets of cpu and memory, as of the newest part."""
        if not self.parts:
            return {}, {}
        layout = STANDARD if policy is DEFAULT else Layout.of(policy)
        parts = [one if one.layout is layout else one.laid_out(layout) for one in self.parts]
        at = max(part.reference for part in parts)
        half_life = timedelta(hours=policy.histogram_half_life_hours)
        cpu = [(part.reference, part.cpu) for part in parts]
        memory = [(part.reference, part.memory) for part in parts]
        return (
            histograms.merge(cpu, at=at, half_life=half_life),
            histograms.merge(memory, at=at, half_life=half_life),
        )


def combine(pieces: Iterable[Evidence]) -> Evidence:
    """The evidence of several containers together, such as a workload's. Order does not matter."""
    pieces = list(pieces)
    return Evidence(
        samples=sum(one.samples for one in pieces),
        first_at=min((one.first_at for one in pieces if one.first_at), default=None),
        last_at=max((one.last_at for one in pieces if one.last_at), default=None),
        parts=tuple(part for one in pieces for part in one.parts),
        cpu_peak=_highest(one.cpu_peak for one in pieces),
        memory_peak=_highest(one.memory_peak for one in pieces),
        startup_peak=_highest(one.startup_peak for one in pieces),
        kills=tuple(sorted((k for one in pieces for k in one.kills), key=lambda kill: kill.at)),
    )


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


class Amounts(NamedTuple):
    """A reservation and a limit, in cores or bytes; None: none is set."""

    reservation: float | None = None
    limit: float | None = None


class Use(NamedTuple):
    """What was used of one resource: a decayed histogram, and the peak."""

    weights: Mapping[int, float]
    buckets: histograms.Buckets
    peak: float | None

    def percentile(self, share: float) -> float | None:
        """None without any sample."""
        return histograms.percentile(self.weights, share, self.buckets)

    @property
    def percentiles(self) -> dict[str, float | None]:
        values = {name: self.percentile(share) for name, share in PERCENTILES.items()}
        return {name: None if value is None else round(value, 6) for name, value in values.items()}


class Sizing(NamedTuple):
    """One resource: what it should have, and why."""

    state: State
    reason: Reason
    current: Amounts
    target: Amounts | None
    """What the formulas give; None while too little is grounds."""
    recommended: Amounts | None
    """What to set: `target` where a change is due, else what is set now."""
    use: Use

    @property
    def saving(self) -> float | None:
        """What would be reserved less, of one container; below 0: more. None when unknown, or when
        nothing is reserved that could be saved.
        """
        if self.recommended is None or self.recommended.reservation is None:
            return None
        if self.current.reservation is None:
            return None
        return self.current.reservation - self.recommended.reservation

    def as_dict(self) -> dict[str, Any]:
        return {
            "state": str(self.state),
            "reason": str(self.reason),
            "message": MESSAGES[self.reason],
            "current": self.current._asdict(),
            "target": self.target and self.target._asdict(),
            "recommended": self.recommended and self.recommended._asdict(),
            "saving": self.saving,
            "percentiles": self.use.percentiles,
            "peak": self.use.peak,
        }


class Assessment(NamedTuple):
    """Both resources of one container, or of each container of a workload."""

    cpu: Sizing
    memory: Sizing
    confidence: float
    evidence: Evidence

    @property
    def state(self) -> State:
        """The first of State's order that holds for either resource."""
        return min(self.cpu.state, self.memory.state, key=ORDER.__getitem__)

    def as_dict(self) -> dict[str, Any]:
        seen = self.evidence
        return {
            "state": str(self.state),
            "confidence": round(self.confidence, 4),
            "samples": seen.samples,
            "first_at": seen.first_at and seen.first_at.isoformat(),
            "last_at": seen.last_at and seen.last_at.isoformat(),
            "cpu": self.cpu.as_dict(),
            "memory": {
                **self.memory.as_dict(),
                "startup_peak": seen.startup_peak,
                "oom": {
                    "kills": len(seen.kills),
                    "peak": seen.oom_peak,
                    "last_at": seen.kills[-1].at.isoformat() if seen.kills else None,
                },
            },
        }


def confidence(evidence: Evidence, policy: Policy = DEFAULT) -> float:
    """VPA's: days of history, or as many as the samples would fill at one a minute, if fewer."""
    days = evidence.span / DAY
    return min(days, evidence.samples / policy.confidence_samples_per_day)


def lack(evidence: Evidence, policy: Policy = DEFAULT) -> Reason | None:
    """Why there is too little evidence to recommend anything; None when there is enough."""
    if not evidence.samples:
        return Reason.NO_SAMPLES
    if evidence.samples < policy.samples_min:
        return Reason.TOO_FEW_SAMPLES
    if evidence.span < timedelta(hours=policy.history_hours_min):
        return Reason.TOO_SHORT
    return None


class Uses(NamedTuple):
    """What was used of both resources."""

    cpu: Use
    memory: Use

    @classmethod
    def of(cls, evidence: Evidence, policy: Policy = DEFAULT) -> "Uses":
        """Whatever is set now: several that are set otherwise may share it."""
        cpu, memory = evidence.weights(policy)
        return cls(
            Use(cpu, histograms.cpu_buckets(policy), evidence.cpu_peak),
            Use(memory, histograms.memory_buckets(policy), evidence.memory_peak),
        )


def assess(
    evidence: Evidence,
    *,
    cpu: Amounts,
    memory: Amounts,
    policy: Policy = DEFAULT,
    uses: Uses | None = None,
) -> Assessment:
    """What a container with this evidence should have, where `cpu` and `memory` are set now."""
    cpu_use, memory_use = uses or Uses.of(evidence, policy)
    grounds = _Grounds(lack(evidence, policy), confidence(evidence, policy), evidence.oom_peak)
    return Assessment(
        cpu=_size_cpu(grounds, cpu, cpu_use, policy),
        memory=_size_memory(evidence, grounds, memory, memory_use, policy),
        confidence=grounds.confidence,
        evidence=evidence,
    )


class _Grounds(NamedTuple):
    """What both resources ask of the evidence."""

    lack: Reason | None
    confidence: float
    oom_peak: float | None


def _size_cpu(grounds: _Grounds, current: Amounts, use: Use, policy: Policy) -> Sizing:
    wanted = None if grounds.lack else use.percentile(policy.cpu_reservation_percentile)
    if wanted is None:
        return _insufficient(grounds.lack or Reason.NO_SAMPLES, current, use)
    target = round(max(policy.cpu_floor_cores, wanted), 6)
    gate = _Gate(
        floor=policy.cpu_floor_cores,
        change_min=policy.change_min,
        change_min_amount=policy.change_min_cores,
        confidence=grounds.confidence,
        confidence_min=policy.downsize_confidence_min,
    )
    state, reason, reservation = gate.decide(current.reservation, target, Reason.UNRESERVED)
    return Sizing(state, reason, current, Amounts(target, None), Amounts(reservation, None), use)


def _size_memory(
    evidence: Evidence, grounds: _Grounds, current: Amounts, use: Use, policy: Policy
) -> Sizing:
    if grounds.lack and grounds.oom_peak is None:
        return _insufficient(grounds.lack, current, use)
    target = memory_target(evidence, use.weights, policy)
    gate = _Gate(
        floor=policy.memory_floor_bytes,
        change_min=policy.change_min,
        change_min_amount=policy.change_min_bytes,
        confidence=grounds.confidence,
        confidence_min=policy.downsize_confidence_min,
        kills=len(evidence.kills),
        oom_peak=grounds.oom_peak,
    )
    limit = gate.decide(current.limit, _known(target.limit), Reason.UNLIMITED)
    reservation = gate.decide(current.reservation, _known(target.reservation), Reason.UNRESERVED)
    state, reason, _ = min(reservation, limit, key=lambda one: ORDER[one[0]])
    if grounds.lack and state not in (State.RAISE, State.SET):
        # What was raised after the kill stays; nothing else can be said yet.
        return _insufficient(grounds.lack, current, use)
    return Sizing(state, reason, current, target, _reconcile(reservation, limit), use)


def _insufficient(reason: Reason, current: Amounts, use: Use) -> Sizing:
    return Sizing(State.INSUFFICIENT, reason, current, None, None, use)


def memory_target(evidence: Evidence, weights: Mapping[int, float], policy: Policy) -> Amounts:
    """What design.md's formulas give, whatever is set now."""
    wanted = histograms.percentile(
        weights, policy.memory_reservation_percentile, histograms.memory_buckets(policy)
    )
    peak = _highest((evidence.memory_peak, evidence.startup_peak)) or 0.0
    oom = evidence.oom_peak or 0
    step = policy.memory_limit_step_bytes
    needed = max(peak * policy.memory_limit_margin, oom * policy.memory_limit_oom_margin)
    limit = max(policy.memory_floor_bytes, math.ceil(needed / step) * step)
    reservation = max(
        policy.memory_floor_bytes,
        math.ceil((wanted or 0.0) * policy.memory_reservation_margin),
        math.ceil(oom * policy.memory_reservation_oom_margin),
    )
    return Amounts(min(reservation, limit), limit)


Decision = tuple[State, Reason, float | None]
"""What to do about one amount, why, and the amount to set."""


class _Gate(NamedTuple):
    """Which changes of an amount are due."""

    floor: float
    change_min: float
    change_min_amount: float
    confidence: float
    confidence_min: float
    kills: int = 0
    oom_peak: float | None = None

    def decide(self, current: float | None, target: float, when_unset: Reason) -> Decision:
        if current is None:
            return self._set(target, when_unset)
        change = target - current
        is_small = abs(change) <= max(self.change_min * current, self.change_min_amount)
        if change > 0 and (self._is_urgent(current) or not is_small):
            is_oom = self.oom_peak is not None
            return State.RAISE, Reason.OOM_KILLED if is_oom else Reason.NEEDS_MORE, target
        if is_small:
            return State.OK, Reason.WITHIN_THRESHOLD, current
        if self.kills:
            return State.OK, Reason.OOM_IN_WINDOW, current
        if self.confidence < self.confidence_min:
            return State.OK, Reason.LOW_CONFIDENCE, current
        return State.LOWER, Reason.NEEDS_LESS, target

    def _is_urgent(self, current: float) -> bool:
        """Whether a raise is due however small: after an OOM kill, and from below the floor."""
        return self.oom_peak is not None or current < self.floor

    def _set(self, target: float, when_unset: Reason) -> Decision:
        """A first limit takes away what was free: it waits as lowering does, but for OOM kills."""
        is_limit = when_unset is Reason.UNLIMITED
        if is_limit and self.confidence < self.confidence_min and self.oom_peak is None:
            return State.OK, Reason.LOW_CONFIDENCE, None
        return State.SET, when_unset, target


def _reconcile(reservation: Decision, limit: Decision) -> Amounts:
    """A reservation is never above its limit: who changes last gives way to who was raised."""
    reserved, limited = reservation[2], limit[2]
    if reserved is None or limited is None or reserved <= limited:
        return Amounts(reserved, limited)
    if reservation[0] in (State.RAISE, State.SET):
        return Amounts(reserved, reserved)
    return Amounts(limited, limited)


def _known(value: float | None) -> float:
    assert value is not None
    return value
