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
from django.http import HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.functional import SimpleLazyObject

from app.rest import shortcuts
from app.rest.asgi_requests import ASGIRequest
from app.rest.response import Response
from app.rest.shortcuts import setting, settings_read

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
        request.promises = {**request.promises, name: make}
    else:
        setattr(request, name, make(request))


def _fixed_headers(middleware: Any, *, is_secure: bool) -> dict[str, tuple[str, str]]:
    """What the middleware sets on an answer that has none of its headers."""
    plain = HttpResponse()
    del plain["Content-Type"]
    fixed = object.__new__(SecurityMiddleware)
    fixed.__dict__.update(middleware.__dict__)
    fixed.process_response(_Secure(is_secure), plain)  # type: ignore[arg-type]
    return dict(plain.headers._store)


class _Secure:
    def __init__(self, answer: bool) -> None:
        self.is_secure = lambda: answer


def _security(middleware: Any) -> tuple[In | None, Out]:
    headers = _fixed_headers(middleware, is_secure=False)

    def go_out(request: Any, response: Any) -> Any:
        if middleware.sts_seconds and request.is_secure():
            return middleware.process_response(request, response)
        store = response.headers._store
        if headers.keys().isdisjoint(store):
            store.update(headers)
        else:
            for key, pair in headers.items():
                store.setdefault(key, pair)
        return response

    return (middleware.process_request if middleware.redirect else None), go_out


def _session_of(middleware: Any) -> dict[str, Callable[[Any], Any]]:
    def make(request: Any) -> Any:
        return middleware.SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))

    return {"session": make}


def _session(middleware: Any) -> tuple[In, Out]:
    make = _session_of(middleware)["session"]

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

    def go_out(request: Any, response: Any) -> Any:
        if "CSRF_COOKIE_NEEDS_UPDATE" in request.META:
            return middleware.process_response(request, response)
        return response

    return go_in, go_out


def _frames(middleware: Any) -> tuple[None, Out]:
    def go_out(request: Any, response: Any) -> Any:
        store = response.headers._store
        if "x-frame-options" in store or getattr(response, "xframe_options_exempt", False):
            return response
        store["x-frame-options"] = _frame_options(setting("X_FRAME_OPTIONS"))
        return response

    return None, go_out


_DENY = ("X-Frame-Options", "DENY")
_DENIES = (None, "DENY")


def _frame_options(given: str | None) -> tuple[str, str]:
    return _DENY if given is None else ("X-Frame-Options", given.upper())


def _users_of(middleware: Any) -> dict[str, Callable[[Any], Any]]:
    return {
        "user": lambda request: SimpleLazyObject(partial(get_user, request)),
        "auser": lambda request: partial(auser, request),
    }


_PROMISES = {SessionMiddleware: _session_of, AuthenticationMiddleware: _users_of}


def _authentication(middleware: Any) -> tuple[In, None]:
    promised = _users_of(middleware)

    def go_in(request: Any) -> Any:
        if not isinstance(request, ASGIRequest) or "session" not in request.promises:
            return middleware.process_request(request)
        for name, make in promised.items():
            _promise(request, name, make)
        return None

    return go_in, None


class Row:
    """A whole row of Django's middleware, passed in one step each way by a request to which none of
    them would do anything but set the same headers as to any other.

    `enters` and `leaves` say whether that was so; if not, nothing was done, and the row is to be
    passed one by one.
    """

    def __init__(self, middleware: list[Any]) -> None:
        known = {type(one): one for one in middleware}
        self.is_known = (
            bool(known) and len(known) == len(middleware) and _PLAIN.keys() >= set(known)
        )
        self.is_known &= AuthenticationMiddleware not in known or SessionMiddleware in known
        self.promises = {
            name: make
            for kind in (SessionMiddleware, AuthenticationMiddleware)
            if kind in known
            for name, make in _PROMISES[kind](known[kind]).items()
        }
        self.checks_host = self.adds_length = CommonMiddleware in known
        self.adds_frames = XFrameOptionsMiddleware in known
        self.security: Any = known.get(SecurityMiddleware)
        # As the middleware reads its settings: once, when it is made.
        self.headers, self.secure_headers = (
            ({}, {}) if self.security is None else (
                _fixed_headers(self.security, is_secure=False),
                _fixed_headers(self.security, is_secure=True),
            )
        )  # fmt: skip

    def enters(self, request: Any) -> bool:
        if type(request) is not ASGIRequest or "HTTP_COOKIE" in request.META:
            return False
        agents, prefix, in_sessions = _what_may_act()
        if self.checks_host and (agents or prefix or not request.has_known_host()):
            return False
        if self.security is not None and self.security.redirect and not request.is_secure():
            return False
        if in_sessions:
            return False
        given = request.promises  # of a row further out
        request.promises = {**given, **self.promises} if given else self.promises
        return True

    def leaves(self, request: Any, response: Any) -> bool:
        if (
            response.status_code == 404  # CommonMiddleware may know another address
            or response.streaming
            or "session" in request.__dict__
            or "CSRF_COOKIE_NEEDS_UPDATE" in request.META
            or "xframe_options_exempt" in response.__dict__
        ):
            return False
        store = response.headers._store
        if self.adds_frames and "x-frame-options" not in store:
            given = setting("X_FRAME_OPTIONS")
            store["x-frame-options"] = _DENY if given in _DENIES else _frame_options(given)
        if self.adds_length and "content-length" not in store:
            parts = response._container if type(response) is Response else ()
            content = parts[0] if len(parts) == 1 else response.content
            store["content-length"] = ("Content-Length", str(len(content)))
        headers = self.headers
        if self.secure_headers is not headers and _is_secure(request):
            headers = self.secure_headers
        if headers.keys().isdisjoint(store):
            store.update(headers)
        else:
            for key, pair in headers.items():
                store.setdefault(key, pair)
        return True


_what_may_act = settings_read("DISALLOWED_USER_AGENTS", "PREPEND_WWW", "CSRF_USE_SESSIONS")


def _is_secure(request: Any) -> bool:
    """`request.is_secure()`, which asks its settings at length."""
    if setting("SECURE_PROXY_SSL_HEADER") is None:
        return bool(request.scope.get("scheme") == "https")
    return bool(request.is_secure())


_PLAIN: dict[type, Callable[[Any], tuple[In | None, Out | None]]] = {
    SecurityMiddleware: _security,
    SessionMiddleware: _session,
    CommonMiddleware: _common,
    CsrfViewMiddleware: _csrf,
    AuthenticationMiddleware: _authentication,
    XFrameOptionsMiddleware: _frames,
}

__all__ = ["Row", "steps_of"]
