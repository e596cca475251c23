"""Sessions for asynchronous views: loaded when asked for, saved when modified, without a thread.

Django's own AuthenticationMiddleware needs no replacement: its `request.auser()` awaits what is
native here.
"""

import time

from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.http import http_date


class SessionMiddleware(DjangoSessionMiddleware):
    """Django's, whose asynchronous half saves with `asave()`.

    A request that never asks for its session pays nothing: no query, no cookie, no Vary.
    """

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        self.process_request(request)
        response: HttpResponseBase = await self.get_response(request)  # type: ignore[misc]
        session = request.session
        if session.is_empty() and settings.SESSION_COOKIE_NAME in request.COOKIES:
            _delete_cookie(response)
        elif _is_to_be_saved(request, response):
            await _save(request)
            await _set_cookie(request, response)
        elif not session.accessed:
            return response
        patch_vary_headers(response, ("Cookie",))
        return response


def _is_to_be_saved(request: HttpRequest, response: HttpResponseBase) -> bool:
    # What a failed request did to the session is dropped with it.
    session = request.session
    wanted = session.modified or settings.SESSION_SAVE_EVERY_REQUEST
    return wanted and not session.is_empty() and response.status_code < 500


async def _save(request: HttpRequest) -> None:
    try:
        await request.session.asave()
    except UpdateError as error:
        raise SessionInterrupted(
            "The session was deleted during the request: its user logged out elsewhere."
        ) from error


async def _set_cookie(request: HttpRequest, response: HttpResponseBase) -> None:
    max_age: int | None = None
    expires: str | None = None
    if not await request.session.aget_expire_at_browser_close():
        max_age = await request.session.aget_expiry_age()
        expires = http_date(time.time() + max_age)
    response.set_cookie(
        settings.SESSION_COOKIE_NAME,
        request.session.session_key or "",
        max_age=max_age,
        expires=expires,
        domain=settings.SESSION_COOKIE_DOMAIN,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=settings.SESSION_COOKIE_HTTPONLY,
        samesite=settings.SESSION_COOKIE_SAMESITE,
    )


def _delete_cookie(response: HttpResponseBase) -> None:
    response.delete_cookie(
        settings.SESSION_COOKIE_NAME,
        path=settings.SESSION_COOKIE_PATH,
        domain=settings.SESSION_COOKIE_DOMAIN,
        samesite=settings.SESSION_COOKIE_SAMESITE,
    )
