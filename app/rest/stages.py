"""What Django's own middleware does to a request, in the fewest steps that do the same.

Each class whose instances are plain has a pair of functions, for the way in and for the way out;
None where there is nothing to do at all. They look first for what would make the middleware act (a
cookie, a redirect, a 404) and call it if they find it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware, auser, get_user
from django.contrib.sessions.middleware import SessionMiddleware
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.functional import SimpleLazyObject

from app.rest import shortcuts
from app.rest.asgi_requests import ASGIRequest
from app.rest.shortcuts import setting

In = Callable[[Any], Any]
Out = Callable[[Any, Any], Any]


def steps_of(middleware: Any) -> tuple[In | None, Out | None]:
    """The way in and the way out of one middleware."""
    make = _PLAIN.get(type(middleware)) if shortcuts.are_on() else None
    if make is not None:
        return make(middleware)
    return (
        getattr(middleware, "process_request", None),
        getattr(middleware, "process_response", None),
    )


def _promise(request: Any, name: str, make: Callable[[Any], Any]) -> None:
    if isinstance(request, ASGIRequest):
        if request.promises is ASGIRequest.promises:
            request.promises = {}
        request.promises[name] = make
    else:
        setattr(request, name, make(request))


def _security(middleware: Any) -> tuple[In | None, Out]:
    # As the middleware reads its settings: once, when it is made.
    plain: Any = _Headers()
    options = {
        "sts_seconds": 0,
        "content_type_nosniff": middleware.content_type_nosniff,
        "referrer_policy": middleware.referrer_policy,
        "cross_origin_opener_policy": middleware.cross_origin_opener_policy,
    }
    fixed = object.__new__(SecurityMiddleware)
    fixed.__dict__.update(options)
    fixed.process_response(None, plain)  # type: ignore[arg-type]
    headers = list(plain.headers._store.items())

    def go_out(request: Any, response: Any) -> Any:
        if middleware.sts_seconds and request.is_secure():
            return middleware.process_response(request, response)
        store = response.headers._store
        for key, pair in headers:
            if key not in store:
                store[key] = pair
        return response

    return (middleware.process_request if middleware.redirect else None), go_out


class _Headers:
    """Takes the headers that a middleware would set on a bare response."""

    def __init__(self) -> None:
        from django.http.response import ResponseHeaders

        self.headers = ResponseHeaders({})
        self.setdefault = self.headers.setdefault


def _session(middleware: Any) -> tuple[In, Out]:
    def make(request: Any) -> Any:
        return middleware.SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))

    def go_in(request: Any) -> None:
        _promise(request, "session", make)

    def go_out(request: Any, response: Any) -> Any:
        if "session" not in request.__dict__ and "HTTP_COOKIE" not in request.META:
            return response
        return middleware.process_response(request, response)

    return go_in, go_out


def _common(middleware: Any) -> tuple[In, Out]:
    def go_in(request: Any) -> Any:
        if setting("DISALLOWED_USER_AGENTS") or setting("PREPEND_WWW"):
            return middleware.process_request(request)
        request.get_host()
        return None

    def go_out(request: Any, response: Any) -> Any:
        if response.status_code == 404 or response.streaming:
            return middleware.process_response(request, response)
        store = response.headers._store
        if "content-length" not in store:
            store["content-length"] = ("Content-Length", str(len(response.content)))
        return response

    return go_in, go_out


def _csrf(middleware: Any) -> tuple[In, Out]:
    def go_in(request: Any) -> Any:
        if setting("CSRF_USE_SESSIONS") or "HTTP_COOKIE" in request.META:
            return middleware.process_request(request)
        return None

    return go_in, middleware.process_response


def _authentication(middleware: Any) -> tuple[In, None]:
    def make_user(request: Any) -> Any:
        return SimpleLazyObject(partial(get_user, request))

    def make_auser(request: Any) -> Any:
        return partial(auser, request)

    def go_in(request: Any) -> Any:
        if not isinstance(request, ASGIRequest) or "session" not in request.promises:
            return middleware.process_request(request)
        _promise(request, "user", make_user)
        _promise(request, "auser", make_auser)
        return None

    return go_in, None


_PLAIN: dict[type, Callable[[Any], tuple[In | None, Out | None]]] = {
    SecurityMiddleware: _security,
    SessionMiddleware: _session,
    CommonMiddleware: _common,
    CsrfViewMiddleware: _csrf,
    AuthenticationMiddleware: _authentication,
    XFrameOptionsMiddleware: lambda middleware: (None, middleware.process_response),
}

__all__ = ["steps_of"]
