"""Every constant of the fleet's formulas, in one object that answers echo.

Sources, by name in the docstrings below:

- VPA: the Kubernetes Vertical Pod Autoscaler's recommender (`pkg/recommender/model` and `logic`).
- KRR: Robusta's Kubernetes Resource Recommender, its `simple` strategy.
- Autopilot: Rzadca et al., "Autopilot: workload autoscaling at Google", EuroSys 2020.
- Own: decided in this project; docs/density.md and docs/rightsizing.md say why.

A team and a workload may have their own values of the constants in OVERRIDABLE: the workload's
counts before the team's, and that before the default.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The constants. Shares lie between 0 and 1; sizes are in bytes, cpu in cores."""

    # Density: what runs now.
    window_hours: float = 1.0
    """Span of usage that percentiles look at. Own; short while percentiles are over raw samples."""
    window_hours_max: float = 48.0
    """Longest window that may be asked for: raw samples are kept for two days. Own."""
    stale_after_seconds: float = 60.0
    """Silence after which a host or a container is stale: twelve of the agent's rounds. Own."""
    clock_ahead_seconds: float = 300.0
    """How far ahead a host's clock may run: ingest refuses what is later. Own."""
    clock_skew_seconds: float = 30.0
    """From which difference on a host's clock counts as wrong. The agent's own bound."""
    use_percentile: float = 0.95
    """The percentile of use behind slack and behind every stand-in. KRR's for cpu; VPA's upper."""

    # Right-sizing: what should be reserved.
    memory_floor_bytes: int = 16 * MIB
    """Least memory that a container is counted or recommended with. Own; VPA's is 250 MB a pod."""
    cpu_floor_cores: float = 0.010
    """Least cpu that a container is counted or recommended with. KRR's `cpu_min_value`, 10 m."""
    memory_limit_margin: float = 1.15
    """Limit over the peak. VPA's safety margin (15 %), KRR's `memory_buffer_percentage`."""
    memory_limit_oom_margin: float = 1.25
    """Limit over the memory at an OOM kill. KRR's `oom_memory_buffer_percentage`; VPA bumps 1.2."""
    memory_limit_step_bytes: int = 4 * MIB
    """Limits are rounded up to this. Own."""
    memory_reservation_percentile: float = 0.90
    """VPA's target percentile."""
    memory_reservation_margin: float = 1.15
    """VPA's safety margin."""
    memory_reservation_oom_margin: float = 1.0
    """Reservation over the memory at an OOM kill; 0: only the limit follows. Own; VPA's is 1.2."""
    cpu_reservation_percentile: float = 0.95
    """The percentile of cpu that is reserved. KRR's `cpu_percentile`."""
    evidence_days: float = 8.0
    """How far back peaks and OOM kills count. VPA's eight memory intervals of a day."""
    startup_seconds: float = 600.0
    """How long after its start a container's peak is its start-up peak. Own."""
    confidence_samples_per_day: int = 1440
    """Samples that make one day of history: one a minute, VPA's confidence multiplier."""
    samples_min: int = 100
    """Below this a recommendation is `insufficient`. KRR's `points_required`."""
    history_hours_min: float = 24.0
    """Below this a recommendation is `insufficient`. Own."""
    change_min: float = 0.10
    """Smaller relative changes are not recommended. VPA's update threshold."""
    change_min_bytes: int = 16 * MIB
    """Smaller absolute changes of memory are not recommended. Own."""
    change_min_cores: float = 0.010
    """Smaller absolute changes of cpu are not recommended. Own."""
    downsize_confidence_min: float = 1.0
    """Confidence from which less may be recommended. VPA's estimator by confidence."""

    excess_warned: float = 0.5
    """A reservation by this share above what is recommended is warned of when written. Own."""

    # Histograms, all four VPA's.
    histogram_bucket_growth: float = 1.05
    histogram_cpu_first_cores: float = 0.001
    histogram_memory_first_bytes: int = 10_000_000
    histogram_half_life_hours: float = 24.0

    # Placement.
    placement_buffer: float = 0.0
    """Share of the allocatable that headroom and repacking leave free. Own; none by default."""
    reference_cpus: float = 0.25
    """Cores of the shape that fragmentation is told for, unless another is asked for. Own."""
    reference_memory_bytes: int = 256 * MIB
    """Memory of that shape. Own."""

    def as_dict(self) -> dict[str, float]:
        """The constants by name, as answers echo them."""
        return asdict(self)


DEFAULT = Policy()


class Range(NamedTuple):
    """From what to what a constant may be set."""

    lowest: float
    highest: float
    is_whole: bool = False


OVERRIDABLE: Mapping[str, Range] = {
    "memory_floor_bytes": Range(MIB, 2**40, is_whole=True),
    "cpu_floor_cores": Range(0.001, 1024),
    "memory_limit_margin": Range(1, 10),
    "memory_limit_oom_margin": Range(1, 10),
    "memory_limit_step_bytes": Range(1, 2**30, is_whole=True),
    "memory_reservation_percentile": Range(0.5, 1),
    "memory_reservation_margin": Range(1, 10),
    "memory_reservation_oom_margin": Range(0, 10),
    "cpu_reservation_percentile": Range(0.5, 1),
    "evidence_days": Range(1, 90),
    "confidence_samples_per_day": Range(1, 86_400, is_whole=True),
    "samples_min": Range(1, 10**9, is_whole=True),
    "history_hours_min": Range(0, 2160),
    "change_min": Range(0, 1),
    "change_min_bytes": Range(0, 2**40, is_whole=True),
    "change_min_cores": Range(0, 1024),
    "downsize_confidence_min": Range(0, 90),
    "excess_warned": Range(0, 100),
}
"""What a team or a workload may set. The others are how usage is stored, or are the fleet's."""


def override_problems(constants: Any) -> dict[str, list[str]]:
    """What is wrong with overrides, by the name of the constant; empty when all is well."""
    if not isinstance(constants, dict):
        return {"constants": ['Expected an object, such as {"memory_limit_margin": 1.3}.']}
    problems = {name: _problem(name, value) for name, value in constants.items()}
    return {name: [problem] for name, problem in problems.items() if problem}


def _problem(name: str, value: Any) -> str | None:
    allowed = OVERRIDABLE.get(name)
    if allowed is None:
        return f"Not a constant that can be set. Remove it; known are: {', '.join(OVERRIDABLE)}."
    kind = "a whole number" if allowed.is_whole else "a number"
    is_number = type(value) is int or (type(value) is float and not allowed.is_whole)
    if not is_number or not allowed.lowest <= value <= allowed.highest:
        return f"Write {kind} from {allowed.lowest:.12g} to {allowed.highest:.12g}."
    return None


@dataclass(frozen=True, slots=True)
class Effective:
    """The constants that hold for a workload, and where those that are not the default's are from:
    name to `team` or `workload`.
    """

    policy: Policy
    sources: Mapping[str, str]

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """The overridden constants only: {name: {"value", "source"}}."""
        return {
            name: {"value": getattr(self.policy, name), "source": source}
            for name, source in sorted(self.sources.items())
        }


def resolve(*, team: Mapping[str, float], workload: Mapping[str, float]) -> Effective:
    """The workload's constants before the team's before the default.

    What is stored and can't be set (any more) is passed over.
    """
    known = {
        source: {name: value for name, value in constants.items() if name in OVERRIDABLE}
        for source, constants in (("team", team), ("workload", workload))
    }
    values: dict[str, Any] = {**known["team"], **known["workload"]}
    sources = dict.fromkeys(known["team"], "team") | dict.fromkeys(known["workload"], "workload")
    return Effective(replace(DEFAULT, **values) if values else DEFAULT, sources)
