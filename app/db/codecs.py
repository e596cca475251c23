"""Values on their way to the server and back, equal to what Django's psycopg backend sends and
returns.

Pure, but for `configure()`, which registers the decoders on a new connection.

To the server: `describe(value)` gives the cast to write after `$n` and the argument for asyncpg.
The cast is the type that psycopg would send. A plain string has none, as in psycopg: the server
infers its type. Values of types that are not in the table go through psycopg's own dumper, as text
that the server casts.

From the server: asyncpg's binary decoders, except where their result differs from psycopg's.
"""

import datetime
import decimal
import ipaddress
import json
import re
import uuid
import zoneinfo
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, TypeAlias

import asyncpg
import orjson
import psycopg
from django.db.backends.postgresql.psycopg_any import get_adapters_template
from psycopg.adapt import PyFormat, Transformer
from psycopg.postgres import types as builtin_types
from psycopg.types.hstore import HstoreLoader
from psycopg.types.json import Json, Jsonb
from psycopg.types.multirange import Multirange
from psycopg.types.numeric import Float4, Float8, Int2, Int4, Int8, IntNumeric, Oid
from psycopg.types.range import Range

Parameter: TypeAlias = tuple[str, Any]

#: asyncpg takes the first and the last date there is for -infinity and infinity.
EDGE_YEARS = {1, 9999}
INT2 = 2**15
INT4 = 2**31
INT8 = 2**63


def describe(value: Any) -> Parameter:
    """The cast for the placeholder ('' for none) and the argument as asyncpg wants it."""
    rule = RULES.get(type(value))
    return rule(value) if rule is not None else _describe_other(value)


def _plain(cast: str, convert: Callable[[Any], Any] | None = None) -> Callable[[Any], Parameter]:
    if convert is None:
        return lambda value: (cast, value)
    return lambda value: (cast, convert(value))


def _describe_int(value: int) -> Parameter:
    if -INT4 <= value < INT4:
        return "int4", int(value)
    if -INT8 <= value < INT8:
        return "int8", int(value)
    return "numeric", decimal.Decimal(value)


def _describe_int2(value: int) -> Parameter:
    return ("int2", int(value)) if -INT2 <= value < INT2 else _describe_int(value)


def _describe_datetime(value: datetime.datetime) -> Parameter:
    cast = "timestamp" if value.tzinfo is None else "timestamptz"
    if value.year in EDGE_YEARS:
        return f"text::{cast}", value.isoformat()
    return cast, value


def _describe_date(value: datetime.date) -> Parameter:
    return ("text::date", value.isoformat()) if value.year in EDGE_YEARS else ("date", value)


def _describe_time(value: datetime.time) -> Parameter:
    return ("time" if value.tzinfo is None else "timetz"), value


def _json_text(value: Any) -> str:
    dumps = value.dumps or json.dumps
    text = dumps(value.obj)
    return text.decode() if isinstance(text, bytes) else text


def _describe_list(value: list[Any]) -> Parameter:
    """A list of one simple type is sent as an array of it; any other by psycopg's dumper."""
    kinds = {type(item) for item in value}
    kinds.discard(type(None))
    if len(kinds) == 1:
        kind = kinds.pop()
        if kind is str:
            return "", value
        if kind is dict:
            texts = [None if item is None else _hstore_text(item) for item in value]
            return "text[]::hstore[]", texts
        if kind in ARRAYS:
            cast = ARRAYS[kind]
            return f"{cast}[]", value
        if kind is int and all(item is None or -INT4 <= item < INT4 for item in value):
            return "int4[]", value
    return _describe_other(value)


def _hstore_text(value: dict[Any, Any]) -> str:
    """A dict is an hstore, as in Django: JSON has its wrapper."""
    return ", ".join(
        f"{_quoted(key)}=>{'NULL' if item is None else _quoted(item)}"
        for key, item in value.items()
    )


def _quoted(value: Any) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


RULES: dict[type, Callable[[Any], Parameter]] = {
    type(None): _plain(""),
    str: _plain(""),
    bool: _plain("bool"),
    int: _describe_int,
    Int2: _describe_int2,
    Int4: _describe_int,
    Int8: _plain("int8", int),
    IntNumeric: _plain("numeric", decimal.Decimal),
    Oid: _plain("oid", int),
    float: _plain("float8"),
    Float8: _plain("float8", float),
    Float4: _plain("float4", float),
    decimal.Decimal: _plain("numeric"),
    datetime.datetime: _describe_datetime,
    datetime.date: _describe_date,
    datetime.time: _describe_time,
    datetime.timedelta: _plain("interval"),
    uuid.UUID: _plain("uuid"),
    bytes: _plain("bytea"),
    bytearray: _plain("bytea", bytes),
    memoryview: _plain("bytea", bytes),
    Jsonb: _plain("jsonb", _json_text),
    Json: _plain("json", _json_text),
    ipaddress.IPv4Address: _plain("inet", str),
    ipaddress.IPv6Address: _plain("inet", str),
    psycopg.Binary: _plain("bytea", lambda value: bytes(value.obj)),
    dict: _plain("text::hstore", _hstore_text),
    list: _describe_list,
}

ARRAYS: dict[type, str] = {
    bool: "bool",
    Int2: "int2",
    Int4: "int4",
    Int8: "int8",
    float: "float8",
    decimal.Decimal: "numeric",
    uuid.UUID: "uuid",
}


@lru_cache(maxsize=8)
def _context(use_tz: bool, timezone: datetime.tzinfo | None) -> Any:
    return SimpleNamespace(adapters=get_adapters_template(use_tz, timezone), connection=None)


def psycopg_context() -> Any:
    """psycopg's adapters as Django configures them, without a connection."""
    return _context(True, datetime.UTC)


def _describe_other(value: Any) -> Parameter:
    """Whatever psycopg can dump, as text; the server casts it to the type that psycopg names."""
    transformer = Transformer(psycopg_context())
    dumper = transformer.get_dumper(value, PyFormat.TEXT)
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


def _load_as_psycopg(oid: int) -> Callable[[str], Any]:
    """psycopg's loader of a type, for asyncpg: text in, value out."""
    loader = Transformer(psycopg_context()).get_loader(oid, 0)  # type: ignore[arg-type]
    return lambda text: loader.load(text.encode())


def literal(value: Any) -> str:
    """A value as psycopg writes it in a literal."""
    dumped = Transformer(psycopg_context()).get_dumper(value, PyFormat.TEXT).dump(value)
    return "" if dumped is None else bytes(dumped).decode()


#: A number that orjson may read otherwise than Python: too large for 64 bits.
LONG_NUMBER = re.compile(r"\d{17}")


def load_json(text: str) -> Any:
    """What `json.loads` makes of jsonb's text, in a quarter of the time."""
    return json.loads(text) if LONG_NUMBER.search(text) else orjson.loads(text)


def _decode_uuid(data: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=bytes(data))


def _encode_uuid(value: Any) -> bytes:
    return value.bytes if isinstance(value, uuid.UUID) else uuid.UUID(str(value)).bytes


AS_PSYCOPG = ("json", "float4")
AS_TEXT = (
    "inet",
    "cidr",
    "bit",
    "varbit",
    "point",
    "line",
    "lseg",
    "box",
    "path",
    "polygon",
    "circle",
)


def _load_range(value: Any) -> Any:
    """asyncpg's Range as psycopg's, which is Django's."""
    if isinstance(value, list):  # an array, or a multirange
        return [_load_range(item) for item in value]
    if value is None:
        return None
    if value.isempty:
        return Range(empty=True)
    bounds = ("[" if value.lower_inc else "(") + ("]" if value.upper_inc else ")")
    return Range(value.lower, value.upper, bounds)


def _load_hstore(value: Any) -> Any:
    if isinstance(value, list):
        return [_load_hstore(item) for item in value]
    return None if value is None else HstoreLoader(0).load(value.encode())


def _load_char(value: Any) -> Any:
    if isinstance(value, list):
        return [_load_char(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def _load_multirange(value: Any) -> Any:
    return None if value is None else Multirange(_load_range(value))


def column_loaders(attributes: Any) -> list[tuple[int, Callable[[Any], Any]]]:
    """The columns that asyncpg's codecs cannot decode as psycopg does, each with what remains to be
    done.
    """
    loaders: list[tuple[int, Callable[[Any], Any]]] = []
    for position, attribute in enumerate(attributes):
        name = attribute.type.name
        if name.endswith("multirange"):
            loaders.append((position, _load_multirange))
        elif name.removesuffix("[]") == "char":
            loaders.append((position, _load_char))
        elif name.removesuffix("[]") == "hstore":
            loaders.append((position, _load_hstore))
        elif name.removesuffix("[]").endswith("range"):
            loaders.append((position, _load_range))
    return loaders


def load_rows(rows: list[Any], loaders: list[tuple[int, Callable[[Any], Any]]]) -> list[Any]:
    """Rows with the given columns decoded; each becomes a tuple."""
    loaded = []
    for row in rows:
        values = list(row)
        for position, load in loaders:
            values[position] = load(values[position])
        loaded.append(tuple(values))
    return loaded


#: As asyncpg reads them where it needs no codec of ours: without a zone.
INFINITIES = {
    2**63 - 1: datetime.datetime.max,  # noqa: DTZ901 - see above
    -(2**63): datetime.datetime.min,  # noqa: DTZ901
}

EPOCH = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)


def timestamp_decoder(
    zone: datetime.tzinfo, aware: bool
) -> Callable[[tuple[int]], datetime.datetime]:
    """timestamptz, sent as microseconds since 2000, in a zone other than UTC, or without one."""

    def decode(data: tuple[int]) -> datetime.datetime:
        if data[0] in INFINITIES:
            return INFINITIES[data[0]]
        value = (EPOCH + datetime.timedelta(microseconds=data[0])).astimezone(zone)
        return value if aware else value.replace(tzinfo=None)

    return decode


def encode_timestamp(value: datetime.datetime) -> tuple[int]:
    return ((value.astimezone(datetime.UTC) - EPOCH) // datetime.timedelta(microseconds=1),)


async def configure_time_zone(
    connection: asyncpg.Connection, name: str, zone: datetime.tzinfo | None
) -> None:
    """Decode timestamptz in `zone`; without one, as naive datetimes of the zone `name`."""
    if zone is not datetime.UTC:
        await connection.set_type_codec(
            "timestamptz",
            schema="pg_catalog",
            encoder=encode_timestamp,
            decoder=timestamp_decoder(zone or zoneinfo.ZoneInfo(name), zone is not None),
            format="tuple",
        )


async def configure(
    connection: asyncpg.Connection, time_zone: tuple[str, datetime.tzinfo | None]
) -> None:
    """Register on a new connection the codecs whose results must equal psycopg's."""
    await configure_time_zone(connection, *time_zone)
    await connection.set_type_codec(
        "uuid", schema="pg_catalog", encoder=_encode_uuid, decoder=_decode_uuid, format="binary"
    )
    for name in AS_TEXT:
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=str, decoder=str, format="text"
        )
    for name in AS_PSYCOPG:
        info = builtin_types.get(name)
        if info is not None:
            await connection.set_type_codec(
                name,
                schema="pg_catalog",
                encoder=literal,
                decoder=_load_as_psycopg(info.oid),
                format="text",
            )


__all__ = [
    "Parameter",
    "column_loaders",
    "configure",
    "configure_time_zone",
    "describe",
    "literal",
    "load_json",
    "load_rows",
    "psycopg_context",
    "type_name",
]
