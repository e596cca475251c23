"""Fields that show what a model's class computes of a few columns, read without the other columns.

A serializer says which columns such a field reads, as it does for `?fields=` (`narrowing`):

    class Meta:
        reads = {"allocatable": ["cpus", "reserved_cpus"]}

Then a property of the model can be asked of an instance that has nothing but these. Whatever else
it reads raises, and DRF's way is taken. What is no property but a plain constant of the class reads
nothing.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from inspect import getattr_static
from typing import Any, NamedTuple

from django.core.exceptions import FieldDoesNotExist
from django.db.models import JSONField
from django.db.models.base import ModelState
from django.utils.functional import cached_property as django_cached_property
from rest_framework import fields as drf

from app.rest import compilation
from app.rest.compilation import Convert

_PROPERTIES = (property, cached_property, django_cached_property)
_CONSTANTS = (type(None), bool, int, str)


class Computed(NamedTuple):
    """`read`: from the values of the `columns` to what the field shows."""

    columns: tuple[str, ...]
    read: Callable[..., Any]


def computed(field: Any, model: Any, told: Any) -> Computed | None:
    """What a field computes of its model's columns, of which `told` says what it reads; None where
    only DRF's own code can.
    """
    convert = compilation.converter(field)
    is_plain = type(field).get_attribute is drf.Field.get_attribute and len(field.source_attrs) == 1
    if not is_plain or convert is compilation.UNKNOWN:
        return None
    name = field.source_attrs[0]
    attribute = getattr_static(model, name, model)
    if type(attribute) in _CONSTANTS:
        return Computed((), _constant(model, name, convert))
    if not isinstance(attribute, _PROPERTIES) or field.field_name not in told:
        return None
    columns = _columns(model, told[field.field_name])
    return None if columns is None else Computed(columns, _reader(model, name, columns, convert))


def _columns(model: Any, names: Sequence[str]) -> tuple[str, ...] | None:
    """None where one of them is none of the model's own, or JSON, which may come as text."""
    found = {model._meta.pk.attname: None}  # by which what is missing would be fetched
    for name in names:
        try:
            column = model._meta.get_field(name)
        except FieldDoesNotExist:
            return None
        if not column.concrete or column.many_to_many or isinstance(column, JSONField):
            return None
        found[column.attname] = None
    return tuple(found)


def _constant(model: Any, name: str, convert: Convert | None) -> Callable[..., Any]:
    def read() -> Any:
        value = getattr(model, name)
        return value if value is None or convert is None else convert(value)

    return read


def _reader(
    model: Any, name: str, columns: tuple[str, ...], convert: Convert | None
) -> Callable[..., Any]:
    def read(*values: Any) -> Any:
        instance = model.__new__(model)
        attributes = instance.__dict__
        attributes["_state"] = state = ModelState()
        state.adding = False
        attributes.update(zip(columns, values, strict=True))
        value = getattr(instance, name)
        if callable(value):
            raise TypeError("DRF calls it.")
        return value if value is None or convert is None else convert(value)

    return read


__all__ = ["Computed", "computed"]
