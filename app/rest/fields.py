"""DRF's fields. They only compute, so serializers call them in place.

Three differ from DRF: SerializerMethodField takes an `async def` method too; FloatField and
JSONField refuse what JSON or PostgreSQL could not give back (NaN, infinities, U+0000, lone
surrogates).
"""

import math
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from rest_framework import fields as drf
from rest_framework.fields import (
    BigIntegerField,
    BooleanField,
    CharField,
    ChoiceField,
    CreateOnlyDefault,
    CurrentUserDefault,
    DateField,
    DateTimeField,
    DecimalField,
    DictField,
    DurationField,
    EmailField,
    Field,
    FileField,
    FilePathField,
    HiddenField,
    HStoreField,
    IntegerField,
    IPAddressField,
    ListField,
    ModelField,
    MultipleChoiceField,
    ReadOnlyField,
    RegexField,
    SkipField,
    SlugField,
    TimeField,
    URLField,
    UUIDField,
    empty,
)

__all__ = [
    "BigIntegerField",
    "BooleanField",
    "CharField",
    "ChoiceField",
    "CreateOnlyDefault",
    "CurrentUserDefault",
    "DateField",
    "DateTimeField",
    "DecimalField",
    "DictField",
    "DurationField",
    "EmailField",
    "Field",
    "FileField",
    "FilePathField",
    "FloatField",
    "HStoreField",
    "HiddenField",
    "IPAddressField",
    "ImageField",
    "IntegerField",
    "JSONField",
    "ListField",
    "ModelField",
    "MultipleChoiceField",
    "ReadOnlyField",
    "RegexField",
    "SerializerMethodField",
    "SkipField",
    "SlugField",
    "TimeField",
    "URLField",
    "UUIDField",
    "empty",
]


class FloatField(drf.FloatField):
    """As DRF's, for finite numbers only: JSON has no NaN and no infinity."""

    def to_internal_value(self, data: Any) -> float:
        try:
            value: float = super().to_internal_value(data)
        except OverflowError:
            self.fail("invalid")
        if not math.isfinite(value):
            self.fail("invalid")
        return value


class JSONField(drf.JSONField):
    """As DRF's, without the characters that jsonb cannot hold."""

    default_error_messages = {
        "characters": "Text may hold neither U+0000 nor a lone surrogate.",
        "depth": "The value is nested too deeply.",
    }

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        try:
            fits = _is_storable(value)
        except RecursionError:
            self.fail("depth")
        if not fits:
            self.fail("characters")
        return value


def _is_storable(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, dict):
        return all(_is_storable(key) and _is_storable(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_storable, value))
    return not isinstance(value, float) or math.isfinite(value)


class ImageField(drf.ImageField):
    """As DRF's; says what is missing where Pillow is not installed."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return super().to_internal_value(data)
        except ModuleNotFoundError as error:
            if error.name != "PIL":
                raise
            raise ImproperlyConfigured(
                f"The image field `{self.field_name}` needs Pillow: pip install pillow"
            ) from error


class SerializerMethodField(drf.SerializerMethodField):
    """As DRF's; the method may be `async def`."""

    @property
    def awaits(self) -> bool:
        return iscoroutinefunction(getattr(self.parent, self.method_name, None))

    def to_representation(self, value: Any) -> Any:
        if self.awaits:
            raise SynchronousOnlyOperation(
                f"{self.method_name} is a coroutine. Read `await serializer.adata`."
            )
        return super().to_representation(value)

    async def ato_representation(self, value: Any) -> Any:
        result = getattr(self.parent, self.method_name)(value)
        return await result if self.awaits else result
