"""Tokens that were looked up a moment ago, so that a busy client's requests need not ask again.

An entry is believed for `STOWAGE["TOKEN_CACHE_SECONDS"]` (1 by default; 0 asks each time), counted
from before it was read: a token that was revoked, or a user who was switched off or given another
role, is known for that in every worker within that time, and at once in the worker that did it.
Expiry is looked at on each request. There are at most `CAPACITY` entries; the oldest goes first.

Whoever has to read a token reads those that are about to be due as well (`due`), in one query, and
so does the first request that finds a busy client's token past three quarters of its time: with a
hundred busy clients there are two queries a second, not a hundred. One reads for all at a time
(`renewing`): those that come meanwhile go on with what is believed yet, or read their own alone.

What is kept is found by the digest of the secret, never by the secret. Each request is given
instances of its own: what a view does to its user stays with its request.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models.base import ModelState

from app.accounts.models import Token, User
from app.rest.shortcuts import setting

CAPACITY = 10_000

MOST_AT_ONCE = 200

RENEWED_AT = 0.75
"""The share of its time after which a busy client's token is read again, before it is due."""

LAST_USED_PRECISION = timedelta(minutes=1)

Key = tuple[str, str]
"""Prefix and digest."""


class Known:
    """Who presents a token that was read a moment ago (`app.rest.callers`). `scopes`: what the
    token may do; `passes_until` (Unix time): when there is something to be looked at again, as
    whether it has expired, or to be noted of it.
    """

    __slots__ = ("ident", "is_used", "passes_until", "read_at", "row", "scopes", "token")

    def __init__(self, row: Any, token: Token, read_at: float) -> None:
        self.row = row
        self.token = token
        self.read_at = read_at
        self.is_used = False
        self.ident = token.user.pk
        self.scopes = token.effective_scopes
        self.passes_until = 0.0
        if token.revoked_at is None and token.user.is_active and token.last_used_at is not None:
            self.passes_until = (token.last_used_at + LAST_USED_PRECISION).timestamp()
            if token.expires_at is not None:
                self.passes_until = min(self.passes_until, token.expires_at.timestamp())

    def take(self) -> tuple[User, Token]:
        token = own(self.token)
        return token.user, token


class TokenCache:
    """`get` what `put` was given, for a while."""

    def __init__(self, capacity: int = CAPACITY, clock: Any = time.monotonic) -> None:
        self.capacity = capacity
        self._clock = clock
        self._entries: dict[Key, Known] = {}
        self.is_renewing = self.wants_renewal = False

    def __len__(self) -> int:
        return len(self._entries)

    def now(self) -> float:
        """The moment to give to `put`: taken before the token is read."""
        moment: float = self._clock()
        return moment

    def get(self, prefix: str, digest: str) -> Token | None:
        """The token, if it is believed. `wants_renewal` says whether it was used before and will
        be due soon, and nobody is reading those yet.
        """
        entry = self._entries.get((prefix, digest))
        if entry is None:
            return None
        age, seconds = self._clock() - entry.read_at, setting("STOWAGE")["TOKEN_CACHE_SECONDS"]
        if age >= seconds:
            entry.is_used = True
            return None
        if age >= seconds * RENEWED_AT and entry.is_used and not self.is_renewing:
            self.wants_renewal = True
        entry.is_used = True
        return own(entry.token)

    def recognize(self, key: Key) -> Known | None:
        """Whose token it is, if that is believed, and there is nothing to be done about it."""
        known = self._entries.get(key)
        if known is None:
            return None
        age, seconds = self._clock() - known.read_at, setting("STOWAGE")["TOKEN_CACHE_SECONDS"]
        is_due = age >= seconds * RENEWED_AT and known.is_used and not self.is_renewing
        if age >= seconds or is_due or time.time() >= known.passes_until:
            return None
        known.is_used = True
        return known

    @contextmanager
    def renewing(self) -> Iterator[list[str]]:
        """Of the block, which reads them: the prefixes of those that are about to be due."""
        self.wants_renewal, is_first = False, not self.is_renewing
        self.is_renewing = True
        try:
            yield self.due() if is_first else []
        finally:
            if is_first:
                self.is_renewing = False

    def put(self, row: Any, read_at: float) -> Token:
        """Keep the token of this row (`TokenQuerySet.rows_by_prefix`), whose secret was presented;
        returns it.
        """
        token: Token = Token.objects.of_row(row)
        if setting("STOWAGE")["TOKEN_CACHE_SECONDS"]:
            self._keep(Known(row, own(token), read_at))
        return token

    def renew(self, row: Any, read_at: float) -> None:
        """Believe a token that is kept for longer, if it still is what this row says."""
        key = (row["t_prefix"], row["t_digest"])
        entry = self._entries.get(key)
        if entry is None:
            return
        if entry.row == row:
            entry.read_at, entry.is_used = read_at, False
            self._keep(entry)
        else:
            self.put(row, read_at)

    def _keep(self, entry: Known) -> None:
        key = (entry.token.prefix, entry.token.digest)
        self._entries.pop(key, None)  # what was read last is the youngest
        self._entries[key] = entry
        if len(self._entries) > self.capacity:
            del self._entries[next(iter(self._entries))]

    def due(self) -> list[str]:
        """The prefixes of those that were used since they were read and are past half their time,
        the oldest first, at most `MOST_AT_ONCE`. Lets go of those that nobody used in their time.
        """
        now, seconds = self._clock(), setting("STOWAGE")["TOKEN_CACHE_SECONDS"]
        found: list[str] = []
        unused: list[Key] = []
        for key, entry in self._entries.items():
            age = now - entry.read_at
            if age < seconds / 2 or len(found) >= MOST_AT_ONCE:
                break  # the rest is younger
            if entry.is_used:
                found.append(key[0])
            elif age >= seconds:
                unused.append(key)
        for key in unused:
            del self._entries[key]
        return found

    def forget(self, token: Token) -> None:
        self._entries.pop((token.prefix, token.digest), None)

    def forget_all(self) -> None:
        self._entries.clear()


def own(token: Token) -> Token:
    """The same token and user, as instances that nobody else has. `copy.copy()` of a model instance
    takes ten times as long.
    """
    user: User = _new(User)
    user.__dict__ = attributes = token.user.__dict__.copy()
    attributes["_state"] = state = _new(ModelState)
    state.adding, state.db, state.fields_cache = False, DEFAULT_DB_ALIAS, {}
    copied: Token = _new(Token)
    copied.__dict__ = attributes = token.__dict__.copy()
    attributes["_state"] = state = _new(ModelState)
    state.adding, state.db, state.fields_cache = False, DEFAULT_DB_ALIAS, {"user": user}
    return copied


_new: Any = object.__new__
token_cache = TokenCache()
