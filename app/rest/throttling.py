"""DRF's throttles. Each request is counted in one atomic step, so that none slips through together.

Counts live in a store: in this process (`MemoryStore`, each worker for itself), or, where
`settings.CACHE_URL` names a Redis, in that (`RedisStore`, all workers together). While the Redis
cannot be reached each worker counts for itself, the log says so once, and no request waits for it:
a throttle protects the service, it is not the service. A throttle that sets DRF's `cache` attribute
counts in that cache (`CacheStore`).

An answer says what is left: `RateLimit-Policy: "user";q=100;w=60` and `RateLimit: "user";r=7;t=42`.
"""

import logging
import math
import time
import uuid
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from rest_framework import throttling as drf
from rest_framework.throttling import BaseThrottle

from app.rest.bridges import bridged
from app.rest.callers import caller_of
from app.rest.shortcuts import setting

__all__ = [
    "AnonRateThrottle",
    "BaseThrottle",
    "CacheStore",
    "MemoryStore",
    "RedisStore",
    "ScopedRateThrottle",
    "SimpleRateThrottle",
    "UserRateThrottle",
]

logger = logging.getLogger("app.rest.throttling")


class Times(Sequence[float]):
    """The times that count now, as DRF asks of them: how many there are, and the oldest."""

    __slots__ = ("number", "oldest")

    def __init__(self, number: int, oldest: float) -> None:
        self.number = number
        self.oldest = oldest

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: Any) -> Any:
        return [self.oldest] * self.number if isinstance(index, slice) else self.oldest


class History:
    """The times of the requests under one key, oldest first; `count` of them.

    Up to `EXACT` each is kept. Beyond that, those within a thousandth of the duration are kept as
    one, under the latest of them: a limit of a million takes no more memory than one of a thousand,
    which is 16 KB.
    """

    EXACT = 1000
    __slots__ = ("count", "first", "numbers", "times")

    def __init__(self) -> None:
        self.count = 0
        self.first = 0  # those before it are over
        self.times = array("d")
        self.numbers = array("L")

    def drop_until(self, moment: float) -> None:
        times, first = self.times, self.first
        while first < len(times) and times[first] <= moment:
            self.count -= self.numbers[first]
            first += 1
        if first > len(times) // 2:
            del times[:first], self.numbers[:first]
            first = 0
        self.first = first

    def add(self, now: float, limit: int, duration: float) -> None:
        self.count += 1
        times = self.times
        is_kept_one = limit > self.EXACT and len(times) - self.first > 1
        if is_kept_one and now - times[-2] < duration / 1000:
            times[-1] = now
            self.numbers[-1] += 1
        else:
            times.append(now)
            self.numbers.append(1)

    def oldest(self, now: float) -> float:
        return self.times[self.first] if self.first < len(self.times) else now


class MemoryStore:
    """The times of recent requests, by key. One process, one thread: a call is one atomic step."""

    def __init__(self, capacity: int = 100_000) -> None:
        self.capacity = capacity
        self.histories: dict[str, History] = {}

    async def hit(
        self, key: str, limit: int, duration: float, now: float
    ) -> tuple[bool, Sequence[float]]:
        """Count a request unless `limit` were made within `duration` seconds.

        Returns whether it was counted, and the times that count now.
        """
        allowed, number, oldest = self.count(key, limit, duration, now)
        return allowed, Times(number, oldest)

    def count(self, key: str, limit: int, duration: float, now: float) -> tuple[bool, int, float]:
        """`hit`, which here waits for nothing: how many times count now, and the oldest."""
        histories = self.histories
        history = histories.pop(key, None) or History()
        times, over = history.times, now - duration
        if history.first < len(times) and times[history.first] <= over:
            history.drop_until(over)
        allowed = history.count < limit
        if allowed:
            history.add(now, limit, duration)
        histories[key] = history  # moved to the end: the oldest key is the first to go
        if len(histories) > self.capacity:
            del histories[next(iter(histories))]
        return allowed, history.count, history.oldest(now)

    def clear(self) -> None:
        self.histories.clear()


class RedisStore:
    """The same in Redis: a sorted set for each key, changed by one script."""

    SCRIPT = """
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1] - ARGV[2])
    local count = redis.call('ZCARD', KEYS[1])
    local allowed = count < tonumber(ARGV[3])
    if allowed then
        redis.call('ZADD', KEYS[1], ARGV[1], ARGV[4])
        redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[2] * 1000))
        count = count + 1
    end
    local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
    return {allowed and 1 or 0, count, oldest[2] or ARGV[1]}
    """

    TIMEOUT_SECONDS = 0.5
    RETRY_SECONDS = 5.0
    """How long a Redis that failed is left alone."""

    def __init__(self, url: str, meanwhile: MemoryStore) -> None:
        from redis import asyncio as redis

        self.client = redis.from_url(
            url, socket_timeout=self.TIMEOUT_SECONDS, socket_connect_timeout=self.TIMEOUT_SECONDS
        )
        self.script = self.client.register_script(self.SCRIPT)
        self.errors = (redis.RedisError, OSError)
        self.meanwhile = meanwhile
        self.away_until: float | None = None

    async def hit(
        self, key: str, limit: int, duration: float, now: float
    ) -> tuple[bool, Sequence[float]]:
        if self.away_until is not None and time.monotonic() < self.away_until:
            return await self.meanwhile.hit(key, limit, duration, now)
        try:
            allowed, count, oldest = await self.script(
                keys=[key], args=[now, duration, limit, f"{now}-{uuid.uuid4().hex}"]
            )
        except self.errors as error:
            if self.away_until is None:
                logger.warning("Redis cannot be reached: each worker counts alone. %s", error)
            self.away_until = time.monotonic() + self.RETRY_SECONDS
            return await self.meanwhile.hit(key, limit, duration, now)
        if self.away_until is not None:
            logger.warning("Redis is back: workers count together again.")
            self.away_until = None
        return bool(allowed), Times(int(count), float(oldest))

    async def close(self) -> None:
        await self.client.aclose()


class CacheStore:
    """A Django cache, for a throttle that names one of its own, as DRF counts in it: read, then
    written, so that requests of one moment may slip through together.
    """

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    async def hit(
        self, key: str, limit: int, duration: float, now: float
    ) -> tuple[bool, Sequence[float]]:
        history = [made for made in await self.cache.aget(key, []) if made > now - duration]
        allowed = len(history) < limit
        if allowed:
            history.insert(0, now)
            await self.cache.aset(key, history, duration)
        return allowed, history


store = MemoryStore()
_stores: dict[str, RedisStore] = {}


def current_store() -> MemoryStore | RedisStore:
    """The Redis of `settings.CACHE_URL`, else this process's memory."""
    url = setting("CACHE_URL")
    if not url:
        return store
    if url not in _stores:
        _stores[url] = RedisStore(url, meanwhile=store)
    return _stores[url]


@lru_cache(maxsize=256)
def _parse_rate(rate: str | None) -> Any:
    """DRF's, once for each rate: the number of requests, and seconds."""
    return drf.SimpleRateThrottle.parse_rate(object(), rate)


@lru_cache(maxsize=1024)
def _policy(scope: str, limit: int, duration: float) -> tuple[str, str]:
    """The quoted name, and RateLimit-Policy."""
    return f'"{scope}"', f'"{scope}";q={limit};w={duration}'


_cache_of_drf = drf.SimpleRateThrottle.cache


class SimpleRateThrottle(drf.SimpleRateThrottle):
    """DRF's: set `rate` or `scope`, and `get_cache_key`."""

    timer = staticmethod(time.time)
    key: str | None = None
    _history: Sequence[float] | None = None
    _number, _oldest = 0, 0.0

    def __init__(self) -> None:
        if not getattr(self, "rate", None):
            self.rate = self.get_rate()
        self.num_requests, self.duration = self.parse_rate(self.rate)

    @property
    def history(self) -> Sequence[float]:
        """The times that count now, the oldest at the end."""
        if self._history is None:
            self._history = Times(self._number, self._oldest)
        return self._history

    @history.setter
    def history(self, value: Sequence[float]) -> None:
        self._history = value

    def parse_rate(self, rate: str | None) -> Any:
        return _parse_rate(rate)

    @bridged
    async def allow_request(self, request: Any, view: Any) -> bool:
        allowed = self.allow_at_once(request, view)
        return await self.allow_by_store() if allowed is None else allowed

    def allow_at_once(self, request: Any, view: Any) -> bool | None:
        """`allow_request`, where nothing is to be waited for; else None, and nothing is counted."""
        if self.rate is None:
            return True
        self.key = key = self.get_cache_key(request, view)
        if key is None:
            return True
        self.now = now = self.timer()
        if self.cache is _cache_of_drf and not setting("CACHE_URL"):
            limit, duration = self.num_requests, self.duration
            allowed, self._number, self._oldest = store.count(key, limit, duration, now)
            self._history = None  # of the request before, where a view keeps its throttle
            return allowed
        return None

    async def allow_by_store(self) -> bool:
        """What is left of `allow_request` then."""
        counted: MemoryStore | RedisStore | CacheStore
        counted = current_store() if self.cache is _cache_of_drf else CacheStore(self.cache)
        key: Any = self.key
        limit, duration = self.num_requests, self.duration
        allowed, self.history = await counted.hit(key, limit, duration, self.now)
        return allowed

    def rate_limit(self) -> tuple[str, str] | None:
        """The values of RateLimit-Policy and RateLimit, once a request was counted."""
        if self.key is None:
            return None
        limit, duration, history = self.num_requests, self.duration, self._history
        name, policy = _policy(self.scope or type(self).__name__, limit, duration)
        if history is None:
            count, oldest = self._number, self._oldest
        else:
            count = len(history)
            oldest = history[-1] if count else self.now
        resets = math.ceil(duration - (self.now - oldest)) if count else 0
        return policy, (f"{name};r={limit - count if count < limit else 0};t={max(0, resets)}")


class AnonRateThrottle(SimpleRateThrottle, drf.AnonRateThrottle):
    def get_cache_key(self, request: Any, view: Any) -> str | None:
        if caller_of(request) is not None:
            return None
        key: str | None = super().get_cache_key(request, view)
        return key


_FORMAT = "throttle_%(scope)s_%(ident)s"


class UserRateThrottle(SimpleRateThrottle, drf.UserRateThrottle):
    def get_cache_key(self, request: Any, view: Any) -> str:
        caller = caller_of(request)
        if caller is None:
            user = request.user
            ident = user.pk if user and user.is_authenticated else self.get_ident(request)
        else:
            ident = caller.ident
        if self.cache_format == _FORMAT:
            return f"throttle_{self.scope}_{ident}"
        key: str = self.cache_format % {"scope": self.scope, "ident": ident}
        return key


class ScopedRateThrottle(SimpleRateThrottle, drf.ScopedRateThrottle):
    def __init__(self) -> None:
        """The rate is known when the view is: DRF's own `__init__` does nothing either."""

    @bridged
    async def allow_request(self, request: Any, view: Any) -> bool:
        self.scope = getattr(view, self.scope_attr, None)
        if not self.scope:
            return True
        self.rate = self.get_rate()
        self.num_requests, self.duration = self.parse_rate(self.rate)
        return await super().allow_request(request, view)
