"""Compiled reading: a serializer class's fields made into one row function, once per class.

DRF builds a serializer's fields anew for every request and walks them for every row. Where a class
is static (it overrides nothing that decides about its fields) and each field reads a plain column
or a relation in DRF's own way, what DRF would compute is known beforehand: for each field a getter
and a converter. `row_function` makes them; it returns None where anything is out of the ordinary,
and any exception while reading sends that row to DRF's own code, which gives its own result or
error.

Differential tests hold the output equal to DRF's, by value and type.
"""

import datetime
from collections.abc import Callable
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field as Column
from rest_framework import fields as drf
from rest_framework import serializers as drf_serializers
from rest_framework.relations import ManyRelatedField, PrimaryKeyRelatedField
from rest_framework.settings import ISO_8601, api_settings

from app.rest.time_zones import current_time_zone

Row = Callable[[Any], dict[str, Any]]
Convert = Callable[[Any], Any]

_LIBRARIES = ("rest_framework.", "adrf.", "app.rest.")
# What a class may not override if its fields are to be known from the class alone.
_DECIDING = (
    "__init__",
    "__new__",
    "fields",
    "_readable_fields",
    "get_fields",
    "get_field_names",
    "get_default_field_names",
    "get_extra_kwargs",
    "get_uniqueness_extra_kwargs",
    "include_extra_kwargs",
    "build_field",
    "build_standard_field",
    "build_relational_field",
    "build_nested_field",
    "build_property_field",
    "build_url_field",
    "build_unknown_field",
    "to_representation",
    "ato_representation",
    "__getattribute__",
)


# What a class is looked at for each time something that was compiled of it is used.
_LOOK: Any = attrgetter(
    "__init__", "fields", "get_fields", "get_field_names", "get_extra_kwargs", "to_representation",
    "Meta", "_declared_fields", "run_validation", "to_internal_value", "validate", "create", "save",
    "is_valid",
)  # fmt: skip
_LOOK_AT_AWAITED: Any = attrgetter("ato_representation", "acreate", "asave", "ais_valid")


def look(cls: Any) -> Any:
    """What stands under the names of a serializer class that matter most. Other than it was: the
    class was patched, and what was compiled of it holds no more.
    """
    try:
        found = _LOOK(cls)
        return (*found, *_LOOK_AT_AWAITED(cls)) if hasattr(cls, "asave") else found
    except AttributeError:
        return None


def compiled(known: Any, cls: Any, make: Callable[[Any], Any]) -> Any:
    """`make(cls)`, made once and kept in `known` until the class is patched."""
    found = look(cls)
    entry = known.get(cls)
    if entry is None or entry[0] != found:
        known[cls] = found, None  # what it leads back to itself by
        known[cls] = entry = found, make(cls)
    return entry[1]


def is_static(cls: type) -> bool:
    """Whether every object of this serializer class has the fields that the class says."""
    return all(_is_library(getattr(cls, name, None)) for name in _DECIDING)


def _is_library(attribute: Any) -> bool:
    function = getattr(attribute, "fget", None) or getattr(attribute, "func", None) or attribute
    module = getattr(function, "__module__", None) or "builtins."
    return f"{module}.".startswith((*_LIBRARIES, "builtins."))


def row_function(template: Any) -> Row | None:
    """The row function of `template`'s class; None if only DRF's own code can read it."""
    model = getattr(getattr(template, "Meta", None), "model", None)
    if model is None or not is_static(type(template)):
        return None
    steps = []
    for field in template.fields.values():
        if field.write_only:
            continue
        step = _step(field, model)
        if step is None:
            return None
        steps.append((field.field_name, *step))
    return _compile(tuple(steps), model)


def _compile(
    steps: tuple[tuple[str, Callable[[Any], Any], Convert | None], ...], model: Any
) -> Row:
    def read(instance: Any) -> dict[str, Any]:
        if not isinstance(instance, model):
            raise TypeError("not a row of this model")
        row = {}
        for name, get, convert in steps:
            value = get(instance)
            row[name] = value if value is None or convert is None else convert(value)
        return row

    return read


def _step(field: Any, model: Any) -> tuple[Callable[[Any], Any], Convert | None] | None:
    """How to get and to convert one field's value; None when only DRF's own code knows."""
    if isinstance(field, ManyRelatedField):
        return _many_related(field, model)
    if isinstance(field, PrimaryKeyRelatedField):
        return primary_key_step(field, model)
    if isinstance(field, drf_serializers.BaseSerializer):
        return _nested(field, model)
    if type(field).get_attribute is not drf.Field.get_attribute:
        return None
    if not is_column_path(model, field.source_attrs):
        return None
    convert = converter(field)
    return None if convert is UNKNOWN else (attrgetter(field.source), convert)


def is_column_path(model: Any, attrs: list[str]) -> bool:
    """Whether `attrs` leads over foreign keys to a column."""
    for index, attr in enumerate(attrs):
        try:
            column = model._meta.get_field(attr)
        except FieldDoesNotExist:
            return attr == "pk" and index == len(attrs) - 1
        if not isinstance(column, Column) or column.many_to_many:
            return False
        if index == len(attrs) - 1:
            return not column.is_relation
        if not column.is_relation:
            return False
        model = column.related_model
    return False


def primary_key_step(field: Any, model: Any) -> tuple[Callable[[Any], Any], Convert | None] | None:
    own = type(field)
    if (
        field.pk_field is not None
        or own.to_representation is not PrimaryKeyRelatedField.to_representation
        or own.get_attribute is not PrimaryKeyRelatedField.get_attribute
        or own.use_pk_only_optimization is not PrimaryKeyRelatedField.use_pk_only_optimization
        or len(field.source_attrs) != 1
    ):
        return None
    try:
        column: Any = model._meta.get_field(field.source)
    except FieldDoesNotExist:
        return None
    if not getattr(column, "concrete", False) or column.many_to_many or not column.is_relation:
        return None
    return attrgetter(column.attname), None


def _many_related(field: Any, model: Any) -> tuple[Callable[[Any], Any], Convert | None] | None:
    child = type(field.child_relation)
    if (
        type(field) is not ManyRelatedField
        or child.to_representation is not PrimaryKeyRelatedField.to_representation
        or field.child_relation.pk_field is not None
        or len(field.source_attrs) != 1
    ):
        return None
    name = field.source

    def get(instance: Any) -> list[Any]:
        # Loaded beforehand (`prefetching`); a KeyError sends the row to DRF's own code.
        return [obj.pk for obj in instance._prefetched_objects_cache[name]]

    return get, None


def _nested(field: Any, model: Any) -> tuple[Callable[[Any], Any], Convert | None] | None:
    if len(field.source_attrs) != 1 or type(field).get_attribute is not drf.Field.get_attribute:
        return None
    name = field.source
    if isinstance(field, drf_serializers.ListSerializer):
        representation = type(field).to_representation
        row = row_function(field.child) if hasattr(field.child, "fields") else None
        if row is None or not _is_library(representation):
            return None
        return (
            lambda instance: instance._prefetched_objects_cache[name],
            lambda found: [row(obj) for obj in found],
        )
    row = row_function(field) if hasattr(field, "fields") else None
    return None if row is None else (attrgetter(name), row)


# Converters


class _Unknown:
    pass


UNKNOWN: Any = _Unknown()


def converter(field: Any) -> Any:
    """What DRF's `to_representation` makes of a value that is not None, or `UNKNOWN`."""
    function = type(field).to_representation
    if function in _IN_FIELD:
        return field.to_representation
    if function is drf.DateTimeField.to_representation:
        return _datetime_converter(field)
    if function is drf.JSONField.to_representation:
        return UNKNOWN if field.binary else None
    if function is drf.BigIntegerField.to_representation:
        coerce = getattr(field, "coerce_to_string", api_settings.COERCE_BIGINT_TO_STRING)
        return str if coerce else int
    if function is drf.DictField.to_representation:
        return _dict_converter(field)
    return _CONVERTERS.get(function, UNKNOWN)


def _dict_converter(field: Any) -> Any:
    """A dict whose values are converted; of text, the usual case, without asking the field."""
    convert = converter(field.child)
    if convert is UNKNOWN:
        return UNKNOWN
    if convert is not str:
        return field.to_representation

    def represent(value: dict[Any, Any]) -> dict[str, Any]:
        for key, item in value.items():
            if key.__class__ is not str or item.__class__ is not str:
                break
        else:
            return dict(value)
        return {str(key): None if item is None else str(item) for key, item in value.items()}

    represent.is_text_by_name = True  # type: ignore[attr-defined]
    return represent


def convert_boolean(value: Any) -> Any:
    return value if value is True or value is False else _boolean.to_representation(value)


_boolean = drf.BooleanField()
_CONVERTERS: dict[Any, Convert | None] = {
    drf.CharField.to_representation: str,
    drf.IntegerField.to_representation: int,
    drf.FloatField.to_representation: float,
    drf.BooleanField.to_representation: convert_boolean,
    drf.ReadOnlyField.to_representation: None,
}
# These look at their own settings and the value, and at nothing of the request.
_IN_FIELD = {
    drf.ChoiceField.to_representation,
    drf.DateField.to_representation,
    drf.DecimalField.to_representation,
    drf.DurationField.to_representation,
    drf.TimeField.to_representation,
    drf.UUIDField.to_representation,
}


def _datetime_converter(field: Any) -> Convert:
    """ISO 8601 in UTC, the usual case, without DRF's way through time zones."""
    represent: Convert = field.to_representation
    format_ = getattr(field, "format", api_settings.DATETIME_FORMAT)
    if format_ is None or format_.lower() != ISO_8601 or hasattr(field, "timezone"):
        return represent

    def convert(value: Any) -> Any:
        plain = type(value) is datetime.datetime and value.tzinfo is datetime.UTC
        if not (plain and _reading.is_utc):
            return represent(value)
        text = value.isoformat()
        return f"{text[:-6]}Z" if text.endswith("+00:00") else text

    convert.is_iso_datetime = True  # type: ignore[attr-defined]
    return convert


class _Reading:
    """Django's current time zone, looked up once for the rows that are read in one go."""

    is_utc = False


_reading = _Reading()
_UTC = ZoneInfo("UTC")


def look_at_time_zone(current: Any) -> bool:
    """Remember the time zone for the converters; whether it is UTC."""
    _reading.is_utc = current is datetime.UTC or current == _UTC
    return _reading.is_utc


def read_rows(row: Row, instances: list[Any]) -> list[dict[str, Any]]:
    """Each instance by the row function. Raises whatever DRF's own code should be asked about."""
    look_at_time_zone(current_time_zone())
    return [row(instance) for instance in instances]
