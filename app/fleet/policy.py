"""Every constant of the fleet's formulas, in one object that answers echo.

Sources, by name in the docstrings below:

- VPA: the Kubernetes Vertical Pod Autoscaler's recommender (`pkg/recommender/model` and `logic`).
- KRR: Robusta's Kubernetes Resource Recommender, its `simple` strategy.
- Autopilot: Rzadca et al., "Autopilot: workload autoscaling at Google", EuroSys 2020.
- Own: decided in this project; docs/density.md and docs/rightsizing.md say why.

A team and a workload may have their own values of all that is in OVERRIDABLE: the workload's counts
before the team's, and that before the default. Most constants are about a container, and hold by
the workload that it is of; those in ASKED hold by whom a question is asked for, as hosts belong to
nobody. What no one may set stands in `app.fleet.bounds`.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from app.fleet.bounds import BOUNDS

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The constants. Shares lie between 0 and 1; sizes are in bytes, cpu in cores."""

    # Density: what runs now.
    window_hours: float = 1.0
    """Span of usage that percentiles look at. Own; short while percentiles are over raw samples."""
    stale_after_seconds: float = 60.0
    """Silence after which a host or a container is stale: twelve of the agent's rounds. Own."""
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
    "window_hours": Range(0.1, BOUNDS.window_hours_max),
    "stale_after_seconds": Range(10, 86_400),
    "use_percentile": Range(0.5, 1),
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
    "startup_seconds": Range(0, 86_400),
    "histogram_bucket_growth": Range(1.01, 2),
    "histogram_cpu_first_cores": Range(0.0001, 1),
    "histogram_memory_first_bytes": Range(100_000, 10**9, is_whole=True),
    "histogram_half_life_hours": Range(1, 2160),
    "placement_buffer": Range(0, 0.9),
    "reference_cpus": Range(0.001, 1024),
    "reference_memory_bytes": Range(MIB, 2**40, is_whole=True),
}
"""From what to what a team or a workload may set each constant."""
COUNTED = frozenset(
    {
        "window_hours",
        "stale_after_seconds",
        "use_percentile",
        "memory_floor_bytes",
        "cpu_floor_cores",
    }
)
"""What a container counts with in density and placement comes from these."""
STORED = frozenset(
    {
        "startup_seconds",
        "histogram_bucket_growth",
        "histogram_cpu_first_cores",
        "histogram_memory_first_bytes",
        "histogram_half_life_hours",
    }
)
"""A container's usage is stored by these."""
ASKED = frozenset(
    {"placement_buffer", "reference_cpus", "reference_memory_bytes", "stale_after_seconds"}
)
"""Those about a question, or about a host: whether it is stale."""
SIZED = frozenset(OVERRIDABLE) - (ASKED - COUNTED)
"""What recommended sizes come from, or what counts instead."""


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
    """The constants that hold, and where those that are not the default's are from: name to `team`,
    `workload` or, of a question, `request`.
    """

    policy: Policy
    sources: Mapping[str, str]

    def as_dict(self, names: Collection[str] = frozenset(OVERRIDABLE)) -> dict[str, dict[str, Any]]:
        """The overridden constants only, of these: {name: {"value", "source"}}."""
        return {
            name: {"value": getattr(self.policy, name), "source": source}
            for name, source in sorted(self.sources.items())
            if name in names
        }


Own = Mapping[int, Effective]
"""The constants of workloads that have some of their own, or of their team's, by id."""
NOBODY: Own = {}


def for_question(effective: Effective, **said: float | None) -> Effective:
    """What holds for a question that is asked for somebody: their constants of ASKED, and before
    these what the request itself says, where that isn't None.
    """
    sources = {name: source for name, source in effective.sources.items() if name in ASKED}
    values: dict[str, Any] = {name: getattr(effective.policy, name) for name in sources}
    values |= {name: value for name, value in said.items() if value is not None}
    sources |= {name: "request" for name, value in said.items() if value is not None}
    return Effective(replace(DEFAULT, **values) if values else DEFAULT, sources)


def tell_overrides(
    own: Own, workload_ids: Collection[int], names: Collection[str]
) -> list[dict[str, Any]]:
    """The constants, of these names, that aren't the defaults, of each of these workloads."""
    told = [(pk, own[pk].as_dict(names)) for pk in sorted(workload_ids) if pk in own]
    return [{"workload": pk, "constants": constants} for pk, constants in told if constants]


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
