"""DRF's throttles. Each request is counted in one atomic step, so that none slips through together.

Counters live in this process; several workers count each for itself.
"""

import time
from collections import deque
from typing import Any

from rest_framework import throttling as drf
from rest_framework.throttling import BaseThrottle

__all__ = [
    "AnonRateThrottle",
    "BaseThrottle",
    "MemoryStore",
    "ScopedRateThrottle",
    "SimpleRateThrottle",
    "UserRateThrottle",
]


class MemoryStore:
    """The times of recent requests, by key. One process, one thread: a call is one atomic step."""

    def __init__(self, capacity: int = 100_000) -> None:
        self.capacity = capacity
        self.histories: dict[str, deque[float]] = {}

    async def hit(
        self, key: str, limit: int, duration: float, now: float
    ) -> tuple[bool, list[float]]:
        """Count a request unless `limit` were made within `duration` seconds; its history, newest
        first.
        """
        history = self.histories.pop(key, None) or deque()
        while history and history[-1] <= now - duration:
            history.pop()
        allowed = len(history) < limit
        if allowed:
            history.appendleft(now)
        self.histories[key] = history  # moved to the end: the oldest key is the first to go
        if len(self.histories) > self.capacity:
            del self.histories[next(iter(self.histories))]
        return allowed, list(history)

    def clear(self) -> None:
        self.histories.clear()


store = MemoryStore()


class SimpleRateThrottle(drf.SimpleRateThrottle):
    """DRF's: set `rate` or `scope`, and `get_cache_key`."""

    store: Any = store
    timer = staticmethod(time.time)

    async def allow_request(self, request: Any, view: Any) -> bool:
        if self.rate is None:
            return True
        self.key = self.get_cache_key(request, view)
        if self.key is None:
            return True
        self.now = self.timer()
        allowed, self.history = await self.store.hit(
            self.key, self.num_requests, self.duration, self.now
        )
        return bool(allowed)


class AnonRateThrottle(SimpleRateThrottle, drf.AnonRateThrottle):
    pass


class UserRateThrottle(SimpleRateThrottle, drf.UserRateThrottle):
    pass


class ScopedRateThrottle(SimpleRateThrottle, drf.ScopedRateThrottle):
    def __init__(self) -> None:
        """The rate is known when the view is: DRF's own `__init__` does nothing either."""

    async def allow_request(self, request: Any, view: Any) -> bool:
        self.scope = getattr(view, self.scope_attr, None)
        if not self.scope:
            return True
        self.rate = self.get_rate()
        self.num_requests, self.duration = self.parse_rate(self.rate)
        return await super().allow_request(request, view)
