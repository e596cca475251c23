"""Values on their way to the server and back, equal to what Django's psycopg backend sends and
returns.

Pure, but for `configure()`, which registers the decoders on a new connection.

To the server: `describe(value)` gives the cast to write after `$n` and the argument for asyncpg.
The cast is the type that psycopg would send. A plain string has none, as in psycopg: the server
infers its type. Values of types that are not in the table go through psycopg's own dumper, as text
that the server casts.

From the server: asyncpg's binary decoders, except where their result differs from psycopg's.

psycopg itself is imported when a value needs it (`adapters.py`): ranges, hstore, nested arrays.
"""

import datetime
import decimal
import ipaddress
import json
import re
import uuid
import zoneinfo
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import asyncpg
import orjson

from app.db.dialects import Binary, Jsonb, numeric

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


def json_text(value: Any) -> str:
    """What a wrapper of JSON holds, as text."""
    dumps = value.dumps or json.dumps
    text = dumps(value.obj)
    return text.decode() if isinstance(text, bytes) else text


def _describe_list(value: list[Any]) -> Parameter:
    """A list of one simple type is sent as an array of it; any other by psycopg's dumper."""
    kinds = {type(item) for item in value}
    kinds.discard(type(None))
    if not kinds:
        return "", value  # of whatever type the server expects
    if len(kinds) == 1:
        return _describe_list_of(kinds.pop(), value)
    return _describe_other(value)


def _describe_list_of(kind: type, value: list[Any]) -> Parameter:
    if kind in ARRAYS:
        cast = ARRAYS[kind]
        return f"{cast}[]" if cast else "", value
    if kind in ARRAYS_OF_TEXT:
        cast, write = ARRAYS_OF_TEXT[kind]
        return f"text[]::{cast}[]", [None if item is None else write(item) for item in value]
    if kind is int and all(item is None or -INT4 <= item < INT4 for item in value):
        return "int4[]", value
    if kind is datetime.datetime and all(map(_is_plain_moment, value)):
        return "timestamptz[]", value
    if issubclass(kind, str):  # choices
        return "", [None if item is None else str.__str__(item) for item in value]
    return _describe_other(value)


def _is_plain_moment(value: datetime.datetime | None) -> bool:
    return value is None or (value.tzinfo is not None and value.year not in EDGE_YEARS)


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
    numeric.Int2: _describe_int2,
    numeric.Int4: _describe_int,
    numeric.Int8: _plain("int8", int),
    numeric.IntNumeric: _plain("numeric", decimal.Decimal),
    numeric.Oid: _plain("oid", int),
    float: _plain("float8"),
    numeric.Float8: _plain("float8", float),
    numeric.Float4: _plain("float4", float),
    decimal.Decimal: _plain("numeric"),
    datetime.datetime: _describe_datetime,
    datetime.date: _describe_date,
    datetime.time: _describe_time,
    datetime.timedelta: _plain("interval"),
    uuid.UUID: _plain("uuid"),
    bytes: _plain("bytea"),
    bytearray: _plain("bytea", bytes),
    memoryview: _plain("bytea", bytes),
    Jsonb: _plain("jsonb", json_text),
    ipaddress.IPv4Address: _plain("inet", str),
    ipaddress.IPv6Address: _plain("inet", str),
    Binary: _plain("bytea", lambda value: bytes(value.obj)),
    dict: _plain("text::hstore", _hstore_text),
    list: _describe_list,
}

#: Types whose lists asyncpg takes as they are, with the cast; text needs none.
ARRAYS: dict[type, str] = {
    str: "",
    bool: "bool",
    numeric.Int2: "int2",
    numeric.Int4: "int4",
    numeric.Int8: "int8",
    float: "float8",
    decimal.Decimal: "numeric",
    uuid.UUID: "uuid",
}

#: Types whose items are sent as text, and cast by the server.
ARRAYS_OF_TEXT: dict[type, tuple[str, Callable[[Any], str]]] = {
    dict: ("hstore", _hstore_text),
    Jsonb: ("jsonb", json_text),
}


def _adapters() -> Any:
    """psycopg's part of the work, which few processes need: see the module."""
    from app.db import adapters

    return adapters


def _describe_other(value: Any) -> Parameter:
    """By a rule that came with psycopg, else as psycopg dumps it. Choices of text are text."""
    if isinstance(value, str):
        return "", str.__str__(value)
    adapters = _adapters()
    rule = adapters.RULES.get(type(value), adapters.describe)
    parameter: Parameter = rule(value)
    return parameter


def literal(value: Any) -> str:
    """A value as psycopg writes it in a literal."""
    if type(value) is str:
        return value
    if type(value) in {float, int}:
        return str(value)
    text: str = _adapters().literal(value)
    return text


#: A number that orjson may read otherwise than Python: too large for 64 bits.
LONG_NUMBER = re.compile(r"\d{17}")


def load_json(text: str) -> Any:
    """What `json.loads` makes of jsonb's text, in a quarter of the time."""
    return json.loads(text) if LONG_NUMBER.search(text) else orjson.loads(text)


_DIGITS = bytes.maketrans(b"123456789", b"000000000")


def load_json_column(texts: Sequence[str | None]) -> list[Any]:
    """`load_json` of each text, None of None, in one go."""
    try:
        joined = ",".join(texts)  # type: ignore[arg-type]
    except TypeError:
        joined = ",".join(["null" if text is None else text for text in texts])
    data = f"[{joined}]".encode()
    if b"0" * 17 in data.translate(_DIGITS):
        return [None if text is None else load_json(text) for text in texts]
    loaded: list[Any] = orjson.loads(data)
    return loaded


def _decode_uuid(data: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=bytes(data))


def _encode_uuid(value: Any) -> bytes:
    return value.bytes if isinstance(value, uuid.UUID) else uuid.UUID(str(value)).bytes


#: Types that asyncpg reads otherwise than psycopg, each with the reader of its text.
READERS: dict[str, Callable[[str], Any]] = {"json": json.loads, "float4": float}
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
    return _adapters().load_range(value)


def _load_multirange(value: Any) -> Any:
    return _adapters().load_multirange(value)


def _load_hstore(value: Any) -> Any:
    return _adapters().load_hstore(value)


def _load_char(value: Any) -> Any:
    if isinstance(value, list):
        return [_load_char(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


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
    for name, read in READERS.items():
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=literal, decoder=read, format="text"
        )


__all__ = [
    "Parameter",
    "column_loaders",
    "configure",
    "configure_time_zone",
    "describe",
    "json_text",
    "literal",
    "load_json",
    "load_json_column",
    "load_rows",
]
