"""The one switch of every shortcut that answers in fewer steps what the long way answers.

A shortcut is taken where nothing in its way was overridden, and gives the long way's very bytes.
`STOWAGE = {"SHORTCUTS": False}` sends every request the long way, to compare, or to look for a
fault.
"""

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from django.conf import settings

# Where Django keeps the settings that were read, and takes out those that are overridden.
# `settings.NAME` takes three Python calls to look there.
_read: dict[str, Any] = object.__getattribute__(settings, "__dict__")


def setting(name: str) -> Any:
    """`settings.<name>`; None where there is none."""
    return _read[name] if name in _read else getattr(settings, name, None)


def settings_read(*names: str) -> Callable[[], tuple[Any, ...]]:
    """A function that gives these settings at once; None for those that there are not."""
    take: Any = itemgetter(*names)

    def read() -> tuple[Any, ...]:
        try:
            found: tuple[Any, ...] = take(_read)
        except KeyError:
            return tuple(setting(name) for name in names)
        return found

    return read


def are_on() -> bool:
    options: dict[str, Any] = setting("STOWAGE") or {}
    return bool(options.get("SHORTCUTS", True))


__all__ = ["are_on", "setting", "settings_read"]
