"""Tokens that were looked up a moment ago, so that a busy client's requests need not ask again.

An entry is believed for `STOWAGE["TOKEN_CACHE_SECONDS"]` (1 by default; 0 asks each time), counted
from before it was read: a token that was revoked, or a user who was switched off or given another
role, is known for that in every worker within that time, and at once in the worker that did it.
Expiry is looked at on each request. There are at most `CAPACITY` entries; the oldest goes first.

What is kept is found by the digest of the secret, never by the secret. Each request is given
instances of its own: what a view does to its user stays with its request.
"""

import time
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.db.models.base import ModelState

from app.accounts.models import Token
from app.accounts.tokens import Credential

CAPACITY = 10_000

Key = tuple[str, str]


class TokenCache:
    """`get` what `put` was given, for a while."""

    def __init__(self, capacity: int = CAPACITY, clock: Any = time.monotonic) -> None:
        self.capacity = capacity
        self._clock = clock
        self._entries: dict[Key, tuple[float, Token]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def now(self) -> float:
        """The moment to give to `put`: taken before the token is read."""
        moment: float = self._clock()
        return moment

    def get(self, credential: Credential) -> Token | None:
        entry = self._entries.get((credential.prefix, credential.digest))
        if entry is None or self._clock() - entry[0] >= settings.STOWAGE["TOKEN_CACHE_SECONDS"]:
            return None
        return _own(entry[1])

    def put(self, credential: Credential, token: Token, read_at: float) -> None:
        if not settings.STOWAGE["TOKEN_CACHE_SECONDS"]:
            return
        key = (credential.prefix, credential.digest)
        self._entries.pop(key, None)  # what is put anew is the youngest
        self._entries[key] = (read_at, _own(token))
        if len(self._entries) > self.capacity:
            del self._entries[next(iter(self._entries))]

    def forget(self, token: Token) -> None:
        self._entries.pop((token.prefix, token.digest), None)

    def forget_all(self) -> None:
        self._entries.clear()


def _own(token: Token) -> Token:
    """The same token and user, as instances that nobody else has."""
    copied: Token = _copy(token)
    copied.user = _copy(token.user)
    return copied


def _copy(instance: Any) -> Any:
    """`copy.copy()` of a model instance takes ten times as long."""
    copied = instance.__class__.__new__(instance.__class__)
    state = ModelState()
    state.adding, state.db = False, DEFAULT_DB_ALIAS
    copied.__dict__.update(instance.__dict__, _state=state)
    return copied


token_cache = TokenCache()
