"""A QuerySet's WHERE as a function of an instance: does this object belong to the list?

    matches = predicate_of(Container.objects.filter(host_id=3, state__in=["running"]))
    matches(container)

As SQL has it, a comparison with NULL is neither true nor false, and what isn't true is left out.
Only comparisons of the model's own columns with values can be made without asking the database;
`predicate_of` raises `UnknowableError` for any other.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.db.models import lookups
from django.db.models.expressions import Col
from django.db.models.fields import json as json_lookups
from django.db.models.fields.related_lookups import RelatedExact, RelatedIn
from django.db.models.sql.where import AND, OR, NothingNode, WhereNode

Known = bool | None
"""True, false, or SQL's NULL."""
Test = Callable[[Any], Known]
Predicate = Callable[[Any], bool]


class UnknowableError(Exception):
    """A condition that only the database can answer; the message names it."""


def predicate_of(queryset: Any) -> Predicate | None:
    """None when every object belongs. Raises UnknowableError."""
    query = queryset.query
    if query.is_sliced or query.distinct_fields or query.combinator or query.extra:
        raise UnknowableError("a part of it")
    if not query.where.children:
        return None
    test = _of_node(query.where, query.get_initial_alias())
    return lambda instance: test(instance) is True


def _of_node(node: Any, alias: str) -> Test:
    if isinstance(node, NothingNode):
        return lambda _: False
    if not isinstance(node, WhereNode):
        return _of_lookup(node, alias)
    tests = [_of_node(child, alias) for child in node.children]
    if node.connector not in (AND, OR):
        raise UnknowableError(f"a condition joined by {node.connector}")
    joined = _all(tests) if node.connector == AND else _any(tests)
    return _not(joined) if node.negated else joined


def _all(tests: Sequence[Test]) -> Test:
    def test(instance: Any) -> Known:
        answer: Known = True
        for one in tests:
            known = one(instance)
            if known is False:
                return False
            if known is None:
                answer = None
        return answer

    return tests[0] if len(tests) == 1 else test


def _any(tests: Sequence[Test]) -> Test:
    def test(instance: Any) -> Known:
        answer: Known = False
        for one in tests:
            known = one(instance)
            if known is True:
                return True
            if known is None:
                answer = None
        return answer

    return tests[0] if len(tests) == 1 else test


def _not(test: Test) -> Test:
    def negated(instance: Any) -> Known:
        known = test(instance)
        return None if known is None else not known

    return negated


def _of_lookup(lookup: Any, alias: str) -> Test:
    compare = _COMPARISONS.get(type(lookup))
    column, value = getattr(lookup, "lhs", None), getattr(lookup, "rhs", None)
    if compare is None or not isinstance(column, Col) or column.alias != alias:
        raise UnknowableError(_name_of(lookup))
    if not _is_plain(value):
        raise UnknowableError(_name_of(lookup))
    name = column.target.attname
    if isinstance(lookup, lookups.IsNull):
        return lambda instance: (getattr(instance, name) is None) is bool(value)

    def test(instance: Any) -> Known:
        stored = getattr(instance, name)
        return None if stored is None else compare(stored, value)

    return test


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple | set):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float | bool | datetime | dict | None)


def _name_of(lookup: Any) -> str:
    column = getattr(lookup, "lhs", None)
    field = getattr(column, "target", None)
    return field.name if field is not None else type(lookup).__name__


def _upper(text: str) -> str:
    """As PostgreSQL's upper(): a character stays one."""
    return "".join(one if len(one.upper()) != 1 else one.upper() for one in text)


def _holds(stored: Any, asked: Any) -> bool:
    """jsonb's `@>`."""
    if isinstance(asked, dict):
        return isinstance(stored, dict) and all(
            key in stored and _holds(stored[key], value) for key, value in asked.items()
        )
    if isinstance(asked, list):
        return isinstance(stored, list) and all(
            any(_holds(one, value) for one in stored) for value in asked
        )
    return bool(stored == asked and isinstance(stored, bool) == isinstance(asked, bool))


_COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    lookups.Exact: lambda stored, value: bool(stored == value),
    RelatedExact: lambda stored, value: bool(stored == value),
    lookups.In: lambda stored, value: stored in value,
    RelatedIn: lambda stored, value: stored in value,
    lookups.GreaterThan: lambda stored, value: bool(stored > value),
    lookups.GreaterThanOrEqual: lambda stored, value: bool(stored >= value),
    lookups.LessThan: lambda stored, value: bool(stored < value),
    lookups.LessThanOrEqual: lambda stored, value: bool(stored <= value),
    lookups.IContains: lambda stored, value: _upper(str(value)) in _upper(str(stored)),
    lookups.Contains: lambda stored, value: str(value) in str(stored),
    lookups.IExact: lambda stored, value: _upper(str(value)) == _upper(str(stored)),
    lookups.IsNull: lambda stored, value: False,  # answered above: NULL is what it asks for
    json_lookups.DataContains: _holds,
    json_lookups.HasKey: lambda stored, value: isinstance(stored, dict) and str(value) in stored,
}
# Of whole numbers Django has lookups of its own, which compare likewise.
for _kind, _plain in (
    (lookups.IntegerFieldExact, lookups.Exact),
    (lookups.IntegerGreaterThan, lookups.GreaterThan),
    (lookups.IntegerGreaterThanOrEqual, lookups.GreaterThanOrEqual),
    (lookups.IntegerLessThan, lookups.LessThan),
    (lookups.IntegerLessThanOrEqual, lookups.LessThanOrEqual),
):
    _COMPARISONS[_kind] = _COMPARISONS[_plain]
