"""Converters of a whole column: what `compilation`'s converters make of each of its values, in one
step for all of them where they are as usual.

orjson writes a moment in UTC as DRF does, a list of them in a seventh of the time that Python's
`isoformat` takes.
"""

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
        known = [value for value in column if value is not None]
        texts = _in_utc(known) if utc else None
        if texts is None:
            return _converted(column, convert)
        if len(known) == len(column):
            return texts
        rest = iter(texts)
        return [None if value is None else next(rest) for value in column]

    return convert_column


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

__all__ = ["Column", "ConvertColumn", "Load", "column_converter", "each"]
