"""DRF's authentication classes, asking the database asynchronously.

`authenticate(request)` is a coroutine; a class of your own may define it either way.
"""

import base64
import binascii
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import aauthenticate, authenticate, get_backends, get_user_model
from rest_framework import authentication as drf
from rest_framework import exceptions
from rest_framework.authentication import (
    BaseAuthentication,
    CSRFCheck,
    get_authorization_header,
)

from app.rest.bridges import bridged
from app.rest.colours import call

__all__ = [
    "BaseAuthentication",
    "BasicAuthentication",
    "CSRFCheck",
    "RemoteUserAuthentication",
    "SessionAuthentication",
    "TokenAuthentication",
    "get_authorization_header",
]


async def user_of(request: Any, **credentials: Any) -> Any:
    """Django's `aauthenticate`; a backend that has only `authenticate` needs a thread."""
    if all(hasattr(backend, "aauthenticate") for backend in get_backends()):
        return await aauthenticate(request=request, **credentials)
    return await sync_to_async(authenticate)(request=request, **credentials)


class SessionAuthentication(drf.SessionAuthentication):
    """The session's user; unsafe methods need the CSRF token."""

    @bridged
    async def authenticate(self, request: Any) -> tuple[Any, None] | None:
        ask = getattr(request._request, "auser", None)
        user = await ask() if ask is not None else getattr(request._request, "user", None)
        if not user or not user.is_active:
            return None
        await request.aload()
        self.enforce_csrf(request)
        return (user, None)


class BasicAuthentication(drf.BasicAuthentication):
    @bridged
    async def authenticate(self, request: Any) -> tuple[Any, None] | None:
        pair = credentials_of(request)
        if pair is None:
            return None
        given: tuple[Any, None] = await call(self, "authenticate_credentials", *pair, request)
        return given

    @bridged
    async def authenticate_credentials(
        self, userid: str, password: str, request: Any = None
    ) -> tuple[Any, None]:
        credentials = {get_user_model().USERNAME_FIELD: userid, "password": password}
        user = await user_of(request, **credentials)
        if user is None:
            raise exceptions.AuthenticationFailed("Invalid username/password.")
        if not user.is_active:
            raise exceptions.AuthenticationFailed("User inactive or deleted.")
        return (user, None)


def credentials_of(request: Any) -> tuple[str, str] | None:
    """The user name and password of a Basic Authorization header. Raises AuthenticationFailed."""
    words = get_authorization_header(request).split()
    if not words or words[0].lower() != b"basic":
        return None
    if len(words) != 2:
        problem = (
            "No credentials provided."
            if len(words) == 1
            else ("Credentials string should not contain spaces.")
        )
        raise exceptions.AuthenticationFailed(f"Invalid basic header. {problem}")
    try:
        decoded = base64.b64decode(words[1])
        try:
            text = decoded.decode("utf-8")
        except UnicodeDecodeError:
            text = decoded.decode("latin-1")
        userid, password = text.split(":", 1)
    except (TypeError, ValueError, UnicodeDecodeError, binascii.Error):
        raise exceptions.AuthenticationFailed(
            "Invalid basic header. Credentials not correctly base64 encoded."
        ) from None
    return userid, password


class TokenAuthentication(drf.TokenAuthentication):
    """DRF's token model (`rest_framework.authtoken`), or any other with `key` and `user`."""

    @bridged
    async def authenticate(self, request: Any) -> tuple[Any, Any] | None:
        key = self.key_of(request)
        return None if key is None else await call(self, "authenticate_credentials", key)

    def key_of(self, request: Any) -> str | None:
        """The token in the Authorization header. Raises AuthenticationFailed."""
        words = get_authorization_header(request).split()
        if not words or words[0].lower() != self.keyword.lower().encode():
            return None
        if len(words) == 1:
            raise exceptions.AuthenticationFailed("Invalid token header. No credentials provided.")
        if len(words) > 2:
            raise exceptions.AuthenticationFailed(
                "Invalid token header. Token string should not contain spaces."
            )
        try:
            return words[1].decode()
        except UnicodeError:
            raise exceptions.AuthenticationFailed(
                "Invalid token header. Token string should not contain invalid characters."
            ) from None

    @bridged
    async def authenticate_credentials(self, key: str) -> tuple[Any, Any]:
        model = self.get_model()
        if "\x00" in key:
            raise exceptions.AuthenticationFailed("Invalid token.")
        try:
            token = await model._default_manager.select_related("user").aget(key=key)
        except model.DoesNotExist:
            raise exceptions.AuthenticationFailed("Invalid token.") from None
        if not token.user.is_active:
            raise exceptions.AuthenticationFailed("User inactive or deleted.")
        return (token.user, token)


class RemoteUserAuthentication(drf.RemoteUserAuthentication):
    @bridged
    async def authenticate(self, request: Any) -> tuple[Any, None] | None:
        user = await user_of(request, remote_user=request.META.get(self.header))
        return (user, None) if user and user.is_active else None
