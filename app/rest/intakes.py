"""Compiled validating: a serializer class made into a function from parsed JSON to what
`ais_valid` would put into `validated_data`.

DRF builds a serializer's fields anew for every request. Where a class is static (it overrides
nothing of DRF's, and has no `validate…` hook) and each of its fields is one of DRF's, what a field
makes of a value is known beforehand. `intake_of` makes the function; it says None to any other
class. Whatever is out of the ordinary, a wrong value first of all, raises `OffLaneError`: DRF's own
way is gone then, and gives its own result or errors.

An intake asks no database. A foreign key is left as the key that was given; whether there is such a
row, and whether what must be unique is, is for whoever uses the intake to find out (`keys`,
`uniques`).
"""

import copy
import datetime
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from django.core import validators as django_validators
from django.core.exceptions import FieldDoesNotExist
from django.db import connections
from django.db.models import IntegerField as IntegerColumn
from rest_framework import fields as drf
from rest_framework import serializers as drf_serializers
from rest_framework import validators as drf_validators
from rest_framework.fields import empty
from rest_framework.relations import PrimaryKeyRelatedField
from rest_framework.settings import ISO_8601, api_settings

from app.rest import compilation, shortcuts
from app.rest.narrow_filters import OffLaneError
from app.rest.time_zones import current_time_zone

Read = Callable[[Any], Any]
Absent = Callable[[], Any]

_LIBRARIES = ("rest_framework.", "adrf.", "app.rest.")
_OWN_VALIDATORS = (*_LIBRARIES, "django.")
_UNIQUENESS = (drf_validators.UniqueValidator, drf_validators.UniqueTogetherValidator)
#: What a serializer class of a user may define: nothing that DRF knows by that name.
_HARMLESS = {
    "Meta", "_declared_fields", "__module__", "__doc__", "__qualname__", "__annotations__",
    "__firstlineno__", "__static_attributes__", "__parameters__", "__orig_bases__", "__dict__",
    "__weakref__", "__slots__", "__annotate__", "__annotate_func__", "__classdictcell__",
}  # fmt: skip


@dataclass(frozen=True)
class Key:
    """A foreign key of an intake: the field of a template that looks it up, and the column."""

    source: str
    field: Any
    column: Any

    @property
    def model(self) -> Any:
        return self.column.related_model


class Intake:
    """Of one serializer class. `uniques`: groups of sources that must be unique in the table."""

    def __init__(
        self,
        steps: list[tuple[str, str, Read, Absent]],
        names: frozenset[str],
        keys: list[Key],
        uniques: list[tuple[str, ...]],
        has_moments: bool,
    ) -> None:
        self.has_moments = has_moments
        self.steps, self.names, self.keys, self.uniques = steps, names, keys, uniques
        self.together = [sources for sources in uniques if len(sources) > 1]

    def read(self, data: Any, *, rejects_unknown: bool) -> dict[str, Any]:
        """The validated values, with keys in place of related objects. Raises OffLaneError, and
        whatever DRF's own fields raise.
        """
        if type(data) is not dict or (rejects_unknown and not self.names.issuperset(data)):
            raise OffLaneError
        values = {}
        get = data.get
        for name, source, read, absent in self.steps:
            value = get(name, empty)
            if value is not empty:
                values[source] = read(value)
            elif (value := absent()) is not empty:
                values[source] = value
        for sources in self.together:  # DRF asks for all of them
            if not all(source in values for source in sources):
                raise OffLaneError
        return values


class _Reading:
    """Django's current time zone, for what is read in one go; None where moments have none."""

    zone: datetime.tzinfo | None = None


_reading = _Reading()


def look_at_time_zone() -> None:
    """To be called before `Intake.read`, again when something was awaited."""
    _reading.zone = current_time_zone() if shortcuts.setting("USE_TZ") else None


_intakes: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def intake_of(cls: Any) -> Intake | None:
    """The intake of a serializer class; worked out once."""
    intake: Intake | None = compilation.compiled(_intakes, cls, _make_intake)
    return intake


def _make_intake(cls: Any) -> Intake | None:
    is_model = issubclass(cls, drf_serializers.ModelSerializer)
    is_plain = is_model and compilation.is_static(cls) and overrides_nothing(cls)
    return _compile(cls()) if is_plain else None


def overrides_nothing(cls: Any) -> bool:
    """Whether the class says which fields there are, and does nothing itself."""
    known = set(dir(drf_serializers.ModelSerializer)) | _awaited_names()
    for one in cls.__mro__:
        if f"{one.__module__}.".startswith((*_LIBRARIES, "builtins.")):
            continue
        names = set(vars(one)) - _HARMLESS
        if names & known or any(name.startswith(("validate", "avalidate")) for name in names):
            return False
    return True


def _awaited_names() -> set[str]:
    from app.rest.serializers import ModelSerializer

    return set(dir(ModelSerializer))


def _compile(template: Any) -> Intake | None:
    if any(field.read_only and field.default is not empty for field in template.fields.values()):
        return None
    steps: list[tuple[str, str, Read, Absent]] = []
    keys: list[Key] = []
    uniques: list[tuple[str, ...]] = []
    model = template.Meta.model
    for field in template._writable_fields:
        column = _column(field, model)
        absent = _absent(field)
        if column is None or absent is None or not _take_uniques(field, column, uniques):
            return None
        if column.is_relation:
            read: Read | None = _key_reader(field, column)
            keys.append(Key(field.source, field, column))
        else:
            read = reader(field)
        if read is None:
            return None
        steps.append((field.field_name, field.source, read, absent))
    for validator in template.validators:
        sources = _together(validator, template, model)
        if sources is None:
            return None
        uniques.append(sources)
    moments = any(map(_holds_moments, template._writable_fields))
    return Intake(steps, frozenset(template.fields), keys, uniques, moments)


def _holds_moments(field: Any) -> bool:
    child = getattr(field, "child", None)
    return isinstance(field, drf.DateTimeField) or (child is not None and _holds_moments(child))


def _column(field: Any, model: Any) -> Any:
    """The column that a field writes; None if it is not one, or not in DRF's own way."""
    if len(field.source_attrs) != 1 or type(field).get_value not in _GETS_VALUE:
        return None
    try:
        column = model._meta.get_field(field.source)
    except FieldDoesNotExist:
        return None
    is_plain = getattr(column, "concrete", False) and column.name == field.source
    if not is_plain or column.many_to_many or column.is_relation != _is_key(field):
        return None
    return column


_GETS_VALUE = {
    drf.Field.get_value, drf.DictField.get_value, drf.ListField.get_value,
    drf.JSONField.get_value, drf.MultipleChoiceField.get_value, PrimaryKeyRelatedField.get_value,
}  # fmt: skip


def _is_key(field: Any) -> bool:
    return isinstance(field, PrimaryKeyRelatedField)


def _absent(field: Any) -> Absent | None:
    """What a field gives where its name is not in the data; None if that takes a request."""
    default = field.default
    if default is empty:
        return _refuse if field.required else _skip
    if not callable(default):
        # DRF copies a declared field, its default too, for each request.
        return lambda: copy.deepcopy(default)
    if getattr(default, "requires_context", False):
        return None
    made: Absent = default
    return made


def _refuse() -> Any:
    raise OffLaneError


def _skip() -> Any:
    return empty


# Uniqueness


def _take_uniques(field: Any, column: Any, uniques: list[tuple[str, ...]]) -> bool:
    """Take the validators that ask the database out of a template's field; False if there is one
    that no unique index stands for, or one that isn't a library's.
    """
    plain = []
    for validator in field.validators:
        if type(validator) is drf_validators.UniqueValidator:
            is_exact = validator.lookup == "exact" and is_whole(validator.queryset, column.model)
            if not is_exact or not _is_unique(column.model, (column.name,)):
                return False
            uniques.append((column.name,))
        elif not f"{type(validator).__module__}.".startswith(_OWN_VALIDATORS) or (
            getattr(validator, "requires_context", False)
        ):
            return False
        else:
            plain.append(validator)
    field.validators = plain
    return True


def _together(validator: Any, template: Any, model: Any) -> tuple[str, ...] | None:
    if (
        type(validator) is not drf_validators.UniqueTogetherValidator
        or validator.condition is not None
        or not is_whole(validator.queryset, model)
        or not all(name in template.fields for name in validator.fields)
    ):
        return None
    sources = tuple(template.fields[name].source for name in validator.fields)
    return sources if _is_unique(model, sources) else None


def _is_unique(model: Any, names: tuple[str, ...]) -> bool:
    """Whether a unique index says that no two rows hold the same in these columns."""
    options = model._meta
    if len(names) == 1:
        column = options.get_field(names[0])
        if column.unique:
            return True
    groups: list[Iterable[str]] = [*options.unique_together]
    groups += [one.fields for one in options.total_unique_constraints]
    return any(set(group) == set(names) for group in groups)


def is_whole(queryset: Any, model: Any) -> bool:
    """Whether a QuerySet (or what a manager gives) is all rows of `model`."""
    if hasattr(queryset, "get_queryset"):
        queryset = queryset.get_queryset()
    query = getattr(queryset, "query", None)
    if query is None or queryset.model is not model:
        return False
    narrows = query.where or query.annotations or query.is_sliced or query.combinator
    return not (narrows or query.extra or query.distinct or query.is_empty())


# Reading one value


def _key_reader(field: Any, column: Any) -> Read | None:
    """The key of a related row as `queryset.get(pk=…)` takes it, written as a number."""
    target = column.target_field
    own = type(field)
    if (
        not f"{own.__module__}.".startswith(_LIBRARIES)
        or field.pk_field is not None
        or field.validators
        or not target.primary_key
        or not isinstance(target, IntegerColumn)
        or not is_whole(field.queryset, column.related_model)
    ):
        return None
    low, high = connections["default"].ops.integer_field_range(target.get_internal_type())
    allows_null = field.allow_null

    def read(data: Any) -> Any:
        if type(data) is int and low <= data <= high:
            return data
        if data is None and allows_null:
            return None
        raise OffLaneError

    return read


def reader(field: Any) -> Read | None:
    """What a field makes of a value that was given; None if only DRF's own code knows."""
    if not f"{type(field).__module__}.".startswith(_LIBRARIES):
        return None
    for validator in field.validators:
        if not f"{type(validator).__module__}.".startswith(_OWN_VALIDATORS) or (
            getattr(validator, "requires_context", False)
        ):
            return None
    make = _READERS.get(type(field).to_internal_value)
    return None if make is None else make(field)


def _in_field(field: Any) -> Read:
    read: Read = field.run_validation
    return read


def _bounds(field: Any) -> tuple[float, float, list[Any]]:
    """The least and the most that plain validators allow, and the other validators."""
    low, high = -math.inf, math.inf
    others: list[Any] = []
    for validator in field.validators:
        limit: Any = getattr(validator, "limit_value", None)
        is_number = type(limit) is int or type(limit) is float
        if is_number and type(validator) is django_validators.MinValueValidator:
            low = max(low, limit)
        elif is_number and type(validator) is django_validators.MaxValueValidator:
            high = min(high, limit)
        else:
            others.append(validator)
    return low, high, others


def _integer(field: Any) -> Read:
    low, high, others = _bounds(field)
    slow = _in_field(field)

    def read(data: Any) -> Any:
        if type(data) is int and low <= data <= high:
            return data
        return slow(data)

    return slow if others else read


def _float(field: Any) -> Read:
    low, high, others = _bounds(field)
    low = max(low, -1.7e308)
    high = min(high, 1.7e308)
    slow = _in_field(field)

    def read(data: Any) -> Any:
        if (type(data) is float or type(data) is int) and low <= data <= high:
            return float(data)
        return slow(data)

    return slow if others else read


def _text(field: Any) -> Read:
    most, least, others = math.inf, 1, []
    for validator in field.validators:
        kind, limit = type(validator), getattr(validator, "limit_value", None)
        if kind is django_validators.MaxLengthValidator and type(limit) is int:
            most = min(most, limit)
        elif kind is django_validators.MinLengthValidator and type(limit) is int:
            least = max(least, limit)
        elif kind not in _ON_CHARACTERS:
            others.append(validator)
    slow = _in_field(field)
    trims = field.trim_whitespace

    def read(data: Any) -> Any:
        if type(data) is str and data.isascii() and "\x00" not in data:
            value = data.strip() if trims else data
            if least <= len(value) <= most:
                return value
        return slow(data)

    return slow if others else read


_ON_CHARACTERS = {
    django_validators.ProhibitNullCharactersValidator,
    drf_validators.ProhibitSurrogateCharactersValidator,
}


def _boolean(field: Any) -> Read:
    slow = _in_field(field)

    def read(data: Any) -> Any:
        return data if data is True or data is False else slow(data)

    return slow if field.validators else read


def _moment(field: Any) -> Read:
    """ISO 8601 with an offset, the usual case, without DRF's way through formats and time zones."""
    slow = _in_field(field)
    formats = getattr(field, "input_formats", api_settings.DATETIME_INPUT_FORMATS)
    is_plain = formats and formats[0].lower() == ISO_8601 and not hasattr(field, "timezone")
    if field.validators or not is_plain:
        return slow
    parse = datetime.datetime.fromisoformat

    def read(data: Any) -> Any:
        zone = _reading.zone
        if type(data) is str and zone is not None:
            try:
                value = parse(data)
            except ValueError:
                return slow(data)
            if value.tzinfo is not None:
                return value.astimezone(zone)
        return slow(data)

    return read


def _texts(field: Any) -> Read | None:
    """A dict whose values are read by the field's child."""
    child = reader(field.child)
    if child is None:
        return None
    slow, allows_empty = _in_field(field), field.allow_empty

    def read(data: Any) -> Any:
        if type(data) is dict and (data or allows_empty):
            return {str(key): child(value) for key, value in data.items()}
        return slow(data)

    return slow if field.validators else read


def _list(field: Any) -> Read | None:
    return None if reader(field.child) is None else _in_field(field)


_READERS: dict[Any, Callable[[Any], Read | None]] = {
    drf.BooleanField.to_internal_value: _boolean,
    drf.CharField.to_internal_value: _text,
    drf.DateTimeField.to_internal_value: _moment,
    drf.DictField.to_internal_value: _texts,
    drf.FloatField.to_internal_value: _float,
    drf.IntegerField.to_internal_value: _integer,
    drf.ListField.to_internal_value: _list,
    **dict.fromkeys(
        [
            drf.ChoiceField.to_internal_value, drf.DateField.to_internal_value,
            drf.DecimalField.to_internal_value, drf.DurationField.to_internal_value,
            drf.TimeField.to_internal_value, drf.UUIDField.to_internal_value,
            drf.IPAddressField.to_internal_value,
        ],
        _in_field,
    ),
}  # fmt: skip


def _know_own_fields() -> None:
    from app.rest import fields

    _READERS[fields.FloatField.to_internal_value] = _float
    _READERS[fields.JSONField.to_internal_value] = _in_field


_know_own_fields()

__all__ = [
    "Intake",
    "Key",
    "intake_of",
    "is_whole",
    "look_at_time_zone",
    "overrides_nothing",
    "reader",
]
