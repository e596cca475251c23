"""Loads what a serializer will read of its instances, so that reading it only computes.

One query for each relation of a whole list, whatever its length, awaited, through the related
model's default manager; the results go where Django's own prefetching keeps them.
"""

from collections import defaultdict
from typing import Any

from django.db.models import ForeignKey, Model
from django.db.models.fields.related_descriptors import (
    ForwardManyToOneDescriptor,
    ManyToManyDescriptor,
    ReverseManyToOneDescriptor,
    ReverseOneToOneDescriptor,
)

from app.rest.breathing import Breather

_ONE = (ForwardManyToOneDescriptor, ReverseOneToOneDescriptor)
_MANY = (ReverseManyToOneDescriptor, ManyToManyDescriptor)


async def aload_related(instances: list[Any], path: str) -> None:
    """Load `path` (Django's spelling: `host__team`) of every instance that lacks it."""
    level: list[Any] = [instance for instance in instances if isinstance(instance, Model)]
    name, *deeper = path.split("__")
    level = [instance for instance in level if is_relation(type(instance), name)]
    if not level:
        return
    await _load_level(level, name)
    if deeper:
        found: list[Any] = []
        breather = Breather()
        for instance in level:
            found += _loaded(instance, name)
            await breather.breathe()
        await aload_related(found, "__".join(deeper))


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
    if isinstance(descriptor, ForwardManyToOneDescriptor):
        await _fetch_targets(instances, descriptor.field)
    elif isinstance(descriptor, ReverseOneToOneDescriptor):
        groups = await _fetch_sources(instances, descriptor.related.field)
        for instance, found in zip(instances, groups, strict=True):
            descriptor.related.set_cached_value(instance, found[0] if found else None)
    elif not isinstance(descriptor.field, ForeignKey):
        await _fetch_by_manager(instances, name)  # many-to-many, generic
    else:
        groups = await _fetch_sources(instances, descriptor.field)
        cache_name = descriptor.rel.cache_name
        breather = Breather()
        for instance, found in zip(instances, groups, strict=True):
            _set_many(instance, name, found, cache_name)
            await breather.breathe()


async def _fetch_targets(instances: list[Model], field: Any) -> None:
    """What a foreign key (or a one-to-one field) of the instances points at."""
    target = field.target_field
    keys = {getattr(instance, field.attname) for instance in instances}
    queryset = field.remote_field.model._default_manager.filter(**{f"{target.name}__in": keys})
    found = {getattr(obj, target.attname): obj async for obj in queryset}
    breather = Breather()
    for instance in instances:
        await breather.breathe()
        obj = found.get(getattr(instance, field.attname))
        # What the default manager hides stays unloaded: reading it asks, and says so.
        if obj is not None:
            field.set_cached_value(instance, obj)
            if not field.remote_field.multiple:
                field.remote_field.set_cached_value(obj, instance)


async def _fetch_sources(instances: list[Model], field: Any) -> list[list[Any]]:
    """For each instance, the rows whose foreign key `field` points at it."""
    attname = field.target_field.attname
    owners = {getattr(instance, attname): instance for instance in instances}
    groups: dict[Any, list[Any]] = defaultdict(list)
    queryset = field.model._default_manager.filter(**{f"{field.name}__in": instances})
    async for obj in queryset:
        key = getattr(obj, field.attname)
        field.set_cached_value(obj, owners[key])
        groups[key].append(obj)
    return [groups.get(getattr(instance, attname), []) for instance in instances]


async def _fetch_by_manager(instances: list[Model], name: str) -> None:
    manager: Any = getattr(instances[0], name)
    related, related_key, instance_key, _, cache_name, _ = manager.get_prefetch_querysets(instances)
    groups: dict[Any, list[Any]] = defaultdict(list)
    async for obj in related:
        groups[related_key(obj)].append(obj)
    breather = Breather()
    for instance in instances:
        _set_many(instance, name, groups.get(instance_key(instance), []), cache_name)
        await breather.breathe()


def _set_many(instance: Any, name: str, found: list[Any], cache_name: str) -> None:
    queryset = getattr(instance, name).get_queryset()
    queryset._result_cache = found
    queryset._prefetch_done = True
    if not hasattr(instance, "_prefetched_objects_cache"):
        instance._prefetched_objects_cache = {}
    instance._prefetched_objects_cache[cache_name] = queryset


def _loaded(instance: Model, name: str) -> list[Any]:
    if instance.pk is None and isinstance(getattr(type(instance), name), _MANY):
        return []
    value = getattr(instance, name, None) if _is_loaded(instance, name) else None
    if value is None:
        return []
    return list(value.all()) if hasattr(value, "all") else [value]
