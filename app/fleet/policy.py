"""Every constant of the fleet's formulas, in one object that answers echo.

Sources, by name in the docstrings below:

- VPA: the Kubernetes Vertical Pod Autoscaler's recommender (`pkg/recommender/model` and `logic`).
- KRR: Robusta's Kubernetes Resource Recommender, its `simple` strategy.
- Autopilot: Rzadca et al., "Autopilot: workload autoscaling at Google", EuroSys 2020.
- Own: decided in this project; docs/density.md says why.
"""

from dataclasses import asdict, dataclass

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
    confidence_samples_per_day: int = 1440
    """Samples that make one day of history: one a minute, VPA's confidence multiplier."""
    samples_min: int = 100
    """Below this a recommendation is `insufficient`. KRR's `points_required`."""
    history_hours_min: float = 24.0
    """Below this a recommendation is `insufficient`. Own."""
    change_min: float = 0.10
    """Smaller relative changes are not recommended. VPA's update threshold."""
    change_min_bytes: int = 16 * MIB
    """Smaller absolute changes are not recommended. Own."""
    downsize_confidence_min: float = 1.0
    """Confidence from which less may be recommended. VPA's estimator by confidence."""

    # Histograms, all four VPA's.
    histogram_bucket_growth: float = 1.05
    histogram_cpu_first_cores: float = 0.001
    histogram_memory_first_bytes: int = 10_000_000
    histogram_half_life_hours: float = 24.0

    # Placement.
    placement_buffer: float = 0.0
    """Share of the allocatable that headroom and repacking leave free. Own; none by default."""

    def as_dict(self) -> dict[str, float]:
        """The constants by name, as answers echo them."""
        return asdict(self)


DEFAULT = Policy()
