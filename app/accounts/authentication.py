"""Who makes this request: a token in the header, or the session of someone who logged in.

A wrong credential is a 401 that says what is wrong with it; why a token no longer serves (expired,
revoked, its user switched off) is told only to who presents the right secret.
"""

import logging
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

from django import db
from django.conf import settings
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied

from app.accounts import services, tokens
from app.accounts.models import Token, User
from app.accounts.token_caches import LAST_USED_PRECISION, Key, Known, own, token_cache
from app.errors import Unavailable
from app.rest.callers import at_once
from app.rest.sharing import Shared

logger = logging.getLogger(__name__)

SCHEMES = {"bearer", "token"}

# A thousand clients with one token that come at once look it up, and note its use, once.
_lookups: Shared[tuple[float, Token]] = Shared()
_records: Shared[bool] = Shared()


def _recognize(authenticator: Any, request: Any) -> Known | None:
    """Whose token is presented, if it was a moment ago."""
    header = request.META.get("HTTP_AUTHORIZATION")
    if header is None or len(header) > LONGEST:
        return None
    try:
        known = _read_once(header)
    except AuthenticationFailed:
        return None
    return None if known is None else token_cache.recognize(known[1])


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer stw_<prefix>_<secret>`, or DRF's `Token` in place of `Bearer`."""

    realm = "stowage"

    @at_once(_recognize)
    async def authenticate(self, request: Any) -> tuple[User, Token] | None:
        header = request.META.get("HTTP_AUTHORIZATION")
        known = None if header is None else _read(header)
        if known is None:
            return None
        credential, key = known
        token = token_cache.get(*key)
        if token is None:
            token = await _fetch(credential)
        elif token_cache.wants_renewal:
            await _renew()
        now = datetime.now(UTC)
        user = token.user
        _check_usable(token, user, now)
        last = token.last_used_at
        if last is None or now - last >= LAST_USED_PRECISION:
            await _note_use(token, now)
        return user, token

    def authenticate_header(self, request: Any) -> str:
        """The challenge of RFC 6750: with an error once a credential was refused, plain before."""
        challenge = f'Bearer realm="{self.realm}"'
        if "HTTP_AUTHORIZATION" in request.META:
            challenge += ', error="invalid_token"'
        return challenge


class SessionAuthentication(BaseAuthentication):
    """The session of the browsable API. Whatever changes something must carry the CSRF token."""

    async def authenticate(self, request: Any) -> tuple[User, None] | None:
        auser = getattr(request._request, "auser", None)  # noqa: SLF001 - DRF's own way to Django's
        user = None if auser is None else await auser()
        if user is None or not user.is_authenticated or not user.is_active:
            return None
        await self.enforce_csrf(request)
        return user, None

    async def enforce_csrf(self, request: Any) -> None:
        """Raises PermissionDenied unless the CSRF token matches; safe methods need none."""
        if request.method not in {"GET", "HEAD", "OPTIONS"}:
            await request.aload()  # the token may stand in a form's field
        check = CSRFCheck(lambda _: None)
        check.process_request(request)
        reason = check.process_view(request, None, (), {})
        if reason:
            raise PermissionDenied(f"CSRF check failed: {reason}", code="csrf_failed")


LONGEST = 256
"""A longer header is read anew each time: what strangers send shall not fill the memory."""


def _read(header: str) -> tuple[tokens.Credential, Key] | None:
    """The token that is presented, and what it is found by; None when the header is of no scheme
    of ours. Raises AuthenticationFailed for what is no token.
    """
    return _read_once(header) if len(header) <= LONGEST else _parse(header)


def _parse(header: str) -> tuple[tokens.Credential, Key] | None:
    text = _presented(header)
    if text is None:
        return None
    credential = tokens.parse(text)
    if credential is None:
        raise AuthenticationFailed(
            f"This is not a token of this API: one reads {tokens.KIND}_<prefix>_<secret>.",
            code="malformed_token",
        )
    return credential, (credential.prefix, credential.digest)


_read_once = lru_cache(maxsize=1024)(_parse)


def _presented(header: str) -> str | None:
    """The token's text in the header, or None when the header is of no scheme of ours."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() not in SCHEMES:
        return None
    text = rest.strip()
    if not text:
        raise AuthenticationFailed(
            "The Authorization header holds no token after its scheme.", code="malformed_token"
        )
    if len(text.split()) > 1:
        raise AuthenticationFailed(
            "The Authorization header holds more than a scheme and one token.",
            code="malformed_token",
        )
    return text


async def _fetch(credential: tokens.Credential) -> Token:
    """The token of that text, for this request alone. Raises AuthenticationFailed."""
    came_at = token_cache.now()
    read_at, token = await _lookups.get(credential, partial(_look_up, credential))
    if came_at - read_at > settings.STOWAGE["TOKEN_CACHE_SECONDS"]:  # another's, and slow
        read_at, token = await _look_up(credential)
    return own(token)


def _check_usable(token: Token, user: User, now: datetime) -> None:
    if token.revoked_at is not None:
        reason = f"The token was revoked at {token.revoked_at:%Y-%m-%dT%H:%M:%SZ}."
    elif token.expires_at is not None and token.expires_at <= now:
        reason = f"The token expired at {token.expires_at:%Y-%m-%dT%H:%M:%SZ}. Create another."
    elif not user.is_active:
        reason = "The user of this token is switched off."
    else:
        return
    raise AuthenticationFailed(reason, code="unusable_token")


async def _look_up(credential: tokens.Credential) -> tuple[float, Token]:
    """The token as the database has it at that moment or later, read with those that are about to
    be due in the cache. Raises AuthenticationFailed when there is none.
    """
    read_at = token_cache.now()
    presented: Token | None = None
    with token_cache.renewing() as due:
        prefixes = [credential.prefix, *(one for one in due if one != credential.prefix)]
        rows = await Token.objects.rows_by_prefix(prefixes)
    for row in rows:
        if row["t_prefix"] != credential.prefix:
            token_cache.renew(row, read_at)
        elif credential.matches(row["t_digest"]):
            presented = token_cache.put(row, read_at)
    if presented is None:
        raise AuthenticationFailed(
            "No such token. It was mistyped, or is of another server.", code="unknown_token"
        )
    return read_at, presented


async def _renew() -> None:
    """Read the tokens that are about to be due; without a database they are believed as long."""
    read_at = token_cache.now()
    try:
        with token_cache.renewing() as due:
            rows = await Token.objects.rows_by_prefix(due) if due else []
    except (db.Error, Unavailable):
        logger.warning("Tokens could not be read ahead of time.", exc_info=True)
        return
    for row in rows:
        token_cache.renew(row, read_at)


async def _note_use(token: Token, now: datetime) -> None:
    """Record the use, whose last record is a minute old; never at the expense of the request."""
    record = partial(services.record_token_use, token=token, used_at=now)
    try:
        if await _records.get(token.pk, record):
            token_cache.forget(token)
    except (db.Error, Unavailable):
        logger.warning("The use of token %s could not be recorded.", token.prefix, exc_info=True)
