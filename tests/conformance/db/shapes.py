"""What a result is, as something that two runs can be compared by: every value with its type."""

from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager


def shape(value, depth=0):  # noqa: PLR0911 - a table
    """Nested tuples of types and values; an instance is its class, columns, caches and state."""
    if depth > 12:
        return "…"
    if isinstance(value, Model):
        return instance_shape(value, depth)
    if isinstance(value, QuerySet | BaseManager):
        return "queryset", [shape(item, depth + 1) for item in value._result_cache or []]
    if isinstance(value, dict):
        return type(value), [(shape(k, depth), shape(v, depth + 1)) for k, v in value.items()]
    if isinstance(value, list | tuple):
        kind = "namedtuple" if hasattr(value, "_fields") else type(value)
        return kind, getattr(value, "_fields", None), [shape(item, depth + 1) for item in value]
    if isinstance(value, memoryview):
        return memoryview, bytes(value)
    if isinstance(value, float):
        # In which order the server adds what an aggregate is made of is its plan's affair, and
        # with it the last digits.
        return float, f"{value:.14g}"
    return type(value), repr(value)


def instance_shape(instance, depth):
    state = instance._state
    columns = {
        name: shape(value, depth + 1)
        for name, value in vars(instance).items()
        if name not in {"_state", "_prefetched_objects_cache"}
    }
    related = {
        name: shape(value, depth + 4) for name, value in vars(state).get("fields_cache", {}).items()
    }
    prefetched = {
        name: shape(value, depth + 1)
        for name, value in vars(instance).get("_prefetched_objects_cache", {}).items()
    }
    return type(instance), state.adding, state.db, columns, related, prefetched
