"""Uniqueness of a whole list: one query for each validator, whatever the number of items.

Before the items are validated, `Taken.find` reads from the payload which values the uniqueness
validators will ask about, also those of nested serializers, and asks the database for all of them
at once. While the items are validated, `validators.acall` takes its answers from there. A value
that is not known beforehand (a hook changed it, the validator is a subclass or has another lookup
than `exact`) is asked about alone, as ever. `doubles` finds what two items of the same list would
both take; only `app.rest.bulk` asks for that.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from rest_framework import serializers as drf
from rest_framework.exceptions import ErrorDetail
from rest_framework.utils import html

from app.rest.breathing import Breather
from app.rest.prefetching import aload_related
from app.rest.unique_rules import Key, Rule, rules_of

Question = tuple[int, int]
"""A validator and what it is called with, by their identity: two fields may share a validator."""

_taken: ContextVar["Taken | None"] = ContextVar("taken", default=None)


class _Plan:
    """The rules of one serializer, and of those nested in it. `seen`: all of these."""

    def __init__(self, serializer: Any, seen: set[int]) -> None:
        seen.add(id(serializer))
        self.rules: list[Rule] = []
        self.nested: list[tuple[Any, _Plan]] = []
        if not isinstance(serializer, drf.Serializer):
            return
        self.rules = rules_of(serializer)
        for field in serializer._writable_fields:
            child = field.child if isinstance(field, drf.ListSerializer) else field
            if isinstance(child, drf.Serializer) and (plan := _Plan(child, seen)):
                self.nested.append((field, plan))

    def __bool__(self) -> bool:
        return bool(self.rules or self.nested)

    def all_rules(self) -> Iterator[Rule]:
        yield from self.rules
        for _, plan in self.nested:
            yield from plan.all_rules()

    def items(self, item: Any) -> Iterator[tuple["_Plan", Any]]:
        """An item, and those in it, each with its plan."""
        if not isinstance(item, Mapping):
            return
        yield self, item
        for field, plan in self.nested:
            inner = _value(field, item)
            if not isinstance(field, drf.ListSerializer):
                yield from plan.items(inner)
                continue
            if html.is_html_input(inner):
                inner = html.parse_html_list(inner, default=[])
            for one in inner if isinstance(inner, list) else ():
                yield from plan.items(one)


def _value(field: Any, item: Any) -> Any:
    try:
        return field.get_value(item)
    except Exception:  # noqa: BLE001 - validation runs it again and reports it in its place
        return None


class Taken:
    """What of a payload is taken already, and by which rows."""

    def __init__(self, plan: _Plan, seen: set[int]) -> None:
        self.seen = seen
        self.rules: dict[Question, Rule] = {
            (id(rule.validator), id(rule.asked_of)): rule for rule in plan.all_rules()
        }
        self.owners: dict[Question, dict[Key, set[Any]]] = {}

    @classmethod
    async def find(cls, child: Any, items: list[Any], instances: list[Any] | None) -> "Taken":
        """Ask the database about all items: one query for each rule that any of them touches."""
        if not any(isinstance(item, Mapping) for item in items):  # DRF looks at no field either
            return cls(_Plan(None, set()), set())
        known = _taken.get()
        if known is not None and id(child) in known.seen:  # a list in a list
            return known
        seen: set[int] = set()
        plan = _Plan(child, seen)
        found = cls(plan, seen)
        if not plan:
            return found
        if instances:
            await _load_compared(plan.rules, instances)
        keys = await _keys(plan, items, instances)
        for question, rule in found.rules.items():
            if id(rule) in keys and (owners := await rule.owners_of(keys[id(rule)])) is not None:
                found.owners[question] = owners
        return found

    def answer(self, validator: Any, value: Any, field: Any) -> bool | None:
        """Whether another row has what `validator` is called with; None if that is not known."""
        question = (id(validator), id(field))
        owners_by_key = self.owners.get(question)
        if owners_by_key is None:
            return None
        rule = self.rules[question]
        if isinstance(field, drf.BaseSerializer) and isinstance(value, Mapping):
            instance = field.instance
            key = rule.key_of_values(value, instance)
        else:
            instance = getattr(field.parent, "instance", None)
            key = rule.key_of_value(value)
        owners = None if key is None else owners_by_key.get(key)
        if owners is None:
            return None
        is_taken = bool(owners - {getattr(instance, "pk", None)})
        # Whether the condition holds for the values at hand, the database has to say.
        return None if is_taken and rule.condition is not None else is_taken

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Inside, `known` answers from here."""
        token = _taken.set(self)
        try:
            yield
        finally:
            _taken.reset(token)


async def _load_compared(rules: list[Rule], instances: list[Any]) -> None:
    """DRF compares new values with the instances'; their foreign keys must be at hand for that."""
    for rule in rules:
        for source in rule.sources if len(rule.fields) > 1 else ():
            await aload_related(instances, source)


async def _keys(plan: _Plan, items: list[Any], instances: list[Any] | None) -> dict[int, set[Key]]:
    """What the items will take, by the identity of each rule that they touch."""
    keys: dict[int, set[Key]] = defaultdict(set)
    breather = Breather()
    for index, item in enumerate(items):
        for its, inner in plan.items(item):
            instance = instances[index] if instances and its is plan else None
            for rule in its.rules:
                if (key := rule.key_of_input(inner, instance)) is not None:
                    keys[id(rule)].add(key)
        await breather.breathe()
    return keys


def known(validator: Any, value: Any, field: Any) -> bool | None:
    """Whether what `validator` asks about is taken, if that was found for the list at hand."""
    taken = _taken.get()
    return None if taken is None else taken.answer(validator, value, field)


async def doubles(
    serializer: Any, values: Mapping[int, Mapping[str, Any]], instances: list[Any] | None
) -> dict[int, dict[str, list[ErrorDetail]]]:
    """An error for each item that takes what an earlier item of the list takes."""
    errors: dict[int, dict[str, list[ErrorDetail]]] = defaultdict(dict)
    breather = Breather()
    for rule in rules_of(serializer):
        if rule.parts or rule.condition is not None:
            continue
        first: dict[Key, int] = {}
        for index, attrs in values.items():
            await breather.breathe()
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
