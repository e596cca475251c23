"""Django's current time zone, found in few steps where none was activated."""

import datetime
from typing import Any

from django.utils import timezone

_active: Any = timezone._active  # type: ignore[attr-defined]


def current_time_zone() -> datetime.tzinfo:
    """`timezone.get_current_timezone()`, which takes 2 microseconds to find nothing in asgiref's
    Local.
    """
    storage = _active._storage._data.get(None)
    if storage is None or not storage.data:
        return timezone.get_default_timezone()
    return timezone.get_current_timezone()


__all__ = ["current_time_zone"]
