"""Conditional requests as RFC 9110 has them: entity tags, HTTP dates, and the order of evaluation.

Pure: headers and validators in, an outcome out. `conditional` puts it on views.

    If-Match             strong comparison        412 unless one matches
    If-Unmodified-Since  only without If-Match    412 if modified since
    If-None-Match        weak comparison          GET, HEAD: 304 if one matches; others: 412
    If-Modified-Since    only without it, on GET  304 unless modified since
                         and HEAD

A list of tags that can't be read is refused with 400. A date that can't be read is ignored, as the
RFC demands (13.1.3, 13.1.4), and so is `Range`: nothing here serves parts.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from django.utils.http import http_date, parse_http_date_safe

from app.rest.exceptions import ValidationError

ANY: Literal["*"] = "*"
# Opaque characters are visible ones but the quote (RFC 9110, 8.8.3); empty elements are passed over
# (5.6.1.2).
_TAG = re.compile(r'[ \t]*(?:(W/)?"([!#-~\x80-\xff]*)")?[ \t]*(?:,|\Z)')
_EXPECTED = 'Write entity tags in quotes, separated by commas, such as "3", or *.'
_SAFE = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class EntityTag:
    opaque: str
    is_weak: bool = False

    def __str__(self) -> str:
        return f'W/"{self.opaque}"' if self.is_weak else f'"{self.opaque}"'

    def matches(self, other: "EntityTag", *, weakly: bool) -> bool:
        """Strong comparison needs both to be strong; weak looks at the opaque part alone."""
        if not weakly and (self.is_weak or other.is_weak):
            return False
        return self.opaque == other.opaque


Tags = tuple[EntityTag, ...] | Literal["*"]


def parse_tags(value: str, header: str) -> Tags:
    """Raises ValidationError that names `header`."""
    return (_parse_once if len(value) <= LONGEST else _parse)(value, header)


def _parse(value: str, header: str) -> Tags:
    """Raises ValidationError that names `header`."""
    if value.strip(" \t") == ANY:
        return ANY
    tags, place = [], 0
    while place < len(value):
        match = _TAG.match(value, place)
        if match is None:
            raise ValidationError({header: [_EXPECTED]})
        if match[2] is not None:
            tags.append(EntityTag(match[2], match[1] is not None))
        place = match.end()
    if not tags:
        raise ValidationError({header: [_EXPECTED]})
    return tuple(tags)


LONGEST = 256
"""A longer header is read anew each time: what strangers send shall not fill the memory."""

_parse_once = lru_cache(maxsize=1024)(_parse)


class Outcome(enum.Enum):
    PROCEED = 200
    NOT_MODIFIED = 304
    FAILED = 412


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells one state of a resource from another. `modified_at` is told in whole seconds."""

    tag: EntityTag | None = None
    modified_at: datetime | None = None

    @property
    def seconds(self) -> int | None:
        return None if self.modified_at is None else int(self.modified_at.timestamp())

    def headers(self) -> dict[str, str]:
        headers = {} if self.tag is None else {"ETag": str(self.tag)}
        if self.seconds is not None:
            headers["Last-Modified"] = http_date(self.seconds)
        return headers


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The conditional headers of one request."""

    if_match: Tags | None = None
    if_none_match: Tags | None = None
    if_modified_since: int | None = None
    if_unmodified_since: int | None = None

    def evaluate(self, method: str, current: Validators) -> Outcome:
        """In the order of RFC 9110, 13.2.2, for a resource that exists."""
        if self.if_match is not None:
            if not self._is_among(self.if_match, current, weakly=False):
                return Outcome.FAILED
        elif self._is_modified_since(self.if_unmodified_since, current) is True:
            return Outcome.FAILED
        if self.if_none_match is not None:
            if self._is_among(self.if_none_match, current, weakly=True):
                return Outcome.NOT_MODIFIED if method in _SAFE else Outcome.FAILED
        elif method in _SAFE and self._is_modified_since(self.if_modified_since, current) is False:
            return Outcome.NOT_MODIFIED
        return Outcome.PROCEED

    def _is_among(self, tags: Tags, current: Validators, *, weakly: bool) -> bool:
        if tags == ANY:
            return True
        own = current.tag
        return own is not None and any(tag.matches(own, weakly=weakly) for tag in tags)

    def _is_modified_since(self, moment: int | None, current: Validators) -> bool | None:
        """None where the header or the date of the last change is missing."""
        if moment is None or current.seconds is None:
            return None
        return current.seconds > moment


def preconditions_of(meta: Mapping[str, Any]) -> Preconditions | None:
    """Those of a request's `META`; None for a request without any, as most are.

    Raises ValidationError that names the header whose list can't be read.
    """
    if_match = meta.get("HTTP_IF_MATCH")
    if_none_match = meta.get("HTTP_IF_NONE_MATCH")
    modified = meta.get("HTTP_IF_MODIFIED_SINCE")
    unmodified = meta.get("HTTP_IF_UNMODIFIED_SINCE")
    if if_match is if_none_match is modified is unmodified is None:
        return None
    return Preconditions(
        None if if_match is None else parse_tags(if_match, "If-Match"),
        None if if_none_match is None else parse_tags(if_none_match, "If-None-Match"),
        None if modified is None else parse_http_date_safe(modified),
        None if unmodified is None else parse_http_date_safe(unmodified),
    )
