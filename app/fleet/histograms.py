"""Histograms of use: exponential buckets, mergeable in any order, decaying. Pure.

After the Kubernetes Vertical Pod Autoscaler (`pkg/recommender/util/histogram.go`). Bucket n begins
at first * (growth^n - 1) / (growth - 1); a percentile is the end of the bucket that it falls into.
A weight decays by half every `half_life`: VPA lets new samples weigh more and so never has to touch
the old ones; here an hour's counts are plain, and weighed when hours are merged.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.fleet.policy import DEFAULT, Policy

Counts = Mapping[str, float]
"""Bucket's number, as JSON has it, to count (or decayed weight) of samples."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """Where buckets begin. `first` is the size of the first, each next is `growth` times larger."""

    first: float
    growth: float

    def find(self, value: float) -> int:
        if value < self.first:
            return 0
        return int(math.log(value * (self.growth - 1) / self.first + 1) / math.log(self.growth))

    def start(self, bucket: int) -> float:
        return self.first * (self.growth**bucket - 1) / (self.growth - 1)


def cpu_buckets(policy: Policy = DEFAULT) -> Buckets:
    return Buckets(policy.histogram_cpu_first_cores, policy.histogram_bucket_growth)


def memory_buckets(policy: Policy = DEFAULT) -> Buckets:
    return Buckets(float(policy.histogram_memory_first_bytes), policy.histogram_bucket_growth)


def merge(
    hours: Iterable[tuple[datetime, Counts]], *, at: datetime, half_life: timedelta
) -> dict[int, float]:
    """The weights of the buckets over all hours, each hour decayed by its age at `at`.

    Sums are rounded once, so the order of the hours makes no difference, not even in the last bit.
    """
    hours = list(hours)
    if len(hours) == 1 and hours[0][0] == at:  # as most often
        return {int(bucket): float(count) for bucket, count in hours[0][1].items()}
    parts: dict[int, list[float]] = {}
    for hour, counts in hours:
        decay = 0.5 ** ((at - hour) / half_life)
        for bucket, count in counts.items():
            parts.setdefault(int(bucket), []).append(count * decay)
    return {bucket: math.fsum(weights) for bucket, weights in parts.items()}


def percentile(weights: Mapping[int, float], share: float, buckets: Buckets) -> float | None:
    """The value that `share` (0 to 1) of the weight lies at or below; None without any weight."""
    total = math.fsum(weights.values())
    if total <= 0:
        return None
    threshold, partial = share * total, 0.0
    bucket = 0
    for bucket in sorted(weights):
        partial += weights[bucket]
        if partial >= threshold:
            break
    return buckets.start(bucket + 1)
