"""Where a path leads, remembered: Django asks each pattern in turn, every time.

Kept on the resolver itself, so that it goes with it when the URLconf changes. Only without
translation, where patterns depend on the path alone.
"""

from typing import Any

from django.urls import ResolverMatch, get_resolver

from app.rest.shortcuts import setting

MOST_PATHS = 4096
LONGEST = 256
"""A longer path is looked up anew: what strangers send shall not fill the memory."""

_ATTRIBUTE = "_remembered_paths"


def resolve_path(path: str) -> ResolverMatch:
    """The match of a path in ROOT_URLCONF, with arguments of its own. Raises Resolver404."""
    resolver = get_resolver(setting("ROOT_URLCONF"))
    if setting("USE_I18N") or len(path) > LONGEST:
        return resolver.resolve(path)
    known: dict[str, ResolverMatch] = resolver.__dict__.setdefault(_ATTRIBUTE, {})
    match = known.get(path)
    if match is None:
        match = resolver.resolve(path)
        if len(known) >= MOST_PATHS:
            del known[next(iter(known))]
        known[path] = match
    return _copied(match)


def _copied(match: ResolverMatch) -> ResolverMatch:
    copy: Any = object.__new__(ResolverMatch)
    copy.__dict__.update(match.__dict__)
    copy.kwargs = dict(match.kwargs)
    return copy


__all__ = ["resolve_path"]
