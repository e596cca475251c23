"""Histograms of use: exponential buckets, mergeable in any order, decaying. Pure.

After the Kubernetes Vertical Pod Autoscaler (`pkg/recommender/util/histogram.go`). Bucket n begins
at first * (growth^n - 1) / (growth - 1); a percentile is the end of the bucket that it falls into.
A weight decays by half every `half_life`: VPA lets new samples weigh more and so never has to touch
the old ones; here an hour's counts are plain, and weighed when hours are merged.

Where buckets begin, the layout, may differ by container. What is counted in one layout is put into
another by the buckets' ends, as percentiles are told as ends, and never to a lower one. Always from
the hour's own layout at one go: that is the same however often the layout has changed meanwhile.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import orjson

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
    return USUAL_CPU if policy is DEFAULT else Layout.of(policy).cpu


def memory_buckets(policy: Policy = DEFAULT) -> Buckets:
    return USUAL_MEMORY if policy is DEFAULT else Layout.of(policy).memory


class Layout(NamedTuple):
    """Where the buckets of both resources begin."""

    growth: float
    cpu_first: float
    memory_first: float

    @classmethod
    def of(cls, policy: Policy) -> "Layout":
        return cls(
            float(policy.histogram_bucket_growth),
            float(policy.histogram_cpu_first_cores),
            float(policy.histogram_memory_first_bytes),
        )

    @classmethod
    def read(cls, stored: Sequence[float] | None) -> "Layout":
        """As a row has it; None is the default."""
        return STANDARD if stored is None else cls(*stored)

    @property
    def stored(self) -> list[float] | None:
        return None if self == STANDARD else list(self)

    @property
    def cpu(self) -> Buckets:
        return Buckets(self.cpu_first, self.growth)

    @property
    def memory(self) -> Buckets:
        return Buckets(self.memory_first, self.growth)


STANDARD = Layout.of(DEFAULT)
USUAL_CPU, USUAL_MEMORY = STANDARD.cpu, STANDARD.memory
HIGHEST = (10.0**5, 2.0**60)
"""The most cores and bytes that are stored: `models.MAX_CPUS` and `MAX_BYTES`."""


@lru_cache(maxsize=20_000)
def find_above(bucket: int, old: Buckets, new: Buckets) -> int:
    """The first bucket of `new` that does not end below this bucket of `old`."""
    end = old.start(bucket + 1)
    found = new.find(end)
    while new.start(found + 1) < end:
        found += 1
    while found > 0 and new.start(found) >= end:
        found -= 1
    return found


def rearrange(counts: Counts, old: Buckets, new: Buckets) -> Counts:
    """The counts in the buckets of another layout."""
    if old == new:
        return counts
    parts: defaultdict[int, list[float]] = defaultdict(list)
    for bucket, count in counts.items():
        parts[find_above(int(bucket), old, new)].append(count)
    return {str(bucket): math.fsum(some) for bucket, some in parts.items()}


@lru_cache(maxsize=16)
def tabulate(layouts: tuple[Layout, ...], into: Layout) -> str:
    """For the database, as JSON: of each bucket of these layouts, which it is in `into`."""
    rows: list[dict[str, Any]] = []
    for layout in layouts:
        resources = ((layout.cpu, into.cpu, True), (layout.memory, into.memory, False))
        for (old, new, is_cpu), highest in zip(resources, HIGHEST, strict=True):
            rows += (
                {
                    "layout": list(layout),
                    "is_cpu": is_cpu,
                    "bucket": str(bucket),
                    "target": str(find_above(bucket, old, new)),
                }
                for bucket in range(old.find(highest) + 2)
            )
    return orjson.dumps(rows).decode()


def merge(
    hours: Iterable[tuple[datetime, Counts]], *, at: datetime, half_life: timedelta
) -> dict[int, float]:
    """The weights of the buckets over all hours, each hour decayed by its age at `at`.

    Sums are rounded once, so the order of the hours makes no difference, not even in the last bit.
    """
    hours = list(hours)
    if len(hours) == 1 and hours[0][0] == at:  # as most often
        (_, counts) = hours[0]
        return dict(zip(map(int, counts), map(float, counts.values()), strict=True))
    parts: defaultdict[str, list[float]] = defaultdict(list)
    for hour, counts in hours:
        decay = 0.5 ** ((at - hour) / half_life)
        for bucket, count in counts.items():
            parts[bucket].append(count * decay)
    return {int(bucket): math.fsum(weights) for bucket, weights in parts.items()}


def percentile(weights: Mapping[int, float], share: float, buckets: Buckets) -> float | None:
    """The value that `share` (0 to 1) of the weight lies at or below; None without any weight."""
    total = math.fsum(weights.values())
    if total <= 0:
        return None
    numbers = sorted(weights)
    below = list(accumulate(map(weights.__getitem__, numbers)))
    place = min(bisect_left(below, share * total), len(numbers) - 1)
    return buckets.start(numbers[place] + 1)
