"""Callers who are known from a moment ago, and what can be said of them without asking again.

An authenticator may remember whom it let in, as that of tokens does. Then its `authenticate` has a
plain twin, which gives a `Caller` where nothing is to be waited for; `request.user` and
`request.auth` are made of that for whoever looks at them. A permission that needs no more than the
caller has a twin of its `has_permission`, which says True, or else nothing.

    class Mine(BaseAuthentication):
        @at_once(recognize)               # recognize(self, request) -> Caller | None
        async def authenticate(self, request): ...

A twin goes with its function: a class that overrides that is asked as ever. Twins are asked on the
usual way into a view only (`pipelines`).
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

__all__ = ["RECOGNIZED", "Caller", "at_once", "caller_of", "recognize", "take_caller", "twin_of"]

F = TypeVar("F")

_TWIN = "at_once"
_PENDING, _TAKEN = "_caller", "_caller_taken"
RECOGNIZED = "_is_recognized"


class Caller(Protocol):
    """Who calls. `ident`: the user's key, as a throttle counts by it."""

    ident: Any

    def take(self) -> tuple[Any, Any]:
        """User and auth, for one request alone."""


def at_once(plain: Callable[..., Any]) -> Callable[[F], F]:
    """Give a method a plain twin."""

    def mark(method: F) -> F:
        setattr(method, _TWIN, plain)
        return method

    return mark


def twin_of(method: Any) -> Any:
    return getattr(method, _TWIN, None)


def recognize(request: Any, authenticator: Any) -> Caller | None:
    """Have DRF's request authenticated by the authenticator's twin, if that knows the caller."""
    plain = getattr(type(authenticator).authenticate, _TWIN, None)
    caller: Caller | None = None if plain is None else plain(authenticator, request)
    if caller is not None:
        attributes = request.__dict__
        attributes["_authenticator"] = authenticator
        attributes[RECOGNIZED] = True
        attributes["_request"].__dict__[_PENDING] = caller
    return caller


def caller_of(request: Any) -> Caller | None:
    """The caller of DRF's request who was recognized, while nobody has looked at the user."""
    attributes = request.__dict__
    if RECOGNIZED not in attributes:
        return None
    caller: Caller | None = attributes["_request"].__dict__.get(_PENDING)
    return caller


def take_caller(request: Any) -> tuple[Any, Any] | None:
    """User and auth of who was recognized in Django's request, made once; None for nobody."""
    attributes = request.__dict__
    if _PENDING in attributes:
        pair = attributes[_TAKEN] = attributes.pop(_PENDING).take()
        attributes.setdefault("user", pair[0])
        attributes.setdefault("auth", pair[1])
    taken: tuple[Any, Any] | None = attributes.get(_TAKEN)
    return taken
