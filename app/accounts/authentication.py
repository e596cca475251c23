"""Who makes this request: a token in the header, or the session of someone who logged in.

A wrong credential is a 401 that says what is wrong with it; why a token no longer serves (expired,
revoked, its user switched off) is told only to who presents the right secret.
"""

import logging
from datetime import datetime
from typing import Any

from django import db
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied

from app.accounts import services, tokens
from app.accounts.models import Token, User
from app.accounts.token_caches import token_cache
from app.errors import Unavailable

logger = logging.getLogger(__name__)

SCHEMES = {"bearer", "token"}


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer stw_<prefix>_<secret>`, or DRF's `Token` in place of `Bearer`."""

    realm = "stowage"

    async def authenticate(self, request: Any) -> tuple[User, Token] | None:
        text = _presented(request.META.get("HTTP_AUTHORIZATION", ""))
        if text is None:
            return None
        now = timezone.now()
        token = await self.get_token(text)
        _check_usable(token, now)
        await _note_use(token, now)
        return token.user, token

    async def get_token(self, text: str) -> Token:
        """The token of that text. Raises AuthenticationFailed when there is none."""
        credential = tokens.parse(text)
        if credential is None:
            raise AuthenticationFailed(
                f"This is not a token of this API: one reads {tokens.KIND}_<prefix>_<secret>.",
                code="malformed_token",
            )
        token: Token | None = token_cache.get(credential)
        if token is not None:
            return token
        read_at = token_cache.now()
        try:
            token = await Token.objects.by_prefix(credential.prefix)
        except Token.DoesNotExist:
            token = None
        if token is None or not credential.matches(token.digest):
            raise AuthenticationFailed(
                "No such token. It was mistyped, or is of another server.", code="unknown_token"
            )
        token_cache.put(credential, token, read_at)
        return token

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


def _check_usable(token: Token, now: datetime) -> None:
    if token.revoked_at is not None:
        reason = f"The token was revoked at {token.revoked_at:%Y-%m-%dT%H:%M:%SZ}."
    elif token.expires_at is not None and token.expires_at <= now:
        reason = f"The token expired at {token.expires_at:%Y-%m-%dT%H:%M:%SZ}. Create another."
    elif not token.user.is_active:
        reason = "The user of this token is switched off."
    else:
        return
    raise AuthenticationFailed(reason, code="unusable_token")


async def _note_use(token: Token, now: datetime) -> None:
    """Record the use when the last record is a minute old; never at the expense of the request."""
    last = token.last_used_at
    if last is not None and now - last < services.LAST_USED_PRECISION:
        return
    try:
        if await services.record_token_use(token=token, used_at=now):
            token_cache.forget(token)
    except (db.Error, Unavailable):
        logger.warning("The use of token %s could not be recorded.", token.prefix, exc_info=True)
