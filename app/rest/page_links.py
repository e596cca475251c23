"""Links to other pages. DRF takes the request's whole URL apart and puts it together again for each
of them; where path and query hold nothing that would be written otherwise, that gives back what
stands there, with one parameter changed.
"""

import re
from functools import lru_cache
from operator import itemgetter
from typing import Any

from rest_framework.utils.urls import remove_query_param, replace_query_param

from app.rest.asgi_requests import ASGIRequest
from app.rest.shortcuts import setting

_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_-]+)*/?", re.ASCII)
# The escapes are those that cursors and dates hold, spelt as they would be written again.
_PAIR = r"[\w.-]+=(?:[\w.-]|%3D|%2B|%2F|%3A|%2C)*"
_PLAIN_QUERY = re.compile(rf"(?:{_PAIR}&)*{_PAIR}|", re.ASCII)
_PLAIN_VALUE = re.compile(r"[\w.+/=-]+", re.ASCII)


def link(request: Any, name: str, value: Any) -> str:
    """The request's URL with this query parameter, instead of any that it has by this name; without
    it where `value` is None.
    """
    text = None if value is None else str(value)
    inner = getattr(request, "_request", request)  # DRF's request asks it for what it has not
    around = _around_in(inner, name)
    if around is None or not (text is None or _PLAIN_VALUE.fullmatch(text)):
        url = request.build_absolute_uri()
        if text is None:
            return str(remove_query_param(url, name))
        return str(replace_query_param(url, name, value))
    without, start, end = around
    if text is None:
        return without
    if not text.isalnum():
        text = text.replace("=", "%3D").replace("+", "%2B").replace("/", "%2F")
    return f"{start}{text}{end}"


def _around_in(request: Any, name: str) -> tuple[str, str, str] | None:
    """`_around` with scheme and host: once for all the links of an answer."""
    path, meta = request.path, request.META
    made_of = name, path, meta.get("QUERY_STRING", ""), meta.get("HTTP_HOST")
    known: tuple[Any, Any] | None = request.__dict__.get("_around")
    if known is None or known[0] != made_of:
        query = made_of[2]
        remember = _around if len(path) + len(query) <= _LONGEST else _around.__wrapped__
        around = remember(path, query, name)
        if around is not None:
            is_plain = type(request) is ASGIRequest and setting("SECURE_PROXY_SSL_HEADER") is None
            scheme = is_plain and request.scope.get("scheme")
            origin = f"{scheme or request.scheme}://{request.get_host()}"
            around = f"{origin}{around[0]}", f"{origin}{around[1]}", around[2]
        known = request.__dict__["_around"] = made_of, around
    return known[1]


_LONGEST = 1000  # characters of a path and query that are remembered


@lru_cache(maxsize=256)
def _around(path: str, query: str, name: str) -> tuple[str, str, str] | None:
    """The address without the parameter `name`, and what stands before and after its value where
    the others are in order; None where path or query may be written otherwise.
    """
    if not (_PLAIN_PATH.fullmatch(path) and _PLAIN_QUERY.fullmatch(query)):
        return None
    pairs = [(pair.partition("=")[0], pair) for pair in query.split("&")] if query else []
    pairs.sort(key=itemgetter(0))
    before = "".join([f"{pair}&" for other, pair in pairs if other < name])
    after = "".join([f"&{pair}" for other, pair in pairs if other > name])
    others = (before + after[1:]).removesuffix("&")
    return f"{path}?{others}" if others else path, f"{path}?{before}{name}=", after


__all__ = ["link"]
