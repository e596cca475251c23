"""Answers to requests that reach no view of the API: JSON under /api/, Django's pages elsewhere."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import Resolver404, resolve
from django.views import defaults

from app.rest.exceptions import NotFound
from app.rest.problems import error_response
from app.rest.views import APIView

API_PREFIX = "/api/"


class UnknownEndpointView(APIView):
    """Mounted after everything else under /api/. When only the slash at the end is missing, says so
    with 308, which (unlike Django's 301) keeps method and body."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    throttle_classes: list[Any] = []

    async def refuse(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        path = request.path_info
        if not path.endswith("/") and _is_endpoint(f"{path}/"):
            query = request.META.get("QUERY_STRING", "")
            target = f"{request.path}/?{query}" if query else f"{request.path}/"
            return HttpResponse(status=308, headers={"Location": target})
        raise NotFound(f"There is nothing at {path}. GET /api/v1/ lists what there is.")

    get = post = put = patch = delete = options = refuse


async def unknown_endpoint(request: HttpRequest) -> HttpResponseBase:
    """The view as a plain function: breadcrumbs, which list classes, pass it over."""
    answer: HttpResponseBase = await _unknown_endpoint(request)
    return answer


_unknown_endpoint = UnknownEndpointView.as_view()
unknown_endpoint.csrf_exempt = True  # type: ignore[attr-defined] # as every APIView is


def _is_endpoint(path: str) -> bool:
    try:
        match = resolve(path)
    except Resolver404:
        return False
    return match.func is not unknown_endpoint


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _json(request, 400, "The request is malformed.") or defaults.bad_request(
        request, exception
    )


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _json(request, 403, "You may not do this.") or defaults.permission_denied(
        request, exception
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _json(request, 404, "There is nothing here.") or defaults.page_not_found(
        request, exception
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """The fault is in the log; what it was is none of the caller's business."""
    detail = "The server failed at this request. The fault has been logged."
    return _json(request, 500, detail) or defaults.server_error(request)


def _json(request: HttpRequest, status: int, detail: str) -> HttpResponse | None:
    if request.path_info.startswith(API_PREFIX):
        return error_response(request, status, detail)
    return None
