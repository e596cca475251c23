"""Problem details (RFC 9457): errors as `application/problem+json`.

    Accept: application/json, application/problem+json     whoever asks for it gets it
    STOWAGE = {"PROBLEM_DETAILS": True}                    everybody but a browser does

    {"type": "about:blank", "title": "Bad Request", "status": 400, "instance": "/api/v1/hosts/",
     "detail": "The request has 1 error.",
     "errors": [{"detail": "This field is required.", "code": "required", "pointer": "#/name"}]}

What an error of DRF's form holds beside `detail` stays beside it. An error of a field has a
`pointer` into the body, one of a query's parameter a `parameter`, one of a header a `header`.
"""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest
from django.utils.cache import patch_vary_headers
from rest_framework.settings import api_settings

from app.rest.renderers import JSONRenderer

__all__ = ["ProblemRenderer", "is_wanted", "negotiated", "problem_of", "title_of"]

MEDIA_TYPE = "application/problem+json"
_ASKED = re.compile(r"application/problem\+json\s*(;[^,]*)?(?:,|\Z)", re.IGNORECASE)
_REFUSED = re.compile(r";\s*q=0(\.0*)?\s*(;|\Z)")
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}  # as all Pythons shall say it
_RESERVED = {"type", "title", "status", "instance"}


class ProblemRenderer(JSONRenderer):
    media_type = MEDIA_TYPE
    format = "problem"


def is_asked_for(accept: str) -> bool:
    """Whether an Accept header names the type."""
    if "problem" not in accept.lower():
        return False
    asked = _ASKED.search(accept)
    return asked is not None and not _REFUSED.search(asked[1] or "")


def is_wanted(request: Any) -> bool:
    """Whether an answer to the request, if it is an error, shall be a problem."""
    renderer = getattr(request, "accepted_renderer", None)
    if getattr(renderer, "media_type", "") == "text/html":
        return False
    if getattr(settings, "STOWAGE", {}).get("PROBLEM_DETAILS", False):
        return True
    return is_asked_for(request.META.get("HTTP_ACCEPT", ""))


def negotiated(request: Any, response: Any) -> Any:
    """The answer of a view that is an error, as a problem where that is wanted."""
    if not hasattr(response, "data") or response.is_rendered:
        return response
    patch_vary_headers(response, ["Accept"])
    if is_wanted(request):
        request.accepted_renderer = ProblemRenderer()
        request.accepted_media_type = MEDIA_TYPE
        response.data = problem_of(response.data, response.status_code, request)
    return response


def problem_of(data: Any, status: int, request: Any) -> dict[str, Any]:
    """`data` is an error's in DRF's form: a detail, messages by field, or a list of either."""
    problem: dict[str, Any] = {"type": "about:blank", "title": title_of(status), "status": status}
    detail = data.get("detail") if isinstance(data, Mapping) else None
    if isinstance(detail, str):
        problem["detail"] = detail
        if code := getattr(detail, "code", None):
            problem["code"] = code
        more = {key: value for key, value in data.items() if key not in _RESERVED | {"detail"}}
        problem |= more
    else:
        errors = list(_errors(data, (), _Places(request)))
        problem["detail"] = f"The request has {len(errors)} error{'s' * (len(errors) != 1)}."
        problem["errors"] = errors
    problem["instance"] = request.path
    return problem


def title_of(status: int) -> str:
    try:
        return _TITLES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Error"


class _Places:
    """Where what an error is named after stands in the request."""

    def __init__(self, request: Any) -> None:
        self.headers = request.headers
        self.query: Any = request.GET if isinstance(request, HttpRequest) else request._request.GET

    def of(self, path: tuple[Any, ...]) -> dict[str, str]:
        if len(path) == 1 and "-" in str(path[0]) and path[0] in self.headers:
            return {"header": path[0]}
        if len(path) == 1 and path[0] in self.query:
            return {"parameter": path[0]}
        return {"pointer": "#" + "".join(f"/{_escaped(part)}" for part in path)}


def _escaped(part: Any) -> str:
    return quote(str(part).replace("~", "~0").replace("/", "~1"), safe="~", errors="replace")


def _errors(data: Any, path: tuple[Any, ...], places: _Places) -> Iterator[dict[str, Any]]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            below = path if key == api_settings.NON_FIELD_ERRORS_KEY else (*path, key)
            yield from _errors(value, below, places)
    elif isinstance(data, list | tuple):
        for index, value in enumerate(data):
            is_message = isinstance(value, str) or not isinstance(value, Mapping | list | tuple)
            yield from _errors(value, path if is_message else (*path, index), places)
    else:
        code = getattr(data, "code", None)
        coded = {} if code is None else {"code": code}
        yield {"detail": str(data), **coded, **places.of(path)}
