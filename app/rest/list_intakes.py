"""A long list validated by its child's intake: no field is made, copied or walked for an item, and
related objects are looked up by one query for each model.

Where an item is refused, or one of its keys leads nowhere, DRF's own way is gone for the whole list
and gives its own errors.
"""

from typing import Any

from app.rest import shortcuts, validation
from app.rest.breathing import Breather
from app.rest.intakes import Intake, Key, intake_of, look_at_time_zone
from app.rest.narrow_filters import OffLaneError
from app.rest.relations import find_related

ITEMS_A_BREATH = 64


async def validated(serializer: Any) -> list[dict[str, Any]] | None:
    """What `ais_valid` puts into `validated_data`; None: DRF's own way is to be gone. Never an
    empty list.
    """
    items = serializer.initial_data
    if type(items) is not list or not items or type(items[0]) is not dict:
        return None
    intake = _intake_of(serializer)
    if intake is None:
        return None
    rejects = validation.rejects_unknown(serializer.child)
    breather, values = Breather(), []
    try:
        for start in range(0, len(items), ITEMS_A_BREATH):
            look_at_time_zone()
            for item in items[start : start + ITEMS_A_BREATH]:
                values.append(intake.read(item, rejects_unknown=rejects))  # noqa: PERF401 - faults
            await breather.breathe()
        for key in intake.keys:
            await _relate(key, values)
    except Exception:  # noqa: BLE001 - DRF's own code gives its own result or error
        return None
    return values


def _intake_of(serializer: Any) -> Intake | None:
    """The intake of the child, where nothing but it decides about an item of the list."""
    from app.rest.serializers import ListSerializer

    child = serializer.child
    is_plain = (
        type(serializer) is ListSerializer
        and serializer.parent is None
        and serializer.instance is None
        and child.instance is None
        and not (serializer.partial or child.partial)
        and getattr(serializer, "min_length", None) is None
        and getattr(serializer, "max_length", None) is None
        and not serializer.validators
        # What was looked at may have been changed.
        and not vars(child).keys() & {"fields", "_validators", "_writable_fields"}
        and shortcuts.are_on()
    )
    intake = intake_of(type(child)) if is_plain else None
    # A rule of the table is asked about item by item.
    return None if intake is None or intake.uniques else intake


async def _relate(key: Key, values: list[dict[str, Any]]) -> None:
    """Put the objects in place of their keys. Raises OffLaneError where there is none."""
    source = key.source
    keys = {one[source] for one in values if source in one} - {None}
    found = await find_related(key.field.get_queryset(), keys)
    if len(found) != len(keys):
        raise OffLaneError
    for one in values:
        pk = one.get(source)
        if pk is not None:
            one[source] = found[pk]


__all__ = ["validated"]
