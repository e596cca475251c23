"""Relations to models whose manager is stock (`user.groups`): their related managers, awaited too.

Django derives the manager of a relation from the default manager of the model at its other end.
Where that is `app.db`'s, so is the relation's. Where it is a third party's, the descriptors here,
which `app.db`'s models have in the place of Django's, put `app.db`'s methods on top of it; what the
third party's manager and QuerySet override, stays overridden.
"""

from functools import lru_cache
from typing import Any

from django.db import models as stock
from django.db.models.fields import related_descriptors as descriptors
from django.utils.functional import cached_property

from app.db.querysets import QuerySet, RelatedTwins


class ManyToManyDescriptor(descriptors.ManyToManyDescriptor):
    @cached_property
    def related_manager_cls(self) -> Any:
        rel: Any = self.rel
        target = rel.related_model if self.reverse else rel.model
        manager = awaited_manager(target._default_manager.__class__)
        return descriptors.create_forward_many_to_many_manager(manager, rel, reverse=self.reverse)


class ReverseManyToOneDescriptor(descriptors.ReverseManyToOneDescriptor):
    @cached_property
    def related_manager_cls(self) -> Any:
        rel: Any = self.rel
        manager = awaited_manager(rel.related_model._default_manager.__class__)
        return descriptors.create_reverse_many_to_one_manager(manager, rel)


OURS: dict[type, type] = {
    descriptors.ManyToManyDescriptor: ManyToManyDescriptor,
    descriptors.ReverseManyToOneDescriptor: ReverseManyToOneDescriptor,
}


def awaited_descriptor(value: Any) -> Any:
    """What is about to become an attribute of a model: Django's descriptor turned into ours."""
    ours = OURS.get(type(value))
    if ours is not None:
        value.__class__ = ours
    return value


class _Awaited(RelatedTwins):
    """A stock manager whose QuerySets are awaited on asyncpg."""

    def get_queryset(self) -> Any:
        queryset = super().get_queryset()  # type: ignore[misc]
        queryset.__class__ = awaited_queryset(queryset.__class__)
        queryset.make_instances_here()
        return queryset


@lru_cache(maxsize=256)
def awaited_manager(manager: Any) -> Any:
    """The class of a manager with awaitable methods that run on asyncpg."""
    if issubclass(manager, RelatedTwins):
        return manager
    return type(manager.__name__, (_Awaited, manager), {})


@lru_cache(maxsize=256)
def awaited_queryset(queryset: Any) -> Any:
    if issubclass(queryset, QuerySet):
        return queryset
    if queryset is stock.QuerySet:
        return QuerySet
    return type(queryset.__name__, (queryset, QuerySet), {})


__all__ = ["awaited_descriptor"]
