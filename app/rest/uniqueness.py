"""Uniqueness of a whole list: one query for each validator, whatever the number of items.

Before the items are validated, `Taken.find` reads from the payload which values the uniqueness
validators will ask about, and asks the database for all of them at once. While the items are
validated, `validators.acall` takes its answers from there. A value that is not known beforehand
(a hook changed it, the validator is a subclass, has a condition or another lookup than `exact`) is
asked about alone, as ever. `doubles` finds what two items of the same list would both take.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import Q
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.fields import SkipField, empty
from rest_framework.validators import UniqueTogetherValidator, UniqueValidator

from app.rest.breathing import Breather
from app.rest.prefetching import aload_related

Key = tuple[Hashable, ...]

GROUPS_A_QUERY = 64
"""How many alternatives one query of a validator over several fields holds."""

_taken: ContextVar["Taken | None"] = ContextVar("taken", default=None)


class Rule:
    """One uniqueness validator of a serializer that can be asked about many items at once."""

    def __init__(self, validator: Any, fields: list[Any]) -> None:
        self.validator = validator
        self.fields = fields
        self.sources = [field.source_attrs[-1] for field in fields]

    def key_of_input(self, item: Any, instance: Any) -> Key | None:
        """What the item will take, read from its input; None if it can't be told."""
        values = []
        for field in self.fields:
            try:
                primitive = field.get_value(item)
                if primitive is not empty and primitive is not None:
                    values.append(field.to_internal_value(primitive))
                elif primitive is empty and instance is not None:
                    values.append(_stored(instance, field.source_attrs[-1]))
                elif primitive is empty:
                    values.append(field.get_default())
                else:
                    return None
            except (ValidationError, DjangoValidationError, SkipField, TypeError, ValueError):
                return None
        return _key(values)

    def key_of_values(self, attrs: Mapping[str, Any], instance: Any) -> Key | None:
        """What the item takes, once it is validated."""
        return _key([
            attrs[source] if source in attrs else _stored(instance, source)
            for source in self.sources
        ])  # fmt: skip

    def queries(self, keys: set[Key]) -> Iterator[Q]:
        if len(self.sources) == 1:
            yield Q(**{f"{self.sources[0]}__in": [key[0] for key in keys]})
            return
        # Grouped by the field with the fewest values; what else is found is not asked about.
        rare = min(range(len(self.sources)), key=lambda place: len({key[place] for key in keys}))
        groups: dict[Hashable, list[Key]] = defaultdict(list)
        for key in keys:
            groups[key[rare]].append(key)
        alternatives = [self._group(rare, value, group) for value, group in groups.items()]
        for start in range(0, len(alternatives), GROUPS_A_QUERY):
            query = Q()
            for one in alternatives[start : start + GROUPS_A_QUERY]:
                query |= one
            yield query

    def _group(self, rare: int, value: Any, keys: list[Key]) -> Q:
        others = [place for place in range(len(self.sources)) if place != rare]
        return Q(
            **{self.sources[rare]: value},
            **{f"{self.sources[place]}__in": {key[place] for key in keys} for place in others},
        )

    async def owners_of(self, keys: set[Key]) -> dict[Key, set[Any]]:
        """The primary keys of the rows that hold each of `keys`."""
        owners: dict[Key, set[Any]] = {key: set() for key in keys}
        for query in self.queries(keys):
            rows = self.validator.queryset.filter(query).values_list("pk", *self.sources)
            async for pk, *values in rows:
                if (key := _key(values)) in owners:
                    owners[key].add(pk)
        return owners


def rules_of(serializer: Any) -> list[Rule]:
    """The validators of a serializer and of its fields that can be asked about many items."""
    fields = [field for field in serializer._writable_fields if hasattr(field, "validators")]
    rules = [
        Rule(validator, [field])
        for field in fields
        for validator in field.validators
        if type(validator) is UniqueValidator and validator.lookup == "exact"
    ]
    rules += [
        Rule(validator, [serializer.fields[name] for name in validator.fields])
        for validator in serializer.validators
        if type(validator) is UniqueTogetherValidator and validator.condition is None
    ]
    return rules


class Taken:
    """What of a payload is taken already, and by which rows."""

    def __init__(self, rules: list[Rule]) -> None:
        self.rules = {id(rule.validator): rule for rule in rules}
        self.owners: dict[int, dict[Key, set[Any]]] = {}

    @classmethod
    async def find(cls, child: Any, items: list[Any], instances: list[Any] | None) -> "Taken":
        """Ask the database about all items: one query for each rule that any of them touches."""
        found = cls(rules_of(child))
        breather = Breather()
        for name, rule in found.rules.items():
            if instances and len(rule.fields) > 1:
                for source in rule.sources:  # DRF compares new values with the instance's
                    await aload_related(instances, source)
            keys = set()
            for index, item in enumerate(items):
                if isinstance(item, Mapping):
                    instance = instances[index] if instances else None
                    key = rule.key_of_input(item, instance)
                    if key is not None:
                        keys.add(key)
                await breather.breathe()
            found.owners[name] = await rule.owners_of(keys) if keys else {}
        return found

    def answer(self, validator: Any, value: Any, field: Any) -> bool | None:
        """Whether another row has what `validator` is called with; None if that is not known."""
        rule = self.rules.get(id(validator))
        if rule is None:
            return None
        is_serializer = isinstance(validator, UniqueTogetherValidator)
        instance = field.instance if is_serializer else getattr(field.parent, "instance", None)
        key = rule.key_of_values(value, instance) if is_serializer else _key([value])
        owners = None if key is None else self.owners[id(validator)].get(key)
        if owners is None:
            return None
        return bool(owners - {getattr(instance, "pk", None)})

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Inside, `known` answers from here."""
        token = _taken.set(self)
        try:
            yield
        finally:
            _taken.reset(token)


def known(validator: Any, value: Any, field: Any) -> bool | None:
    """Whether what `validator` asks about is taken, if that was found for the list at hand."""
    taken = _taken.get()
    return None if taken is None else taken.answer(validator, value, field)


def doubles(
    rules: list[Rule], values: Mapping[int, Mapping[str, Any]], instances: list[Any] | None
) -> dict[int, dict[str, list[ErrorDetail]]]:
    """An error for each item that takes what an earlier item of the list takes."""
    errors: dict[int, dict[str, list[ErrorDetail]]] = defaultdict(dict)
    for rule in rules:
        first: dict[Key, int] = {}
        for index, attrs in values.items():
            if not any(source in attrs for source in rule.sources):
                continue
            key = rule.key_of_values(attrs, instances[index] if instances else None)
            if key is None or first.setdefault(key, index) == index:
                continue
            names = ", ".join(field.field_name for field in rule.fields)
            message = f"Item {first[key]} of this list has the same {names}. Give each its own."
            place = names if len(rule.fields) == 1 else "non_field_errors"
            errors[index].setdefault(place, []).append(ErrorDetail(message, code="unique"))
    return errors


def _stored(instance: Any, source: str) -> Any:
    """A column of the instance; a foreign key by its key, so that nothing is loaded."""
    if instance is None:
        return None
    field = next((f for f in instance._meta.concrete_fields if f.name == source), None)
    return getattr(instance, source if field is None else field.attname, None)


def _key(values: list[Any]) -> Key | None:
    """`values` as something to look up by; None if one is null or can't be."""
    key = tuple(getattr(value, "pk", value) for value in values)
    if any(value is None for value in key):
        return None  # null equals nothing
    try:
        hash(key)
    except TypeError:
        return None
    return key
