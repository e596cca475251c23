"""Reading: instances to primitive data, as DRF does it, after everything it will read was loaded.

A plan, made once for each serializer object, says which relations its fields follow and whether any
field must be awaited. Without such a field DRF's own `to_representation` runs in place.
"""

from dataclasses import dataclass
from inspect import iscoroutine
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.db import models
from rest_framework import serializers as drf
from rest_framework.fields import SkipField
from rest_framework.relations import (
    ManyRelatedField,
    PKOnlyObject,
    RelatedField,
    SlugRelatedField,
)

from app.rest.colours import call_computing
from app.rest.prefetching import aload_related, is_relation


@dataclass(frozen=True)
class Plan:
    """`paths`: relations to load, Django's spelling. `awaited`: names of fields that must wait."""

    paths: tuple[str, ...]
    awaited: frozenset[str]


def plan_of(serializer: Any) -> Plan:
    """The plan of a Serializer; made once for each object, for its fields may differ."""
    plan: Plan | None = vars(serializer).get("_reading_plan")
    if plan is None:
        paths: list[str] = []
        awaited = set()
        for field in getattr(serializer, "fields", {}).values():
            if not field.write_only:
                paths += _paths(field)
                if _awaits(serializer, field):
                    awaited.add(field.field_name)
        model = getattr(getattr(serializer, "Meta", None), "model", None)
        plan = Plan(_prune(paths, model), frozenset(awaited))
        serializer._reading_plan = plan
    return plan


def _prune(paths: list[str], model: Any) -> tuple[str, ...]:
    """Each path once, without those that a model is known not to have."""
    kept = dict.fromkeys(path for path in paths if path)
    if model is None:
        return tuple(kept)
    return tuple(path for path in kept if is_relation(model, path.split("__")[0]))


def _paths(field: Any) -> list[str]:
    attrs = list(field.source_attrs)
    if isinstance(field, RelatedField) and _reads_key_only(field):
        return ["__".join(attrs[:-1])]
    path = "__".join(attrs)
    if isinstance(field, drf.BaseSerializer):
        inner = getattr(field, "child", field)
        below = plan_of(inner).paths if isinstance(inner, drf.BaseSerializer) else ()
        return [path, *(f"{path}__{rest}" if path else rest for rest in below)]
    child = field.child_relation if isinstance(field, ManyRelatedField) else field
    if isinstance(child, SlugRelatedField) and "__" in child.slug_field:
        return [f"{path}__{child.slug_field}"]
    return [path]


def _reads_key_only(field: RelatedField) -> bool:
    """Whether the field shows a key that stands in the instance's own row."""
    if not field.use_pk_only_optimization():
        return False
    model = getattr(getattr(field.parent, "Meta", None), "model", None)
    if model is None or len(field.source_attrs) != 1:
        return True
    reverse = {relation.get_accessor_name() for relation in model._meta.related_objects}
    return field.source_attrs[0] not in reverse


def _awaits(serializer: Any, field: Any) -> bool:
    if isinstance(field, drf.BaseSerializer):
        return _serializer_awaits(getattr(field, "child", field)) or _serializer_awaits(field)
    if isinstance(field, drf.SerializerMethodField):
        return iscoroutinefunction(getattr(serializer, field.method_name, None))
    if "ato_representation" in dir(type(field)):
        return not type(field).__module__.startswith("adrf.")
    return _reads_coroutine(serializer, field)


def _serializer_awaits(serializer: Any) -> bool:
    if not isinstance(serializer, drf.BaseSerializer):
        return False
    own = getattr(type(serializer), "ato_representation", None)
    if own is not None and not own.__module__.startswith("app.rest."):
        return True
    return bool(plan_of(serializer).awaited)


def _reads_coroutine(serializer: Any, field: Any) -> bool:
    """Whether the field reads a coroutine method of the model (adrf allows that)."""
    model = getattr(getattr(serializer, "Meta", None), "model", None)
    attrs = field.source_attrs
    return bool(model and len(attrs) == 1 and iscoroutinefunction(getattr(model, attrs[0], None)))


async def load(serializer: Any, instances: list[Any]) -> None:
    """Load every relation that the serializer reads of `instances`, one query for each."""
    for path in plan_of(serializer).paths:
        await aload_related(instances, path)


async def represent_child(child: Any, item: Any) -> Any:
    """One item of a list whose relations are loaded."""
    own = getattr(type(child), "ato_representation", None)
    if own is not None and not own.__module__.startswith("app.rest."):
        return await child.ato_representation(item)
    return await represent(child, item)


async def represent(serializer: Any, instance: Any) -> Any:
    """`serializer.to_representation(instance)` for a loaded instance."""
    if not plan_of(serializer).awaited:
        return await call_computing(serializer.to_representation, instance)
    return await _represent_awaiting(serializer, instance)


async def _represent_awaiting(serializer: Any, instance: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}
    awaited = plan_of(serializer).awaited
    for field in serializer._readable_fields:
        try:
            attribute = field.get_attribute(instance)
        except SkipField:
            continue
        if iscoroutine(attribute):
            attribute = await attribute
        check = attribute.pk if isinstance(attribute, PKOnlyObject) else attribute
        if check is None:
            result[field.field_name] = None
        elif field.field_name in awaited and hasattr(field, "ato_representation"):
            result[field.field_name] = await field.ato_representation(attribute)
        else:
            result[field.field_name] = field.to_representation(attribute)
    return result


async def as_list(data: Any) -> list[Any]:
    """The items of a manager, a queryset or any iterable, sync or async."""
    if isinstance(data, models.manager.BaseManager):
        data = data.all()
    if isinstance(data, models.QuerySet):
        cached = data._result_cache
        return [item async for item in data] if cached is None else list(cached)
    if hasattr(data, "__aiter__"):
        return [item async for item in data]
    return list(data)
