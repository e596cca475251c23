"""Django's collector of what is deleted, which lets other tasks run between one relation and the
next.
"""

from typing import Any

from django.db.models import deletion as stock

from app.db.bridges import Stretch


class Collector(stock.Collector):
    """Asked for the related objects of each relation; with a thousand rows each takes a while."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stretch = Stretch()

    def related_objects(self, *args: Any, **kwargs: Any) -> Any:
        self._stretch.pause()
        return super().related_objects(*args, **kwargs)

    def delete(self) -> tuple[int, dict[str, int]]:
        self._stretch.pause()
        return super().delete()


def delete(queryset: Any) -> tuple[int, dict[str, int]]:
    """`QuerySet.delete()` as Django has it, with this collector."""
    queryset._not_support_combined_queries("delete")
    if queryset.query.is_sliced:
        raise TypeError("Cannot use 'limit' or 'offset' with delete().")
    if queryset.query.distinct_fields:
        raise TypeError("Cannot call delete() after .distinct(*fields).")
    if queryset._fields is not None:
        raise TypeError("Cannot call delete() after .values() or .values_list()")
    found = queryset._chain()
    found._for_write = True
    found.query.select_for_update = False
    found.query.select_related = False
    found.query.clear_ordering(force=True)
    collector = Collector(using=found.db, origin=queryset)
    collector.collect(found)
    deleted = collector.delete()
    queryset._result_cache = None
    return deleted


__all__ = ["Collector", "delete"]
