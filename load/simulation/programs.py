"""What simulated programs use, as functions of time. Pure: the same seed gives the same fleet.

The shapes follow what the published analyses of production traces say:

- few programs use nearly everything: sizes are Pareto (Tirmazi et al., "Borg: the next
  generation", EuroSys 2020: the top 1 % of jobs consume over 99 % of the resources);
- most use little of what they were given, and go on as they did (Cortez et al., "Resource
  Central", SOSP 2017, on Azure);
- the cpu of long-running services follows the day, their memory stays where it is; batch jobs come
  in bursts; memory is what runs out first (Jiang et al., "Characterizing Co-located Workloads in
  Alibaba Cloud Datacenters", IEEE TCC 2020; Guo et al., "Who limits the resource efficiency of my
  datacenter", IWQoS 2019).

Figures are multiples of 1/1024 core and of 4 KiB, so that sums of them are exact.
"""

import hashlib
import math
import random
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

MIB = 2**20
PAGE = 4096
DAY = 86_400.0


class Kind(Enum):
    STEADY = "steady"
    DAILY = "daily"
    BATCH = "batch"
    LEAKY = "leaky"


SHARES = {Kind.DAILY: 0.5, Kind.STEADY: 0.3, Kind.BATCH: 0.15, Kind.LEAKY: 0.05}
PARETO_ALPHA = 1.2
"""Heavy, with a mean that exists; a single host could not hold the trace's own tail."""


class Use(NamedTuple):
    cpu_cores: float
    memory_bytes: int


@dataclass(frozen=True)
class Program:
    """A container's program. `period_seconds` is how long a leak takes, a batch job's cycle."""

    name: str
    kind: Kind
    cpu_reservation: float
    memory_reservation_bytes: int
    memory_limit_bytes: int
    load: float
    """The share of its reservation that it uses, at noon."""
    period_seconds: float
    phase_seconds: float

    def use(self, at: float) -> Use:
        """What it uses at this moment (seconds since the epoch)."""
        noise = 0.95 + 0.1 * _draw(self.name, at)
        cpu = self.cpu_reservation * self.load * noise
        memory = self.memory_reservation_bytes * self.load * (0.98 + 0.04 * _draw(at, self.name))
        cycle = self._cycle(at)
        if self.kind is Kind.DAILY:
            cpu *= 0.6 + 0.4 * math.cos(2 * math.pi * (at - DAY / 2) / DAY)
        elif self.kind is Kind.BATCH:
            cpu *= 3.0 if cycle < 0.2 else 0.1
        elif self.kind is Kind.LEAKY:
            memory += (self.memory_limit_bytes - memory) * cycle
        memory = min(memory, self.memory_limit_bytes)
        return Use(round(cpu * 1024) / 1024, int(memory) // PAGE * PAGE)

    def lives(self, at: float) -> int:
        """How often it had been killed for memory by then, counted from the epoch."""
        if self.kind is not Kind.LEAKY:
            return 0
        return int((at + self.phase_seconds) // self.period_seconds)

    def _cycle(self, at: float) -> float:
        """How far into its period it is: 0 to 1."""
        return ((at + self.phase_seconds) % self.period_seconds) / self.period_seconds


def program(name: str, chance: random.Random) -> Program:
    """A program like those of the traces."""
    kind = chance.choices(list(SHARES), list(SHARES.values()))[0]
    size = min(chance.paretovariate(PARETO_ALPHA), 64.0)
    reserved = int(32 * MIB * size) // PAGE * PAGE
    return Program(
        name=name,
        kind=kind,
        cpu_reservation=round(min(0.02 * size, 4.0), 3),
        memory_reservation_bytes=reserved,
        memory_limit_bytes=2 * reserved,
        load=chance.betavariate(2, 4),
        period_seconds=chance.uniform(0.5, 4) * 3600,
        phase_seconds=chance.uniform(0, 4) * 3600,
    )


def _draw(*key: object) -> float:
    """A number from 0 to 1 that depends on the key alone, whoever asks and in whatever order."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32
