"""Logins that are tried, counted against guessing. Pure: the caller says what time it is.

Rules. A try counts twice: for its address, and for its address with its name. It is counted before
the password is looked at, so that many at once don't slip through, and taken back when the password
is right. Whoever reaches a limit waits until the oldest of those tries is `WINDOW_SECONDS` past;
until then even the right password is not looked at. A name alone locks nobody out: anybody could
lock out anybody. Counters live in this worker and are bounded: past `MAX_KEYS` the least recent go.
"""

import ipaddress
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from math import ceil

WINDOW_SECONDS = 300.0
LIMIT_PER_NAME = 5
LIMIT_PER_ADDRESS = 50
MAX_KEYS = 10_000

Key = tuple[str, str]


@dataclass
class Attempts:
    """When was tried, by (address, name); an empty name stands for all names of the address."""

    _tries: OrderedDict[Key, deque[float]] = field(default_factory=OrderedDict)

    def begin(self, *, address: str, name: str, now: float) -> int:
        """Count a try. Returns 0, or, counting nothing, how many seconds the caller must wait."""
        wait = max(
            self._wait((address, name), LIMIT_PER_NAME, now),
            self._wait((address, ""), LIMIT_PER_ADDRESS, now),
        )
        if not wait:
            self._add((address, name), now)
            self._add((address, ""), now)
        return wait

    def succeed(self, *, address: str, name: str) -> None:
        """Take this try back, and what was tried with the name before. The address keeps its other
        tries: this account may be the guesser's own."""
        self._tries.pop((address, name), None)
        of_address = self._tries.get((address, ""))
        if of_address:
            of_address.pop()

    def _wait(self, key: Key, limit: int, now: float) -> int:
        recent = self._tries.get(key)
        if recent is None:
            return 0
        while recent and now - recent[0] >= WINDOW_SECONDS:
            recent.popleft()
        return ceil(WINDOW_SECONDS - (now - recent[0])) if len(recent) >= limit else 0

    def _add(self, key: Key, now: float) -> None:
        self._tries.setdefault(key, deque()).append(now)
        self._tries.move_to_end(key)
        while len(self._tries) > MAX_KEYS:
            self._tries.popitem(last=False)


def network_of(address: str) -> str:
    """Whom to count: an IPv4 address, or the /64 of an IPv6 one, all of which is one customer's."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
