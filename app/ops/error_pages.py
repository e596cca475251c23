"""Answers to requests that reach no view of the API: JSON, a problem, or a page of Django's for who
asks for HTML where pages are served (`app.rest.error_responses`)."""

from typing import Any

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import Resolver404, resolve
from django.utils.cache import patch_vary_headers
from django.views import csrf, defaults

from app.rest.error_responses import error_response, prefers_page
from app.rest.exceptions import NotFound
from app.rest.views import APIView


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
    if prefers_page(request):
        return _varying(defaults.bad_request(request, exception))
    return error_response(request, 400, _of_request(exception))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if prefers_page(request):
        return _varying(defaults.permission_denied(request, exception))
    return error_response(request, 403, "You may not do this.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if prefers_page(request):
        return _varying(defaults.page_not_found(request, exception))
    return error_response(request, 404, "There is nothing here. GET /api/v1/ lists what there is.")


def server_error(request: HttpRequest) -> HttpResponse:
    """The fault is in the log; what it was is none of the caller's business."""
    if prefers_page(request):
        return _varying(defaults.server_error(request))
    detail = "The server failed at this request. The fault has been logged."
    return error_response(request, 500, detail)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Of a plain view, such as the form to log in; of the API it is a 403 of the view's."""
    if prefers_page(request):
        return _varying(csrf.csrf_failure(request, reason))
    return error_response(request, 403, f"CSRF check failed: {reason}")


def _varying(page: HttpResponse) -> HttpResponse:
    patch_vary_headers(page, ["Accept"])
    return page


def _of_request(exception: Exception) -> str:
    if isinstance(exception, DisallowedHost):
        return "The Host header names a host that is not served here. Ask by a name in use."
    return "The request is malformed."
