"""Errors that no view gave: of the router, a middleware, the handler, a plain view of Django's.

In the form that the client asks for: JSON, a problem (`problems`), or a page for a browser, where
pages are served at all: outside the API, and in it with the browsable API on.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.settings import api_settings

from app.rest.exceptions import APIException, to_api_exception
from app.rest.problems import MEDIA_TYPE, is_wanted, problem_of, title_of
from app.rest.renderers import JSONRenderer

__all__ = ["error_response", "exception_response", "filled", "prefers_page"]

API_PREFIX = "/api/"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1>{lines}</body></html>
"""


def prefers_page(request: HttpRequest) -> bool:
    """Whether the client names HTML before JSON, and HTML is served at the address."""
    if "html" not in request.META.get("HTTP_ACCEPT", ""):
        return False
    if request.path_info.startswith(API_PREFIX) and not _is_browsable():
        return False
    return request.get_preferred_type(["application/json", "text/html"]) == "text/html"


def error_response(
    request: HttpRequest, status: int, detail: Any, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """`detail` is a sentence, or messages by the name of a parameter or a header."""
    data: Any = {"detail": detail} if isinstance(detail, str) else detail
    if prefers_page(request):
        response = HttpResponse(_page(data, status), "text/html; charset=utf-8", status)
    elif is_wanted(request):
        body = JSONRenderer().render(problem_of(data, status, request))
        response = HttpResponse(body, MEDIA_TYPE, status)
    else:
        response = HttpResponse(JSONRenderer().render(data), "application/json", status)
    for name, value in (headers or {}).items():
        response[name] = value
    patch_vary_headers(response, ["Accept"])
    return response


def exception_response(request: HttpRequest, exc: Exception) -> HttpResponse:
    """The answer to an exception that stands in the table of `exceptions`."""
    error: Any = to_api_exception(exc)
    assert isinstance(error, APIException)
    return error_response(request, error.status_code, error.detail, getattr(error, "headers", None))


def filled(request: HttpRequest, response: Any) -> Any:
    """An error without a body, with one that says what its status means."""
    detail = f"{title_of(response.status_code)}."
    if response.status_code == 405:
        detail = f"Method {request.method} is not allowed here. Allowed: {response['Allow']}."
    answer: Any = error_response(request, response.status_code, detail)
    for name, value in response.items():
        if name.lower() not in ("content-type", "content-length", "vary"):
            answer[name] = value
    if response.has_header("Vary"):
        patch_vary_headers(answer, response["Vary"].split(", "))
    answer.cookies = response.cookies
    answer._resource_closers += response._resource_closers
    return answer


def _is_browsable() -> bool:
    renderers: Any = api_settings.DEFAULT_RENDERER_CLASSES
    return any(issubclass(one, BrowsableAPIRenderer) for one in renderers)


def _page(data: Any, status: int) -> str:
    lines = "".join(f"<p>{escape(line)}</p>" for line in _lines(data))
    return _PAGE.format(title=f"{status} {escape(title_of(status))}", lines=lines)


def _lines(data: Any) -> list[str]:
    if not isinstance(data, Mapping):
        return [str(one) for one in data]
    return [
        str(message) if name in ("detail", "non_field_errors") else f"{name}: {message}"
        for name, messages in data.items()
        for message in (messages if isinstance(messages, list) else [messages])
    ]
