"""Reading: instances to primitive data, as DRF does it, after everything it will read was loaded.

A plan, made once for each serializer object, says which relations its fields follow and whether any
field must be awaited. Without such a field DRF's own `to_representation` runs in place.
"""

from dataclasses import dataclass, replace
from inspect import iscoroutine
from typing import Any
from weakref import WeakKeyDictionary

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

from app.rest.breathing import Breather
from app.rest.colours import call_computing
from app.rest.compilation import Row, compiled, is_static, read_rows, row_function
from app.rest.prefetching import aload_related, is_relation


@dataclass(frozen=True)
class Plan:
    """`paths`: relations to load, Django's spelling. `awaited`: names of fields that must wait.
    `row`: reads one instance, where the class could be compiled (`compilation`).
    """

    paths: tuple[str, ...]
    awaited: frozenset[str]
    row: Row | None = None


_STRETCH_ROWS = 64
_plans: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def plan_of(serializer: Any) -> Plan:
    """The plan of a Serializer: its class's, unless its fields may differ from its class's."""
    if "fields" not in vars(serializer):
        plan = _plan_of_class(type(serializer))
        if plan is not None:
            return plan
    return _plan_of_object(serializer)


def _plan_of_class(cls: type) -> Plan | None:
    """The plan for all objects of a class whose fields are known from it; None for any other."""
    plan: Plan | None = compiled(_plans, cls, _make_plan)
    return plan


def _make_plan(cls: type) -> Plan | None:
    if not (issubclass(cls, drf.ModelSerializer) and is_static(cls)):
        return None
    template: Any = cls()
    plan = _plan_of_object(template)
    row = None if plan.awaited else row_function(template)
    return replace(plan, row=row)


def _plan_of_object(serializer: Any) -> Plan:
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


def _read_compiled(row: Row | None, items: list[Any]) -> list[Any] | None:
    """The items by the compiled function, or None where only DRF's own code can read them."""
    if row is None:
        return None
    try:
        return read_rows(row, items)
    except Exception:  # noqa: BLE001 - DRF's own code gives its own result or error
        return None


async def represent_all(child: Any, items: list[Any]) -> list[Any]:
    """The items of a list whose relations are loaded; a long one lets other requests run."""
    own = getattr(type(child), "ato_representation", None)
    is_own = own is not None and not own.__module__.startswith("app.rest.")
    row = None if is_own else plan_of(child).row
    result: list[Any] = []
    breather = Breather()
    for start in range(0, len(items), _STRETCH_ROWS):
        stretch = items[start : start + _STRETCH_ROWS]
        done = _read_compiled(row, stretch)
        if done is None:
            for item in stretch:
                value = child.ato_representation(item) if is_own else represent(child, item)
                result.append(await value)
                await breather.breathe()
        else:
            result += done
            await breather.breathe()
    return result


async def represent(serializer: Any, instance: Any) -> Any:
    """`serializer.to_representation(instance)` for a loaded instance."""
    plan = plan_of(serializer)
    if plan.row is not None:
        try:
            return read_rows(plan.row, [instance])[0]
        except Exception:  # noqa: BLE001, S110 - DRF's own code gives its own result or error
            pass
    if not plan.awaited:
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
    if hasattr(data, "afetch"):  # a part of a lane's shelf
        found: list[Any] = await data.afetch()
        return found
    if isinstance(data, models.manager.BaseManager):
        data = data.all()
    if isinstance(data, models.QuerySet):
        cached = data._result_cache
        return [item async for item in data] if cached is None else list(cached)
    if hasattr(data, "__aiter__"):
        return [item async for item in data]
    return list(data)
