"""What the protocol and storage allow: bounds of requests and reports, nobody's to set.

They are no constants of a formula. Hosts' clocks belong to no team, and how long raw samples are
kept is one for all.
"""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    window_hours_max: float = 48.0
    """Longest window of usage: raw samples are kept for two days. Own."""
    clock_ahead_seconds: float = 300.0
    """How far ahead a host's clock may run: ingest refuses what is later. Own."""
    clock_skew_seconds: float = 30.0
    """From which difference on a host's clock counts as wrong. The agent's own bound."""

    def as_dict(self) -> dict[str, float]:
        """The bounds by name, as answers echo them."""
        return asdict(self)


BOUNDS = Bounds()
