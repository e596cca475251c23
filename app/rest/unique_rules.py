"""Uniqueness validators that can be asked about many items with one query.

    (columns) IN (SELECT * FROM UNNEST(values of each column))

Theory of operation. A validator of DRF's asks whether a row has some values. A `Rule` says which
columns these are and reads the values, the key, off an item's input or off what it became. One
query finds the rows that have any of the keys; that they have the same as the item is seen here, by
Python's `==`. So only columns of Django's own are taken, for which both mean the same; what a rule
can't tell beforehand (a default that someone else's code makes, a value that no column holds) it
says nothing about.
"""

import re
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from django.core.exceptions import FieldError, ValidationError
from django.db import DataError, connections, models
from django.db.models.functions import ExtractDay, ExtractMonth, ExtractYear
from rest_framework import serializers as drf
from rest_framework.fields import empty
from rest_framework.validators import (
    UniqueForDateValidator,
    UniqueForMonthValidator,
    UniqueForYearValidator,
    UniqueTogetherValidator,
    UniqueValidator,
)

from app.rest.breathing import Breather
from app.rest.relations import is_storable

Key = tuple[Hashable, ...]

MOST_KEYS = 5000
"""Of one query; more are asked about by several."""

_DATE_PARTS: dict[Any, tuple[str, ...]] = {
    UniqueForDateValidator: ("year", "month", "day"),
    UniqueForMonthValidator: ("month",),
    UniqueForYearValidator: ("year",),
}
_EXTRACTS = {"year": ExtractYear, "month": ExtractMonth, "day": ExtractDay}
_KINDS = (
    models.BooleanField, models.CharField, models.DateField, models.DecimalField,
    models.FloatField, models.IntegerField, models.TextField, models.TimeField, models.UUIDField,
)  # fmt: skip


class Rule:
    """One validator. `asked_of`: the field or the serializer that it is called with; `fields`:
    whose values make the key. Raises LookupError if the validator can't be asked beforehand.
    """

    def __init__(self, validator: Any, asked_of: Any, fields: list[Any]) -> None:
        self.validator, self.asked_of, self.fields = validator, asked_of, fields
        self.parts = _DATE_PARTS.get(type(validator), ())
        self.sources = [field.source_attrs[-1] for field in fields]
        self.queryset = validator.queryset.all()
        self.columns = [_column(self.queryset, source) for source in self.sources]
        self.condition = getattr(validator, "condition", None)
        if asked_of is not fields[0] and any(len(field.source_attrs) > 1 for field in fields):
            raise LookupError
        if any(isinstance(field, drf.FileField) for field in fields):
            raise LookupError

    def key_of_input(self, item: Any, instance: Any) -> Key | None:
        """What the item will take, read from its input; None if it can't be told."""
        try:
            values = [self._value_of_input(field, item, instance) for field in self.fields]
        except Exception:  # noqa: BLE001 - validation runs it again and reports it in its place
            return None
        key = self._key(values)
        return key if key is not None and self._is_storable(key) else None

    def _value_of_input(self, field: Any, item: Any, instance: Any) -> Any:
        primitive = empty if field.read_only else field.get_value(item)
        if primitive is not empty and primitive is not None:
            return field.to_internal_value(primitive)
        if primitive is empty and instance is not None:
            return _stored(instance, field.source_attrs[-1])
        if primitive is empty and _is_told(field.default):
            return field.get_default()
        return None

    def key_of_values(self, attrs: Mapping[str, Any], instance: Any) -> Key | None:
        """What the item takes, once it is validated."""
        return self._key([
            attrs[source] if source in attrs else _stored(instance, source)
            for source in self.sources
        ])  # fmt: skip

    def key_of_value(self, value: Any) -> Key | None:
        """What the item takes, if the validator is that of one field."""
        return self._key([value])

    def _key(self, values: list[Any]) -> Key | None:
        columns = self.columns
        parts: list[Any] = []
        if self.parts:
            columns = columns[:1]
            parts = [getattr(values[1], part, None) for part in self.parts]
        try:
            prepared = [
                _target(column).get_prep_value(getattr(value, "pk", value))
                for column, value in zip(columns, values, strict=False)
            ]
        except (TypeError, ValueError, ValidationError):
            return None
        return as_key([*prepared, *parts])

    def _is_storable(self, key: Key) -> bool:
        named = zip(self.sources[:1] if self.parts else self.sources, key, strict=False)
        return all(
            is_storable(self.queryset.model, source, value)
            and not (isinstance(value, str) and _has_surrogates(value))
            for source, value in named
        )

    async def owners_of(self, keys: set[Key]) -> dict[Key, set[Any]] | None:
        """The primary keys of the rows that hold each of `keys`; None if that can't be asked."""
        owners: dict[Key, set[Any]] = {key: set() for key in keys}
        rest, breather = list(keys), Breather()
        try:
            while rest:
                rows = self._rows(rest[:MOST_KEYS])
                del rest[:MOST_KEYS]
                async for pk, *values in rows:
                    if (key := as_key(values)) in owners:
                        owners[key].add(pk)
                    await breather.breathe()
        except (TypeError, ValueError, DataError, FieldError):
            return None
        return owners

    def _rows(self, keys: list[Key]) -> Any:
        columns, names = self.columns, self.sources
        expressions: list[Any] = [models.F(name) for name in names]
        if self.parts:
            columns, extracts = columns[:1], [_EXTRACTS[part](names[1]) for part in self.parts]
            expressions = [*expressions[:1], *extracts]
        rows = self.queryset.filter(Among(expressions, columns, keys))
        if self.condition is not None:
            rows = rows.filter(self.condition)
        return rows.values_list("pk", *expressions)


class Among(models.Func):
    """Whether a row has one of `keys` in these expressions. `columns`: the models' fields of the
    first of them; the others are parts of a date, which are integers.
    """

    output_field = models.BooleanField()

    def __init__(self, expressions: list[Any], columns: list[Any], keys: list[Key]) -> None:
        super().__init__(*expressions)
        self.columns, self.keys = columns, keys

    def as_sql(  # type: ignore[override]  # it has no template to be told of
        self, compiler: Any, connection: Any
    ) -> tuple[str, list[Any]]:
        sides, params = [], []
        for expression in self.source_expressions:
            sql, its = compiler.compile(expression)
            sides.append(sql)
            params += its
        kinds = [_kind(column, connection) for column in self.columns]
        kinds += ["integer"] * (len(sides) - len(kinds))
        arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
        params += [list(values) for values in zip(*self.keys, strict=True)]
        return f"({', '.join(sides)}) IN (SELECT * FROM UNNEST({arrays}))", params  # noqa: S608


def _kind(column: Any, connection: Any) -> str:
    """The type of a column's values, without its length: a cast would cut them off."""
    return re.sub(r"\(.*\)", "", _target(column).cast_db_type(connection))


def _target(column: Any) -> Any:
    """What a foreign key points at in the end; else the column."""
    while column.is_relation:
        column = column.target_field
    return column


def _column(queryset: Any, source: str) -> Any:
    """The model's field; LookupError if it may compare in another way than Python does."""
    column = next((f for f in queryset.model._meta.concrete_fields if f.name == source), None)
    if column is None:
        raise LookupError
    target = _target(column)
    if (
        not isinstance(target, _KINDS)
        or (column.is_relation and not target.primary_key)
        or not type(target).__module__.startswith("django.db.models.")
        or getattr(target, "db_collation", None)
        or connections[queryset.db].vendor != "postgresql"
    ):
        raise LookupError
    return column


def rules_of(serializer: Any) -> list[Rule]:
    """The validators of a serializer and of its fields that can be asked about many items."""
    rules = []
    for validator, asked_of, names in _validators(serializer):
        try:
            fields = [serializer.fields[name] for name in names] or [asked_of]
            rules.append(Rule(validator, asked_of, fields))
        except (LookupError, TypeError, AttributeError):  # an ill-made one: DRF says so, if asked
            continue
    return rules


def _validators(serializer: Any) -> Iterator[tuple[Any, Any, list[str]]]:
    """Each validator, what it is called with, and the names of the fields of a serializer's."""
    for field in serializer._writable_fields:
        for validator in getattr(field, "validators", ()):
            if type(validator) is UniqueValidator and validator.lookup == "exact":
                yield validator, field, []
    for validator in serializer.validators:
        if type(validator) is UniqueTogetherValidator:
            yield validator, serializer, list(validator.fields)
        elif type(validator) in _DATE_PARTS:
            yield validator, serializer, [validator.field, validator.date_field]


def _is_told(default: Any) -> bool:
    """Whether a default may be asked for once more than DRF does."""
    default = getattr(default, "default", default) if _is_drfs(default) else default
    return not callable(default) or _is_drfs(default)


def _is_drfs(default: Any) -> bool:
    return type(default).__module__ == "rest_framework.fields"


def _stored(instance: Any, source: str) -> Any:
    """A column of the instance; a foreign key by its key, so that nothing is loaded."""
    if instance is None:
        return None
    field = next((f for f in instance._meta.concrete_fields if f.name == source), None)
    return getattr(instance, source if field is None else field.attname, None)


def _has_surrogates(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def as_key(values: list[Any]) -> Key | None:
    """`values` as something to look up by; None if one is null or can't be."""
    key = tuple(values)
    if any(value is None for value in key):
        return None  # null equals nothing
    try:
        hash(key)
    except TypeError:
        return None
    return key


__all__ = ["Key", "Rule", "as_key", "rules_of"]
