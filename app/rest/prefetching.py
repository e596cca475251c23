"""Loads what a serializer will read of its instances, so that reading it only computes.

Uses Django's own protocol for prefetching (`get_prefetch_querysets`), with the queries awaited:
one query for each relation of a whole list, whatever its length.
"""

from collections import defaultdict
from typing import Any

from django.db.models import Model
from django.db.models.fields.related_descriptors import (
    ForwardManyToOneDescriptor,
    ManyToManyDescriptor,
    ReverseManyToOneDescriptor,
    ReverseOneToOneDescriptor,
)

_ONE = (ForwardManyToOneDescriptor, ReverseOneToOneDescriptor)
_MANY = (ReverseManyToOneDescriptor, ManyToManyDescriptor)


async def aload_related(instances: list[Any], path: str) -> None:
    """Load `path` (Django's spelling: `host__team`) of every instance that lacks it."""
    level: list[Any] = [instance for instance in instances if isinstance(instance, Model)]
    for name in path.split("__"):
        level = [instance for instance in level if is_relation(type(instance), name)]
        if not level:
            return
        await _load_level(level, name)
        level = [obj for instance in level for obj in _loaded(instance, name)]


def is_relation(model: type, name: str) -> bool:
    """Whether `name` is an attribute of `model` that leads to other rows."""
    return isinstance(getattr(model, name, None), _ONE + _MANY)


async def _load_level(instances: list[Model], name: str) -> None:
    by_model: dict[type, list[Model]] = defaultdict(list)
    for instance in instances:
        if not _is_loaded(instance, name):
            by_model[type(instance)].append(instance)
    for missing in by_model.values():
        await _fetch(missing, name)


def _is_loaded(instance: Model, name: str) -> bool:
    descriptor: Any = getattr(type(instance), name)
    if isinstance(descriptor, ForwardManyToOneDescriptor):
        field: Any = descriptor.field
        if any(getattr(instance, local.attname) is None for local in field.local_related_fields):
            return True
    elif instance.pk is None:
        return True
    if isinstance(descriptor, _ONE):
        return bool(descriptor.is_cached(instance))
    return name in getattr(instance, "_prefetched_objects_cache", ())


async def _fetch(instances: list[Model], name: str) -> None:
    descriptor: Any = getattr(type(instances[0]), name)
    single = isinstance(descriptor, _ONE)
    prefetcher = descriptor if single else getattr(instances[0], name)
    related, related_key, instance_key, _, cache_name, _ = prefetcher.get_prefetch_querysets(
        instances, _native_querysets(descriptor)
    )
    groups: dict[Any, list[Any]] = defaultdict(list)
    async for obj in related:
        groups[related_key(obj)].append(obj)
    for instance in instances:
        found = groups.get(instance_key(instance), [])
        if single:
            instance._state.fields_cache[cache_name] = found[0] if found else None
        else:
            _set_many(instance, name, found, cache_name)


def _native_querysets(descriptor: Any) -> list[Any] | None:
    """The related model's default queryset, where Django would take its plain base manager.

    A model whose default manager runs natively (`app.db`) keeps doing so; one whose default manager
    hides rows would lose them, so it is taken only if it hides none.
    """
    if isinstance(descriptor, ForwardManyToOneDescriptor):
        target: Any = descriptor.field.remote_field.model
    elif isinstance(descriptor, ReverseOneToOneDescriptor):
        target = descriptor.related.related_model
    else:
        return None
    queryset = target._default_manager.all()
    return None if queryset.query.where else [queryset]


def _set_many(instance: Any, name: str, found: list[Any], cache_name: str) -> None:
    queryset = getattr(instance, name).get_queryset()
    queryset._result_cache = found
    queryset._prefetch_done = True
    if not hasattr(instance, "_prefetched_objects_cache"):
        instance._prefetched_objects_cache = {}
    instance._prefetched_objects_cache[cache_name] = queryset


def _loaded(instance: Model, name: str) -> list[Any]:
    value = getattr(instance, name, None) if _is_loaded(instance, name) else None
    if value is None:
        return []
    return list(value.all()) if hasattr(value, "all") else [value]
