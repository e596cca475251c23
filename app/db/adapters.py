"""psycopg's adapters, for values and columns that `codecs` has no rule of its own for.

Importing this module imports psycopg, 8 MiB of a worker; so `codecs` does, once such a value comes.
"""

import datetime
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import psycopg
from django.db.backends.postgresql.psycopg_any import get_adapters_template
from psycopg.adapt import PyFormat, Transformer
from psycopg.dbapi20 import BinaryTextDumper
from psycopg.postgres import types as builtin_types
from psycopg.types.hstore import HstoreLoader
from psycopg.types.json import Json, Jsonb, JsonbDumper
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

from app.db import codecs, dialects

#: psycopg's own wrappers, from whoever makes them, are sent as app.db's are.
RULES: dict[type, Callable[[Any], codecs.Parameter]] = {
    Json: lambda value: ("json", codecs.json_text(value)),
    Jsonb: codecs.RULES[dialects.Jsonb],
    psycopg.Binary: codecs.RULES[dialects.Binary],
}
codecs.RULES |= RULES


class _JsonbDumper(JsonbDumper):
    def dump(self, obj: Any) -> Any:
        return super().dump(Jsonb(obj.obj, obj.dumps))


class _BinaryDumper(BinaryTextDumper):
    def dump(self, obj: Any) -> Any:
        return super().dump(obj.obj)


# Nor does psycopg refuse those of app.db's, inside arrays, or from Django's compiler.
psycopg.adapters.register_dumper(dialects.Jsonb, _JsonbDumper)
psycopg.adapters.register_dumper(dialects.Binary, _BinaryDumper)


@lru_cache(maxsize=1)
def psycopg_context() -> Any:
    """psycopg's adapters as Django configures them, without a connection."""
    return SimpleNamespace(adapters=get_adapters_template(True, datetime.UTC), connection=None)


def describe(value: Any) -> codecs.Parameter:
    """Whatever psycopg can dump, as text; the server casts it to the type that psycopg names."""
    dumper = Transformer(psycopg_context()).get_dumper(value, PyFormat.TEXT)
    dumped = dumper.dump(value)
    text = None if dumped is None else bytes(dumped).decode()
    name = type_name(dumper.oid)
    return (f"text::{name}" if name else ""), text


@lru_cache(maxsize=1024)
def type_name(oid: int) -> str:
    """The name of a built-in type, '' for none (psycopg's unknown)."""
    info = builtin_types.get(oid) if oid else None
    if info is None or info.name == "text":
        return ""
    return f"{info.name}[]" if info.array_oid == oid else info.name


def literal(value: Any) -> str:
    """A value as psycopg writes it in a literal."""
    dumped = Transformer(psycopg_context()).get_dumper(value, PyFormat.TEXT).dump(value)
    return "" if dumped is None else bytes(dumped).decode()


def compose(sql: str, params: Any) -> str:
    """`sql` with its parameters as literals. Raises what psycopg does at a value it can't write."""
    transformer = Transformer(psycopg_context())
    return sql % tuple(transformer.as_literal(value).decode() for value in params)


def load_range(value: Any) -> Any:
    """asyncpg's Range as psycopg's, which is Django's."""
    if isinstance(value, list):  # an array, or a multirange
        return [load_range(item) for item in value]
    if value is None:
        return None
    if value.isempty:
        return Range(empty=True)
    bounds = ("[" if value.lower_inc else "(") + ("]" if value.upper_inc else ")")
    return Range(value.lower, value.upper, bounds)


def load_multirange(value: Any) -> Any:
    return None if value is None else Multirange(load_range(value))


def load_hstore(value: Any) -> Any:
    if isinstance(value, list):
        return [load_hstore(item) for item in value]
    return None if value is None else HstoreLoader(0).load(value.encode())


__all__ = [
    "RULES",
    "compose",
    "describe",
    "literal",
    "load_hstore",
    "load_multirange",
    "load_range",
    "psycopg_context",
    "type_name",
]
