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
from django.middleware.csrf import CSRF_SESSION_KEY, CsrfViewMiddleware
from django.middleware.http import ConditionalGetMiddleware
from django.middleware.locale import LocaleMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.deprecation import MiddlewareMixin

from app.rest import shortcuts
from app.rest.stages import Row, steps_of

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
        steps: list[Any] = [
            (*steps_of(one), isinstance(one, SessionMiddleware)) for one in middleware
        ]
        self.inward = [(place, step[0]) for place, step in enumerate(steps) if step[0] is not None]
        self.reads_session = {
            place for place, one in enumerate(middleware) if isinstance(one, CsrfViewMiddleware)
        }
        # By the stage that is the last to be entered: those that are passed on the way out.
        self.outward = [
            [step[1:] for step in steps[place::-1] if step[1] is not None]
            for place in range(len(steps))
        ]
        self.all_out = self.outward[-1] if steps else []
        row = Row(middleware)
        self.row = row if row.is_known and shortcuts.are_on() else None
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        row = self.row
        if row is None or not row.enters(request):
            return await self._pass(request)
        try:
            response: Any = await self.inner(request)
        except Exception as exc:  # noqa: BLE001 - as Django's convert_exception_to_response
            response = await self.on_error(request, exc)
        if row.leaves(request, response):
            return response
        return await self._pass_out(request, response, self.all_out)

    async def _pass(self, request: HttpRequest) -> HttpResponseBase:
        """One by one."""
        response: Any = None
        outward = self.all_out
        place = -1
        try:
            for place, go_in in self.inward:
                if place in self.reads_session and settings.CSRF_USE_SESSIONS:
                    await load_session(request)
                response = go_in(request)
                if response is not None:
                    outward = self.outward[place]
                    break
            else:
                place = -1
                response = await self.inner(request)
        except Exception as exc:  # noqa: BLE001 - as Django's convert_exception_to_response
            if place >= 0:
                outward = self.outward[place - 1] if place else []
            response = await self.on_error(request, exc)
        return await self._pass_out(request, response, outward)

    async def _pass_out(
        self, request: HttpRequest, response: Any, outward: list[Any]
    ) -> HttpResponseBase:
        for go_out, keeps_session in outward:
            try:
                if keeps_session and "session" in request.__dict__:
                    await save_session(request, response)
                response = go_out(request, response)
            except Exception as exc:  # noqa: BLE001
                response = await self.on_error(request, exc)
        return response


class Detour:
    """A middleware that says which requests it `concerns`; the others go past it to `inner`."""

    async_capable = True
    sync_capable = False

    def __init__(
        self, concerns: Callable[[HttpRequest], bool], middleware: Respond, inner: Respond
    ) -> None:
        self.concerns = concerns
        self.middleware = middleware
        self.inner = inner
        markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Awaitable[HttpResponseBase]:
        return (self.middleware if self.concerns(request) else self.inner)(request)


async def load_session(request: HttpRequest) -> None:
    """Read the session with its async API, for who looks into it without awaiting."""
    session = getattr(request, "session", None)
    if session is not None and session.session_key is not None:
        await session.aget(CSRF_SESSION_KEY)


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
