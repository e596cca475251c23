"""Django's middleware, run in place where it only computes.

Django calls every `process_request` and `process_response` of an async request through a thread.
Those of the classes in `_IN_PLACE` wait for nothing, so a row of them becomes one `Stages`, which
calls them directly and keeps Django's rules: a response of `process_request` ends the way in; the
way out passes every stage that was entered; an exception becomes a response before the next stage
out sees it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.http import ConditionalGetMiddleware
from django.middleware.locale import LocaleMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.deprecation import MiddlewareMixin

from app.rest.stages import steps_of

Respond = Callable[[HttpRequest], Awaitable[HttpResponseBase]]
OnError = Callable[[HttpRequest, Exception], Awaitable[HttpResponseBase]]

_IN_PLACE: set[type] = {
    AuthenticationMiddleware,
    CommonMiddleware,
    ConditionalGetMiddleware,
    CsrfViewMiddleware,
    LocaleMiddleware,
    SecurityMiddleware,
    SessionMiddleware,
    XFrameOptionsMiddleware,
}


def runs_in_place(middleware: Any) -> bool:
    """Whether a middleware class is known to wait for nothing (or says so: `@computes`)."""
    return middleware in _IN_PLACE or "_only_computes" in getattr(middleware, "__dict__", {})


def is_native(middleware: Any) -> bool:
    """Whether a middleware awaits by itself, rather than through Django's thread."""
    if isinstance(middleware, type) and issubclass(middleware, MiddlewareMixin):
        return middleware.__acall__ is not MiddlewareMixin.__acall__
    return not getattr(middleware, "sync_capable", True)


class Stages:
    """A row of middleware called in place around `inner`, which is awaited."""

    async_capable = True
    sync_capable = False

    def __init__(self, middleware: list[Any], inner: Respond, on_error: OnError) -> None:
        self.inner = inner
        self.on_error = on_error
        self.stages = [(*steps_of(one), isinstance(one, SessionMiddleware)) for one in middleware]
        self.outward = self.stages[::-1]
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response: Any = None
        entered = 0
        try:
            for go_in, _, _ in self.stages:
                if go_in is not None:
                    response = go_in(request)
                    if response is not None:
                        entered += 1
                        break
                entered += 1
            else:
                response = await self.inner(request)
        except Exception as exc:  # noqa: BLE001 - as Django's convert_exception_to_response
            response = await self.on_error(request, exc)
        for _, go_out, keeps_session in self.outward[len(self.stages) - entered :]:
            if go_out is not None:
                try:
                    if keeps_session and "session" in vars(request):
                        await save_session(request, response)
                    response = go_out(request, response)
                except Exception as exc:  # noqa: BLE001
                    response = await self.on_error(request, exc)
        return response


async def save_session(request: HttpRequest, response: HttpResponseBase) -> None:
    """Save a changed session with its async API; SessionMiddleware then finds it saved."""
    session: Any = getattr(request, "session", None)
    if session is None or response.status_code >= 500:
        return
    if not (session.modified or settings.SESSION_SAVE_EVERY_REQUEST) or session.is_empty():
        return
    failure: list[Exception] = []
    try:
        await session.asave()
    except Exception as exc:  # noqa: BLE001 - SessionMiddleware makes a response of it
        failure.append(exc)

    def save(must_create: bool = False) -> None:
        if failure:
            raise failure[0]

    session.save = save
