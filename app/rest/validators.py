"""DRF's validators; those that ask the database ask it asynchronously, with one EXISTS each.

A uniqueness validator of DRF's computes a queryset and asks `exists()` of it. `acall` runs it
twice: first on a queryset that stops it at the question, then, if the awaited answer is yes, on one
that answers so, which makes the validator raise its own error. DRF's rules and messages are thereby
DRF's.
"""

import copy
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.db.models import F, Q, Value
from rest_framework.fields import Field
from rest_framework.validators import (
    BaseUniqueForValidator,
    ProhibitSurrogateCharactersValidator,
    UniqueForDateValidator,
    UniqueForMonthValidator,
    UniqueForYearValidator,
    UniqueTogetherValidator,
    UniqueValidator,
)

from app.rest.prefetching import aload_related
from app.rest.uniqueness import known

__all__ = [
    "ProhibitSurrogateCharactersValidator",
    "UniqueForDateValidator",
    "UniqueForMonthValidator",
    "UniqueForYearValidator",
    "UniqueTogetherValidator",
    "UniqueValidator",
    "acall",
    "waits",
]

_UNIQUENESS = (UniqueValidator, UniqueTogetherValidator, BaseUniqueForValidator)


class _Asked(Exception):  # noqa: N818 - not an error: it carries the question out of DRF's code
    def __init__(self, queryset: Any) -> None:
        self.queryset = queryset


class _Question:
    """A queryset that raises `_Asked` when asked `exists()`, or answers what it was told."""

    def __init__(self, queryset: Any, answer: bool | None = None) -> None:
        self.queryset = queryset
        self.answer = answer

    def filter(self, *args: Any, **kwargs: Any) -> "_Question":
        return _Question(self.queryset.filter(*args, **kwargs), self.answer)

    def exclude(self, *args: Any, **kwargs: Any) -> "_Question":
        return _Question(self.queryset.exclude(*args, **kwargs), self.answer)

    def none(self) -> "_Question":
        return _Question(self.queryset.none(), self.answer)

    def exists(self) -> bool:
        if self.answer is None:
            raise _Asked(self.queryset)
        return self.answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.queryset, name)


def waits(validator: Callable[..., Any]) -> bool:
    """Whether the validator must be awaited: it asks the database, or is a coroutine."""
    if type(validator).__module__ == "django.core.validators":
        return False
    return (
        isinstance(validator, _UNIQUENESS)
        or iscoroutinefunction(validator)
        or iscoroutinefunction(getattr(validator, "__call__", None))  # noqa: B004 - of its class
    )


async def acall(validator: Any, value: Any, field: Field) -> None:
    """Call a validator that `waits`. Raises what it raises."""
    if not isinstance(validator, _UNIQUENESS):
        context = (field,) if getattr(validator, "requires_context", False) else ()
        await validator(value, *context)
        return
    if isinstance(validator, UniqueTogetherValidator):
        await _load_compared(validator, field)
    is_taken = known(validator, value, field)
    if is_taken is False and type(validator) is UniqueValidator and field.parent.instance is None:
        return  # what it would do, in fewer steps
    if is_taken is not None:
        _answered(validator, is_taken=is_taken)(value, field)
        return
    if getattr(validator, "condition", None) is not None:
        validator = _narrow(validator, value, field)
    try:
        _probe(validator, None)(value, field)
    except _Asked as asked:
        if not _holds_nul(value) and await asked.queryset.aexists():
            _probe(validator, answer=True)(value, field)


def _holds_nul(value: Any) -> bool:
    """Whether no row can hold it: the question would be an error, and end a transaction."""
    values = value.values() if isinstance(value, dict) else (value,)
    return any(isinstance(one, str) and "\x00" in one for one in values)


def _probe(validator: Any, answer: bool | None) -> Any:
    probe = copy.copy(validator)
    probe.queryset = _Question(validator.queryset, answer)
    return probe


class _Answer:
    """In place of a queryset whose rows are known already: `exists()`, whatever it is narrowed by.

    Building a queryset costs more than all else that a validator does.
    """

    def __init__(self, *, is_taken: bool) -> None:
        self.is_taken = is_taken

    def filter(self, *_: Any, **__: Any) -> "_Answer":
        return self

    exclude = none = filter  # noqa: A003 - the method above

    def exists(self) -> bool:
        return self.is_taken


def _answered(validator: Any, *, is_taken: bool) -> Any:
    answered = copy.copy(validator)
    answered.queryset = _Answer(is_taken=is_taken)
    if isinstance(validator, UniqueTogetherValidator):
        answered.condition = None  # part of what is known
    return answered


async def _load_compared(validator: UniqueTogetherValidator, serializer: Any) -> None:
    """DRF compares new values with the instance's; its foreign keys must be at hand for that."""
    if hasattr(serializer.instance, "_meta"):
        for name in (*validator.fields, *validator.condition_fields):
            await aload_related([serializer.instance], serializer.fields[name].source)


def _narrow(validator: Any, attrs: Any, serializer: Any) -> Any:
    """The same validator without its condition, on a queryset narrowed by it.

    The condition must hold for stored rows and for the values at hand; the latter are written into
    the query as annotations, so that the database evaluates both.
    """
    sources = [serializer.fields[name].source for name in validator.condition_fields]
    values = {
        source: attrs[source] if source in attrs else getattr(serializer.instance, source, None)
        for source in sources
    }
    meta = validator.queryset.model._meta
    constants = {
        f"given_{source}": Value(
            getattr(value, "pk", value), output_field=_value_field(meta.get_field(source))
        )
        for source, value in values.items()
    }
    narrowed = copy.copy(validator)
    narrowed.queryset = (
        validator.queryset.filter(validator.condition)
        .annotate(**constants)
        .filter(_rename(validator.condition, set(values)))
    )
    narrowed.condition = None
    return narrowed


def _value_field(field: Any) -> Any:
    return field.target_field if field.is_relation else field


def _rename(condition: Any, names: set[str]) -> Any:
    """`condition`, with each of `names` replaced by the annotation that holds its given value."""
    if isinstance(condition, tuple):
        head, *rest = condition[0].split("__")
        lookup = "__".join([f"given_{head}" if head in names else head, *rest])
        return (lookup, condition[1])
    if isinstance(condition, Q):
        renamed = Q(*[_rename(child, names) for child in condition.children])
        renamed.connector, renamed.negated = condition.connector, condition.negated
        return renamed
    return condition.replace_expressions({F(name): F(f"given_{name}") for name in names})
