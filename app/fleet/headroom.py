"""How many more containers of a shape fit: headroom and fragmentation. Pure.

    headroom(w)    = sum over hosts of min over resources of floor(free / w)
    pooled(w)      = min over resources of floor(sum of free / w): if all hosts were one
    fragmentation  = 1 - headroom(w) / pooled(w)

with free = allocatable * (1 - buffer) - reservations, and 0 where more is reserved than there is.
So 0 is not fragmented at all, and 1 means that nothing fits although there is room for it in total.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from app.fleet.policy import DEFAULT, Policy


class Shape(NamedTuple):
    """What one container reserves; both above 0."""

    cpus: float
    memory_bytes: float

    @classmethod
    def reference(cls, policy: Policy = DEFAULT) -> Self:
        return cls(policy.reference_cpus, policy.reference_memory_bytes)


class Free(NamedTuple):
    """What a host, or several as one, can still give; at least 0."""

    cpus: float
    memory_bytes: float

    def count(self, shape: Shape) -> int:
        """How many of this shape fit. A billionth is added: 0.3 / 0.1 is 3, whatever floats say."""
        return min(
            math.floor(self.cpus / shape.cpus + 1e-9),
            math.floor(self.memory_bytes / shape.memory_bytes + 1e-9),
        )


@dataclass(frozen=True, slots=True)
class Headroom:
    """How many fit on hosts, and how many would if all were one."""

    shape: Shape
    fits: int
    pooled: int

    @property
    def fragmentation(self) -> float | None:
        """None when not even one would fit on all hosts together."""
        return 1 - self.fits / self.pooled if self.pooled else None

    def as_dict(self) -> dict[str, Any]:
        ratio = self.fragmentation
        return {
            "shape": self.shape._asdict(),
            "headroom": self.fits,
            "pooled": self.pooled,
            "fragmentation": None if ratio is None else round(ratio, 4),
            "reason": None if self.pooled else "not even one fits, were all hosts one",
        }


def measure(hosts: Iterable[Free], shape: Shape) -> Headroom:
    """The headroom of these hosts for this shape."""
    free = list(hosts)
    pool = Free(math.fsum(one.cpus for one in free), math.fsum(one.memory_bytes for one in free))
    return Headroom(shape, sum(one.count(shape) for one in free), pool.count(shape))
