"""Who calls, for the peers that are given authentication: a token's user, scope and rate."""

import time
from collections import defaultdict, deque
from typing import NamedTuple

import asyncpg

from load.bench.stacks.contract import LIMIT, WINDOW_SECONDS, may
from load.bench.stacks.sql import CALLER


class Caller(NamedTuple):
    id: int
    username: str
    is_active: bool
    scopes: list[str]

    def may(self, method: str) -> bool:
        return may(self.scopes, method)


async def find_caller(pool: asyncpg.Pool, header: str | None) -> Caller | None:
    """The active user of `Authorization: Bearer <token>`."""
    scheme, _, key = (header or "").partition(" ")
    if scheme != "Bearer":
        return None
    row = await pool.fetchrow(CALLER, key)
    return Caller(*row) if row is not None and row["is_active"] else None


class Rates:
    """The moments of each user's requests within the window."""

    def __init__(self) -> None:
        self.moments: dict[int, deque[float]] = defaultdict(deque)

    def allow(self, user_id: int) -> bool:
        moments, now = self.moments[user_id], time.monotonic()
        while moments and moments[0] <= now - WINDOW_SECONDS:
            moments.popleft()
        if len(moments) >= LIMIT:
            return False
        moments.append(now)
        return True
