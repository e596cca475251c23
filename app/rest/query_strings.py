"""The query of an address, checked before anybody reads it.

Django takes bytes that are no UTF-8 for U+FFFD, and so finds what nobody asked for.
"""

import re
from functools import lru_cache
from typing import Any
from urllib.parse import quote_from_bytes, unquote_plus, unquote_to_bytes

from django.conf import settings
from django.http import QueryDict

from app.rest.exceptions import ValidationError
from app.rest.shortcuts import setting

__all__ = ["LONGEST_KNOWN", "check_query", "items_of", "parsed", "readable", "unescaped"]

_NO_ASCII = re.compile("%[89A-Fa-f]")
_SAFE = bytes(range(0x21, 0x7F)).decode()


def readable(query: bytes) -> str:
    """As text. Bytes that are no UTF-8, which don't belong there, come out percent-encoded."""
    try:
        return query.decode()
    except UnicodeDecodeError:
        return quote_from_bytes(query, safe=_SAFE)


def check_query(query: str) -> None:
    """Raises ValidationError that names the parameter."""
    most = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
    if most is not None and query.count("&") >= most:
        message = f"The address has more than {most} parameters. Send fewer."
        raise ValidationError({"non_field_errors": [message]})
    if not _NO_ASCII.search(query):
        return
    for pair in query.split("&"):
        try:
            unquote_to_bytes(pair).decode()
        except UnicodeDecodeError:
            name = unquote_plus(pair.partition("=")[0], errors="backslashreplace")
            message = "Holds bytes that are no UTF-8. Percent-encode text as UTF-8."
            raise ValidationError({name[:100]: [message]}) from None


def parsed(query: str) -> QueryDict:
    """`QueryDict(query)`, made in few steps."""
    items = items_of(query)
    if items is None:
        return QueryDict(query)
    values: Any = QueryDict.__new__(QueryDict)
    values.encoding = "utf-8"
    for name, texts in items.items():
        _set(values, name, [*texts])
    values._mutable = False
    return values


def items_of(query: str) -> dict[str, list[str]] | None:
    """What stands in a query by each name, for nobody to change; None where Django is to be asked,
    which reads another charset, or refuses so many parameters.
    """
    most = setting("DATA_UPLOAD_MAX_NUMBER_FIELDS")
    if setting("DEFAULT_CHARSET") != "utf-8" or (most is not None and query.count("&") >= most):
        return None
    return _items(query) if len(query) <= LONGEST_KNOWN else _items.__wrapped__(query)


LONGEST_KNOWN = 300
"""Characters of a query that is remembered."""


@lru_cache(maxsize=256)
def _items(query: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in query.split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        if "%" in pair or "+" in pair:
            value = unescaped(value)
            if "%" in name or "+" in name:
                name = unescaped(name)
        found.setdefault(name, []).append(value)
    return found


def unescaped(text: str) -> str:
    """`unquote_plus(text)`: of a moment or a cursor, without taking it apart."""
    plain = text.replace("+", " ")
    if "%" in plain:
        plain = plain.replace("%3D", "=").replace("%3A", ":").replace("%2B", "+")
    return plain if "%" not in plain else unquote_plus(text)


_set = dict.__setitem__
