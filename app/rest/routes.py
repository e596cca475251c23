"""Where a path leads, remembered: Django asks each pattern in turn, every time.

Kept on the resolver itself, so that it goes with it when the URLconf changes. Only without
translation, where patterns depend on the path alone; and only where the path gave plain values:
what else a converter makes of it (a row, say) is made for each request.
"""

from typing import Any
from uuid import UUID

from django.urls import ResolverMatch, get_resolver

from app.rest.shortcuts import settings_read

MOST_PATHS = 4096
LONGEST = 256
"""A longer path is looked up anew: what strangers send shall not fill the memory."""

_ATTRIBUTE = "_remembered_paths"
_PLAIN = {str, int, UUID}
_settings = settings_read("ROOT_URLCONF", "USE_I18N", "STOWAGE")


def resolve_path(path: str) -> ResolverMatch | None:
    """The match of a path in ROOT_URLCONF, with arguments of its own. None where shortcuts are
    off. Raises Resolver404.
    """
    urlconf, translates, options = _settings()
    if options is not None and not options.get("SHORTCUTS", True):
        return None
    resolver = get_resolver(urlconf)
    if translates or len(path) > LONGEST:
        return resolver.resolve(path)
    known: dict[str, ResolverMatch] | None = resolver.__dict__.get(_ATTRIBUTE)
    if known is None:
        known = resolver.__dict__[_ATTRIBUTE] = {}
    match = known.get(path)
    if match is None:
        match = resolver.resolve(path)
        if not _is_plain(match):
            return match
        if len(known) >= MOST_PATHS:
            del known[next(iter(known))]
        known[path] = match
    return _copied(match)


def _is_plain(match: Any) -> bool:
    given = match.extra_kwargs or {}  # by the URLconf
    return {type(match.kwargs[name]) for name in match.kwargs.keys() - given.keys()} <= _PLAIN


def _copied(match: ResolverMatch) -> ResolverMatch:
    copy: Any = object.__new__(ResolverMatch)
    copy.__dict__ = attributes = match.__dict__.copy()
    attributes["kwargs"] = match.kwargs.copy()
    return copy


__all__ = ["resolve_path"]
