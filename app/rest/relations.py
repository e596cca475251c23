"""DRF's relational fields, looked up for a whole payload at once.

A field's `to_internal_value` computes a lookup and asks `get_queryset().get(...)` for it. Before a
serializer validates, `aresolve` walks its input and runs every relational field on a queryset that
only notes the question; then it asks the database once for each model, and hands the answers to the
fields. Any subclass that asks through `get_queryset().get(...)` is served so.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections
from django.db.models import IntegerField
from rest_framework.fields import empty
from rest_framework.relations import (
    Hyperlink,
    HyperlinkedIdentityField,
    HyperlinkedRelatedField,
    ManyRelatedField,
    PKOnlyObject,
    PrimaryKeyRelatedField,
    RelatedField,
    SlugRelatedField,
    StringRelatedField,
)
from rest_framework.serializers import BaseSerializer, ListSerializer, Serializer
from rest_framework.utils import html

from app.rest.breathing import Breather

__all__ = [
    "Hyperlink",
    "HyperlinkedIdentityField",
    "HyperlinkedRelatedField",
    "ManyRelatedField",
    "PKOnlyObject",
    "PrimaryKeyRelatedField",
    "RelatedField",
    "SlugRelatedField",
    "StringRelatedField",
    "aresolve",
]

_MAX_DEPTH = 32


class _Asked(Exception):  # noqa: N818 - not an error: it carries the question out of DRF's code
    def __init__(self, lookup: str, value: Any) -> None:
        self.lookup = lookup
        self.value = value


class _Target:
    """Stands for a field's queryset: notes what is asked of it, later answers from `answers`."""

    def __init__(self, queryset: Any) -> None:
        self.queryset = queryset
        self.model = queryset.model
        self.answers: dict[tuple[str, Any], list[Any]] | None = None

    def get(self, *args: Any, **kwargs: Any) -> Any:
        if args or len(kwargs) != 1:
            raise SynchronousOnlyOperation(
                "A relational field may look its object up by one keyword. For more, write "
                "`async def avalidate_<field>` on the serializer."
            )
        ((lookup, value),) = kwargs.items()
        value = self._prepare(lookup, value)
        if self.answers is None:
            raise _Asked(lookup, value)
        found = self.answers.get((lookup, value), [])
        if not found:
            raise self.model.DoesNotExist
        if len(found) > 1:
            raise self.model.MultipleObjectsReturned
        return found[0]

    def _prepare(self, lookup: str, value: Any) -> Any:
        """As the database would read it. Raises what Django's `get` raises for a wrong type."""
        field = _concrete_field(self.model, lookup)
        if field is not None:
            value = field.get_prep_value(value)
        try:
            hash(value)
        except TypeError:
            raise TypeError(f"{type(value).__name__} is not a key") from None
        return value

    def all(self) -> "_Target":
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.queryset, name)


def _concrete_field(model: Any, lookup: str) -> Any:
    name = model._meta.pk.name if lookup == "pk" else lookup
    field = next((f for f in model._meta.concrete_fields if name in (f.name, f.attname)), None)
    return field.target_field if field is not None and field.is_relation else field


async def aresolve(serializer: BaseSerializer, data: Any) -> list[RelatedField]:
    """Ask the database for every object that `data` names, one query for each model and key.

    The fields returned answer from memory until `release` is called with them.
    """
    targets: dict[RelatedField, tuple[_Target, set[tuple[str, Any]]]] = {}
    breather = Breather()
    for field, value in _walk(serializer, data, 0, {}):
        if field is not None:
            _note(field, value, targets)
        await breather.breathe()
    groups: dict[Any, list[tuple[_Target, set[tuple[str, Any]]]]] = {}
    for target, questions in targets.values():
        groups.setdefault(_group_key(target), []).append((target, questions))
    for group in groups.values():
        questions = set().union(*(questions for _, questions in group))
        answers = await _ask(group[0][0].queryset, questions)
        for target, _ in group:
            target.answers = answers
    return list(targets)


def release(fields: list[RelatedField]) -> None:
    """Give the fields their own querysets back."""
    for field in fields:
        del field.get_queryset


def _group_key(target: _Target) -> Any:
    query = target.queryset.query
    plain = not (query.where or query.annotations or query.is_sliced or query.select_related)
    return (target.model, type(target.queryset)) if plain else id(target)


def _note(field: Any, value: Any, targets: dict[Any, Any]) -> None:
    if field not in targets:
        queryset = field.get_queryset()
        if queryset is None:  # nothing to ask: the field's own words say so
            return
        target = _Target(queryset)
        field.get_queryset = lambda: target
        targets[field] = (target, set())
    try:
        field.to_internal_value(value)
    except _Asked as asked:
        targets[field][1].add((asked.lookup, asked.value))
    except Exception:  # noqa: BLE001, S110 - validation runs it again and reports it in its place
        pass


async def _ask(queryset: Any, questions: set[tuple[str, Any]]) -> dict[tuple[str, Any], list[Any]]:
    answers: dict[tuple[str, Any], list[Any]] = {}
    by_lookup: dict[str, list[Any]] = {}
    for lookup, value in questions:
        if is_storable(queryset.model, lookup, value):
            by_lookup.setdefault(lookup, []).append(value)
    for lookup, values in by_lookup.items():
        field = _concrete_field(queryset.model, lookup)
        if field is None:
            for value in values:
                answers[lookup, value] = [
                    obj async for obj in queryset.filter(**{lookup: value})[:2]
                ]
            continue
        name = "pk" if lookup == "pk" else lookup
        async for obj in queryset.filter(**{f"{name}__in": values}):
            key = field.get_prep_value(getattr(obj, _attname(queryset.model, lookup)))
            answers.setdefault((lookup, key), []).append(obj)
    return answers


async def find_related(queryset: Any, keys: set[Any]) -> dict[Any, Any]:
    """The objects with these primary keys, by them."""
    answers = await _ask(queryset, {("pk", key) for key in keys}) if keys else {}
    return {key: found[0] for (_, key), found in answers.items()}


def _attname(model: Any, lookup: str) -> str:
    name = model._meta.pk.name if lookup == "pk" else lookup
    field = next(f for f in model._meta.concrete_fields if name in (f.name, f.attname))
    return str(field.attname)


def is_storable(model: Any, lookup: str, value: Any) -> bool:
    """False for what no row can hold and the server would refuse to compare with."""
    if isinstance(value, str):
        return "\x00" not in value
    if isinstance(value, int):
        low, high = _range_of(model, lookup)
        return (low is None or value >= low) and (high is None or value <= high)
    return True


@lru_cache(maxsize=1024)
def _range_of(model: Any, lookup: str) -> tuple[int | None, int | None]:
    """The least and the greatest integer of a column; None where there is no bound."""
    field = _concrete_field(model, lookup)
    if not isinstance(field, IntegerField):
        return None, None
    low, high = connections["default"].ops.integer_field_range(field.get_internal_type())
    return low, high


def _walk(
    serializer: Any, data: Any, depth: int, known: dict[Any, list[Any]]
) -> Iterator[tuple[RelatedField | None, Any]]:
    """Every relational field below `serializer`, with each value that `data` gives it; None at the
    end of an item, for the caller to breathe. `known`: the fields of each serializer to look into.
    """
    if depth > _MAX_DEPTH:
        return
    if isinstance(serializer, ListSerializer):
        if html.is_html_input(data):
            data = html.parse_html_list(data, default=[])
        if not isinstance(data, list) or not _leads_on(serializer, data, known):
            return
        for item in data:
            yield from _walk(serializer.child, item, depth + 1, known)
            yield None, None
    elif isinstance(serializer, Serializer) and isinstance(data, Mapping):
        for field in _fields_of(serializer, known):
            yield from _walk_field(field, field.get_value(data), depth, known)


def _fields_of(serializer: Any, known: dict[Any, list[Any]]) -> list[Any]:
    """The writable fields that are relational, or serializers."""
    if serializer not in known:
        kinds = (RelatedField, ManyRelatedField, BaseSerializer)
        known[serializer] = [
            field for field in serializer._writable_fields if isinstance(field, kinds)
        ]
    return known[serializer]


def _leads_on(serializer: Any, data: list[Any], known: dict[Any, list[Any]]) -> bool:
    """Whether an item of this list can hold anything relational. Where none is an object, no field
    is made: DRF finds an ill-made class only when it has one to validate.
    """
    child = serializer.child
    if not isinstance(child, Serializer):
        return bool(data)
    return any(isinstance(item, Mapping) for item in data) and bool(_fields_of(child, known))


def _walk_field(
    field: Any, value: Any, depth: int, known: dict[Any, list[Any]]
) -> Iterator[tuple[RelatedField | None, Any]]:
    if value is empty or value is None:
        return
    if isinstance(field, BaseSerializer):
        yield from _walk(field, value, depth + 1, known)
    elif isinstance(field, ManyRelatedField):
        if not isinstance(value, str) and hasattr(value, "__iter__"):  # DRF takes a dict's keys
            for item in value:
                yield field.child_relation, item
    elif value != "":
        yield field, value
