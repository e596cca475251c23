"""What every request passes first: probes are answered, the others may leave a line in the log."""

import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache

from asgiref.sync import markcoroutinefunction
from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from app.ops import views
from app.ops.metrics import metrics

# A named group of a regular expression, which may hold one more level of brackets.
_GROUP = re.compile(r"\(\?P<(\w+)>[^()]*(?:\([^()]*\)[^()]*)*\)")
_ANCHORS = re.compile(r"\\Z|[\^$?\\]")

logger = logging.getLogger("app.ops.requests")


GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

PROBES = {"/healthz": views.healthz, "/readyz": views.readyz}


class ProbeMiddleware:
    """Answers /healthz, /readyz and, with settings.METRICS, /metrics before anything else can
    refuse them: whoever probes speaks plain HTTP, to an address that is in no ALLOWED_HOSTS."""

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.probes = PROBES | ({"/metrics": views.metrics_page} if settings.METRICS else {})
        markcoroutinefunction(self)

    def concerns(self, request: HttpRequest) -> bool:
        return request.path_info in self.probes

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        probe = self.probes.get(request.path_info)
        return await (self.get_response if probe is None else probe)(request)


class MetricsMiddleware:
    """Counts requests for /metrics; only with settings.METRICS."""

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        if not settings.METRICS:
            raise MiddlewareNotUsed
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = await self.get_response(request)
        seconds = time.perf_counter() - started
        metrics.record_request(request.method or "", response.status_code, seconds)
        return response


class RequestLogMiddleware:
    """One line of JSON a request on the logger `app.ops.requests`; only with settings.REQUEST_LOG.

        {"method": "GET", "path": "/api/v1/hosts/<pk>/", "status": 200, "duration_ms": 1.9}

    The path is the route's template: identifiers, queries and headers, where secrets travel, stay
    out.
    """

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        if not settings.REQUEST_LOG:
            raise MiddlewareNotUsed
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = await self.get_response(request)
        line = {
            "method": request.method,
            "path": path_template(request),
            "status": response.status_code,
            "duration_ms": round((time.perf_counter() - started) * 1000, 1),
        }
        logger.info(json.dumps(line))
        return response


def path_template(request: HttpRequest) -> str:
    """The route that answered, as `/api/v1/hosts/<pk>/`; `(no route)` when none did."""
    match = request.resolver_match
    return readable_route(match.route) if match is not None else "(no route)"


@lru_cache(maxsize=1024)
def readable_route(route: str) -> str:
    return "/" + _ANCHORS.sub("", _GROUP.sub(r"<\1>", route)).lstrip("/")
