"""Serializer fields of the domain: DRF's, with limits, and messages that say what to do."""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers as plain

from app.fleet import validation
from app.fleet.models import MAX_BYTES, MAX_CPUS
from app.fleet.policy import override_problems
from app.fleet.validation import MAX_AHEAD
from app.rest.fields import (
    CharField,
    DateTimeField,
    FloatField,
    IntegerField,
    JSONField,
    empty,
)
from app.rest.serializers import ValidationError


class CoresField(FloatField):
    """CPU cores, fractions included. Finite, and never a boolean."""

    default_error_messages = {
        "invalid": "Not a number of CPU cores. Write one such as 0.5 or 4.",
        "min_value": "Must be {min_value} or more.",
        "max_value": f"Must be at most {MAX_CPUS}.",
    }

    def __init__(self, *, min_value: float = 0, **kwargs: Any) -> None:
        super().__init__(min_value=min_value, max_value=MAX_CPUS, **kwargs)

    def to_internal_value(self, data: Any) -> float:
        try:
            value = float("nan" if isinstance(data, bool) else data)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not math.isfinite(value):
            self.fail("invalid")
        return value


class BytesField(IntegerField):
    """A size in bytes, a whole number."""

    default_error_messages = {
        "invalid": "Not a whole number of bytes. Write one such as 268435456 for 256 MiB.",
        "min_value": "Must be {min_value} bytes or more.",
        "max_value": f"Must be at most {MAX_BYTES} bytes.",
    }

    def __init__(self, *, min_value: int = 0, **kwargs: Any) -> None:
        super().__init__(min_value=min_value, max_value=MAX_BYTES, **kwargs)


class PastField(DateTimeField):
    """A moment that has been: at most a few minutes ahead of this server's clock."""

    default_error_messages = {
        "future": "This is {ahead} ahead of the server's clock. Set the clock of the sender (NTP).",
        "overflow": "Not a moment that can be stored. Write a year between 1 and 9999, in UTC.",
    }

    def to_internal_value(self, value: Any) -> datetime:
        moment: datetime = super().to_internal_value(value)
        try:
            ahead = moment - timezone.now()
            moment.astimezone(timezone.get_default_timezone())
        except (OverflowError, ValueError):
            self.fail("overflow")
        if ahead > MAX_AHEAD:
            self.fail("future", ahead=str(ahead).partition(".")[0])
        return moment


class ValueField(JSONField):
    """A JSON value. Left empty in a form, it is not given."""

    def get_value(self, dictionary: Any) -> Any:
        value = super().get_value(dictionary)
        is_blank = getattr(value, "is_json_string", False) and not value.strip()
        return empty if is_blank else value


class CheckedField(ValueField):
    """A JSON value that `problems` accepts."""

    def __init__(self, problems: Callable[[Any], list[str]], **kwargs: Any) -> None:
        self.problems = problems
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if found := self.problems(value):
            raise ValidationError(found)
        return value


class ConstantsField(ValueField):
    """The policy's constants by name, those that may be set; the list is replaced whole."""

    def to_internal_value(self, data: Any) -> dict[str, float]:
        value: dict[str, float] = super().to_internal_value(data)
        if problems := override_problems(value):
            raise ValidationError(problems)
        return value


class StructureField(ValueField):
    """A JSON value of a fixed structure, stated by a serializer; a list of them with `many`.

    The value is replaced whole, on PATCH too: a half-stated structure has no meaning.
    """

    def __init__(
        self,
        structure: type[plain.Serializer],
        *,
        many: bool = False,
        maximum: int = 64,
        **kwargs: Any,
    ) -> None:
        self.structure = structure
        self.many = many
        self.maximum = maximum
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if value is None and self.allow_null:
            return None  # "null", written into a form
        if self.many and isinstance(value, list) and len(value) > self.maximum:
            raise ValidationError(f"At most {self.maximum} items; got {len(value)}.")
        serializer = self.structure(data=value, many=self.many)
        serializer.is_valid(raise_exception=True)
        if self.many:
            return [dict(item) for item in serializer.validated_data]
        return dict(serializer.validated_data)


class Structure(plain.Serializer):
    """A part of a JSON value. Only computes: it never asks the database."""

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if unknown := set(data) - set(self.fields):
            known = ", ".join(self.fields)
            raise ValidationError(
                {name: [f"Unknown field. Remove it; known are: {known}."] for name in unknown}
            )
        return value


class ImageReferenceField(CharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=512, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        value: str = super().to_internal_value(data)
        if found := validation.image_problems(value):
            raise ValidationError(found)
        return value


class NameField(CharField):
    def to_internal_value(self, data: Any) -> str:
        value: str = super().to_internal_value(data)
        if found := validation.name_problems(value):
            raise ValidationError(found)
        return value
