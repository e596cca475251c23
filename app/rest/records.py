"""Compiled reading without instances: a serializer class made into the columns it shows, and a
function from rows of these columns to what the serializer would answer.

Where every field of a static class shows a column as it is (or through a converter of
`compilation`), or an object behind a foreign key of which the same is true, no model instance is
needed to write it out. `record_of` says None to any other class, and to a model that takes part in
making its instances.

A row holds first a column for each field, in the serializer's order, then those of the nested
objects. Where a nested object goes stands its foreign key, which says whether there is one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model
from django.db.models import fields as columns
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init
from django.utils import timezone
from rest_framework import fields as drf
from rest_framework import serializers as drf_serializers
from rest_framework.relations import PrimaryKeyRelatedField

from app.rest import compilation
from app.rest.compilation import Convert

Make = Callable[[Sequence[Any]], dict[str, Any]]


@dataclass(frozen=True)
class Record:
    """`paths`: the columns to select, in Django's spelling. `make`: from a row to output."""

    paths: tuple[str, ...]
    make: Make

    def represent(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """Raises whatever the serializer itself should be asked about."""
        compilation.look_at_time_zone(timezone.get_current_timezone())
        return list(map(self.make, rows))


_records: WeakKeyDictionary[type, Record | None] = WeakKeyDictionary()


def record_of(cls: Any) -> Record | None:
    """The record of a serializer class; worked out once."""
    if cls not in _records:
        _records[cls] = None
        is_model = issubclass(cls, drf_serializers.ModelSerializer)
        if is_model and compilation.is_static(cls):
            layout = _layout(cls(), cls.Meta.model, "", 0)
            # Django selects a column once, however often it is named.
            if layout is not None and len(set(layout[0])) == len(layout[0]):
                _records[cls] = Record(*layout)
    return _records[cls]


def _layout(
    serializer: Any, model: Any, prefix: str, start: int
) -> tuple[tuple[str, ...], Make] | None:
    """The paths and the maker of one object whose columns begin at `start`."""
    if not _is_plain(model):
        return None
    fields = [field for field in serializer.fields.values() if not field.write_only]
    own: list[str] = []
    converters: list[tuple[int, Convert]] = []
    nested: list[tuple[int, Make]] = []
    below: list[str] = []
    for place, field in enumerate(fields):
        if isinstance(field, drf_serializers.BaseSerializer):
            key = _foreign_key(field, model)
            after = start + len(fields) + len(below)
            inner = key and _layout(field, key.related_model, f"{prefix}{key.name}__", after)
            if not inner:
                return None
            own.append(prefix + key.attname)
            below += inner[0]
            nested.append((place, inner[1]))
            continue
        step = _column(field, model)
        if step is None:
            return None
        own.append(prefix + step[0])
        if step[1] is not None:
            converters.append((place, step[1]))
    names = tuple(field.field_name for field in fields)
    return (*own, *below), _maker(names, start, tuple(converters), tuple(nested))


def _maker(
    names: tuple[str, ...],
    start: int,
    converters: tuple[tuple[int, Convert], ...],
    nested: tuple[tuple[int, Make], ...],
) -> Make:
    end = start + len(names)

    def make(row: Sequence[Any]) -> dict[str, Any]:
        data = dict(zip(names, row[start:end], strict=True))
        for name, convert in named_converters:
            value = data[name]
            if value is not None:
                data[name] = convert(value)
        for name, inner in named_nested:
            if data[name] is not None:
                data[name] = inner(row)
        return data

    named_converters = tuple((names[place], convert) for place, convert in converters)
    named_nested = tuple((names[place], inner) for place, inner in nested)
    return make


def _is_plain(model: Any) -> bool:
    """Whether nothing but Django takes part in making the model's instances."""
    return (
        model.from_db.__func__ is Model.from_db.__func__  # type: ignore[attr-defined]
        and not (pre_init.has_listeners(model) or post_init.has_listeners(model))
        and all(cls in (Model, object) or "__init__" not in vars(cls) for cls in model.__mro__)
    )


def _foreign_key(field: Any, model: Any) -> Any:
    """The foreign key that a nested serializer follows, if it follows one and nothing else."""
    if (
        not hasattr(field, "fields")
        or len(field.source_attrs) != 1
        or type(field).get_attribute is not drf.Field.get_attribute
        or not compilation.is_static(type(field))
    ):
        return None
    column = _find(model, field.source)
    one = column is not None and (column.many_to_one or column.one_to_one)
    return column if one and column.concrete and field.Meta.model is column.related_model else None


def _find(model: Any, name: str) -> Any:
    try:
        return model._meta.get_field(model._meta.pk.name if name == "pk" else name)
    except FieldDoesNotExist:
        return None


# What such a column holds needs no conversion to be what DRF's field gives.
_AS_IT_IS: dict[Any, tuple[type, ...]] = {
    drf.CharField.to_representation: (columns.CharField, columns.TextField),
    drf.IntegerField.to_representation: (columns.IntegerField,),
    drf.FloatField.to_representation: (columns.FloatField,),
}


def _column(field: Any, model: Any) -> tuple[str, Convert | None] | None:
    """The path that a field shows, from its own model, and its converter."""
    if isinstance(field, PrimaryKeyRelatedField):
        step = compilation.primary_key_step(field, model)
        return None if step is None else (_find(model, field.source).attname, None)
    is_plain = type(field).get_attribute is drf.Field.get_attribute
    convert = compilation.converter(field)
    if (
        not is_plain
        or convert is compilation.UNKNOWN
        or not compilation.is_column_path(model, field.source_attrs)
    ):
        return None
    *relations, name = field.source_attrs
    for relation in relations:
        key = _find(model, relation)
        if key.null or not _is_plain(key.related_model):
            return None  # without the object DRF decides by the field's options
        model = key.related_model
    column = _find(model, name)
    descriptor: Any = getattr(model, column.attname, None)
    if type(descriptor) not in (DeferredAttribute, ForeignKeyDeferredAttribute):
        return None
    plain = _AS_IT_IS.get(type(field).to_representation, ())
    is_plain = isinstance(column, plain) and not hasattr(column, "from_db_value")
    path = "__".join([*relations, column.attname])
    return path, None if is_plain and not column.choices else convert


__all__ = ["Record", "record_of"]
