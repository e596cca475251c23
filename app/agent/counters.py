"""From counters to rates.

    cpu used = delta cpu_total / delta system * online_cpus

A counter that went down is a restart: the pair says nothing and is dropped, the new reading starts
afresh.
"""

from collections.abc import Hashable, Iterable
from typing import NamedTuple


class Reading(NamedTuple):
    """One look at a container: its CPU time, that of all CPUs (same unit), and its memory."""

    cpu_total: int
    system: int
    online_cpus: int
    memory_bytes: int


def used_cores(before: Reading, after: Reading) -> float | None:
    """The cores used between two readings; None after a restart, or when no time has passed."""
    cpu, system = after.cpu_total - before.cpu_total, after.system - before.system
    if cpu < 0 or system <= 0:
        return None
    return cpu / system * after.online_cpus


class Counters:
    """The last reading of each container. A restart that is known of has a key of its own."""

    def __init__(self) -> None:
        self._last: dict[Hashable, Reading] = {}

    def advance(self, key: Hashable, reading: Reading) -> float | None:
        """The cores used since the last reading of `key`; None for its first."""
        before = self._last.get(key)
        self._last[key] = reading
        return None if before is None else used_cores(before, reading)

    def keep(self, keys: Iterable[Hashable]) -> None:
        """Forgets every other key: readings of what is gone take no memory."""
        kept = set(keys)
        self._last = {key: reading for key, reading in self._last.items() if key in kept}

    def __len__(self) -> int:
        return len(self._last)
