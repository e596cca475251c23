"""Logging in and out of the browsable API on DRF's pages; only the password sees a thread."""

import time
from typing import Any

from django.conf import settings
from django.contrib.auth import aauthenticate, alogin, alogout
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.utils.cache import add_never_cache_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View

from app.accounts.attempts import Attempts, network_of
from app.accounts.forms import LoginForm
from app.accounts.models import User
from app.errors import Unavailable

_attempts = Attempts()


class SessionView(View):
    """Never cached, its password never in an error report, and 503 while the database is gone or
    too many passwords wait: no view of app.rest is here to say so."""

    async def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        request.sensitive_post_parameters = ("password",)
        try:
            response: HttpResponseBase = await super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        except (Unavailable, OperationalError, InterfaceError) as error:
            wait = getattr(error, "retry_after_seconds", 1)
            response = HttpResponse(
                "Nobody can log in or out just now. Try again shortly.\n",
                content_type="text/plain",
                status=503,
                headers={"Retry-After": str(wait)},
            )
        add_never_cache_headers(response)
        return response


class LoginView(SessionView):
    """GET shows the form; POST logs in and goes to `next`."""

    attempts = _attempts
    template_name = "rest_framework/login.html"

    async def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(request, LoginForm(), request.GET.get("next", ""))

    async def post(self, request: HttpRequest) -> HttpResponse:
        next_url = request.POST.get("next", "")
        form = LoginForm(request.POST)
        if not form.is_valid():
            return self.page(request, form, next_url, status=400)
        username, password = form.cleaned_data["username"], form.cleaned_data["password"]
        who = {
            "address": network_of(request.META.get("REMOTE_ADDR", "")),
            "name": User.normalize_username(username),
        }
        wait = self.attempts.begin(**who, now=time.monotonic())
        if wait:
            form.add_error(None, f"Too many tries. Wait {wait} seconds.")
            page = self.page(request, form, next_url, status=429)
            page["Retry-After"] = str(wait)
            return page
        user = await aauthenticate(request, username=username, password=password)
        if user is None:
            form.add_error(None, "Wrong name or password, or the user is switched off.")
            return self.page(request, form, next_url, status=400)
        self.attempts.succeed(**who)
        await alogin(request, user)
        return HttpResponseRedirect(safe_redirect(request, next_url))

    def page(
        self, request: HttpRequest, form: LoginForm, next_url: str, status: int = 200
    ) -> HttpResponse:
        context: dict[str, Any] = {"form": form, "next": safe_redirect(request, next_url)}
        return render(request, self.template_name, context, status=status)


class LogoutView(SessionView):
    """POST ends the session. A GET must not: any page can make a browser send one."""

    async def post(self, request: HttpRequest) -> HttpResponse:
        await alogout(request)
        return HttpResponseRedirect(safe_redirect(request, request.GET.get("next", "")))


def safe_redirect(request: HttpRequest, url: str) -> str:
    """The address if it is one of this site, else the site's root: a login page that sends people
    anywhere is a phisher's friend."""
    is_own = url_has_allowed_host_and_scheme(
        url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return url if is_own else resolve_url(settings.LOGIN_REDIRECT_URL)
