"""Converters of a whole column: what `compilation`'s converters make of each of its values, in one
step for all of them where they are as usual.

orjson writes a moment in UTC as DRF does, a list of them in a seventh of the time that Python's
`isoformat` takes. What PostgreSQL has written as text already is a few characters from DRF's, and
takes a tenth of the time that reading it as a moment does.
"""

import datetime
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import orjson

from app.rest.compilation import Convert

Column = list[Any]
Load = Callable[[Column], Column]
#: From a column, how to read it if it comes as JSON, and whether times are shown in UTC.
ConvertColumn = Callable[[Column, Load | None, bool], Column]


def column_converter(convert: Convert | None, *, is_json: bool) -> ConvertColumn | None:
    """That of a value's converter; None where the values are best converted one by one."""
    if getattr(convert, "is_iso_datetime", False):
        return _moments(convert)
    if not is_json:
        return None
    return _texts_by_name(convert) if getattr(convert, "is_text_by_name", False) else each(convert)


def _converted(column: Iterable[Any], convert: Convert | None) -> Column:
    if convert is None:
        return list(column)
    return [None if value is None else convert(value) for value in column]


def each(convert: Convert | None) -> ConvertColumn:
    def convert_column(column: Column, load: Load | None, utc: bool) -> Column:
        return _converted(column if load is None else load(column), convert)

    return convert_column


def _moments(convert: Any) -> ConvertColumn:
    def convert_column(column: Column, load: Load | None, utc: bool) -> Column:
        if load is not None:
            if utc:
                return _by_known(_iso_texts, column)
            column = load(column)
        known = [value for value in column if value is not None]
        texts = _in_utc(known) if utc else None
        if texts is None:
            return _converted(column, convert)
        return texts if len(known) == len(column) else _by_known(lambda _: texts, column)

    return convert_column


def _by_known(convert: Callable[[Column], Column], column: Column) -> Column:
    """The column, with what is not None in it converted together."""
    if None not in column:
        return convert(column)
    rest = iter(convert([value for value in column if value is not None]))
    return [None if value is None else next(rest) for value in column]


class OddMomentError(ValueError):
    """A text is no moment of the years 1 to 9999 in UTC, as PostgreSQL writes it by default."""


_SHORT, _LONG = len("2026-01-01 00:00:00+00"), len("2026-01-01 00:00:00.000000+00")


def _iso_texts(texts: Column) -> Column:
    """What DRF writes of moments that PostgreSQL wrote. Raises OddMomentError."""
    if not texts:
        return []
    iso = _iso_text(texts, _SHORT) if len(texts[0]) == _SHORT else None
    if iso is None:
        iso = _iso_text([one if len(one) == _LONG else _padded(one) for one in texts], _LONG)
        if iso is None:
            raise OddMomentError(texts)
        iso = iso.replace(".000000", "")
    return iso.replace(" ", "T").split(",")


def _iso_text(texts: Column, length: int) -> str | None:
    """The texts with a Z, between commas; None unless all of them are of this length, with a year
    of four digits, and in UTC.
    """
    iso = f"{','.join(texts)},".replace("+00,", "Z,")
    count, step = len(texts), length - 1
    is_usual = (
        len(iso) == count * step
        and iso[step - 1 :: step] == "," * count
        and iso[step - 2 :: step] == "Z" * count
        and iso[4::step] == "-" * count
    )
    return iso[:-1] if is_usual else None


def _padded(text: str) -> str:
    """With six digits of a second, of which PostgreSQL leaves out the zeros at the end."""
    if len(text) == _SHORT:
        return f"{text[:19]}.000000{text[19:]}"
    if _SHORT < len(text) < _LONG and text[19] == ".":
        return f"{text[:-3]:0<26}{text[-3:]}"
    raise OddMomentError(text)


def python_text(text: str) -> str:
    """What `str()` makes of a moment that PostgreSQL wrote. Raises OddMomentError."""
    if len(text) not in (_SHORT, _LONG):
        text = _padded(text)
    if text[4] != "-" or text[10] != " " or not text.endswith("+00"):
        raise OddMomentError(text)
    return f"{text}:00"


def read_moments(texts: Column) -> Column:
    """Moments in UTC of what PostgreSQL wrote. Raises OddMomentError."""
    return _by_known(lambda known: [_moment(text) for text in _iso_texts(known)], texts)


def _moment(iso: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(iso[:-1]).replace(tzinfo=datetime.UTC)


def _in_utc(moments: Column) -> list[str] | None:
    """None unless all of them are in UTC: written with a Z."""
    try:
        text = orjson.dumps(moments, option=orjson.OPT_UTC_Z).decode()
    except TypeError:
        return None
    texts = text[2:-2].split('","') if moments else []
    return texts if text.count('Z"') == len(texts) == len(moments) else None


def _texts_by_name(convert: Any) -> ConvertColumn:
    def convert_column(column: Column, load: Load | None, utc: bool) -> Column:
        if load is None:
            return _converted(column, convert)
        column = load(column)
        try:
            kinds = set(map(type, chain.from_iterable(map(dict.values, column))))
        except TypeError:  # what is no object
            return _converted(column, convert)
        return column if kinds <= _TEXT else _converted(column, convert)

    return convert_column


_TEXT = {str}

__all__ = [
    "Column",
    "ConvertColumn",
    "Load",
    "OddMomentError",
    "column_converter",
    "each",
    "python_text",
    "read_moments",
]
