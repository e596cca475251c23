"""Drop-in for `django.db.models`: everything that it has, with Model, Manager and QuerySet on
asyncpg.
"""

from typing import Any

from django.db import models as stock
from django.db.models import *  # noqa: F403 - a drop-in exports what it stands in for
from django.db.models import base as stock_base

from app.db import bridges
from app.db.querysets import Manager, QuerySet, RawQuerySet, awaitable
from app.db.relations import awaited_descriptor
from app.db.transactions import run
from app.loops import running_loop


class ModelBase(stock_base.ModelBase):
    """Relations are followed through the base manager: ours, where Django would make its own. So
    are those to a model whose manager is a third party's.
    """

    def __setattr__(cls, name: str, value: Any) -> None:  # noqa: N805 - as below
        super().__setattr__(name, awaited_descriptor(value))

    @property
    def _base_manager(cls) -> Any:  # noqa: N805 - a metaclass's self is a class
        options = cls._meta  # type: ignore[attr-defined]
        manager = options.base_manager
        if type(manager) is stock.Manager:
            ours: Any = Manager()
            ours.name, ours.model, ours.auto_created = "_base_manager", cls, True
            options.__dict__["base_manager"] = manager = ours
        return manager


class Model(stock.Model, metaclass=ModelBase):  # type: ignore[no-redef]
    """Django's Model whose asave, adelete and arefresh_from_db run on the loop, and whose `objects`
    is awaited.
    """

    objects = Manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if running_loop() is not None:
            _refuse(self, "save")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        if running_loop() is not None:
            _refuse(self, "delete")
        return super().delete(*args, **kwargs)

    def refresh_from_db(
        self, using: Any = None, fields: Any = None, from_queryset: Any = None
    ) -> None:
        if running_loop() is not None:
            names = f"fields={list(fields)!r}" if fields else ""
            bridges.refuse_on_loop(
                f"{type(self).__name__}: loading {', '.join(fields or ['its fields'])}",
                f"Write `await ….arefresh_from_db({names})`, or do not defer what is read.",
            )
        super().refresh_from_db(using=using, fields=fields, from_queryset=from_queryset)

    save.alters_data = True  # type: ignore[attr-defined]
    delete.alters_data = True  # type: ignore[attr-defined]

    asave = awaitable("save")
    adelete = awaitable("delete")
    arefresh_from_db = awaitable("refresh_from_db")
    asave.alters_data = True  # type: ignore[attr-defined]
    adelete.alters_data = True  # type: ignore[attr-defined]


def _refuse(instance: Model, name: str) -> None:
    bridges.refuse_on_loop(f"{type(instance).__name__}.{name}()", f"Write `await ….a{name}()`.")


async def aprefetch_related_objects(  # type: ignore[no-redef]
    model_instances: Any, *related_lookups: Any
) -> None:
    """Django's `prefetch_related_objects`, awaited."""
    await run(stock.prefetch_related_objects, model_instances, *related_lookups)


__all__ = [  # noqa: PLE0604 - computed from Django's
    *[name for name in stock.__all__ if name not in {"Model", "Manager", "QuerySet"}],
    "Manager",
    "Model",
    "QuerySet",
    "RawQuerySet",
    "aprefetch_related_objects",
]
