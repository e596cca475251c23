"""Statements that are compiled once: their arguments, and running one.

A value becomes what asyncpg is given in few steps where the column's own way would come to the
same.
"""

import datetime
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.db import models as stock

from app.db import codecs, logs
from app.db.connections import current_pool
from app.db.errors import raise_translated

Prepare = Callable[[Any], Any]

#: What such a column makes of a value of exactly this type is the value.
PLAIN: dict[type, type] = {
    stock.CharField: str, stock.TextField: str, stock.EmailField: str, stock.SlugField: str,
    stock.URLField: str, stock.FloatField: float, stock.BooleanField: bool,
    stock.IntegerField: int, stock.BigIntegerField: int, stock.SmallIntegerField: int,
    stock.PositiveIntegerField: int, stock.PositiveBigIntegerField: int,
    stock.PositiveSmallIntegerField: int, stock.AutoField: int, stock.BigAutoField: int,
    stock.SmallAutoField: int,
}  # fmt: skip


def is_plain_moment(value: datetime.datetime) -> bool:
    return value.tzinfo is not None and value.year not in codecs.EDGE_YEARS


def preparer(field: Any, wrapper: Any) -> Prepare:
    """What makes an argument of a value that a column is compared with; of any, without a field."""
    if field is None:
        return _prepare_any

    def prepare(value: Any) -> Any:
        return codecs.describe(field.get_db_prep_value(value, wrapper, prepared=False))[1]

    plain = PLAIN.get(type(field))
    if plain is int:
        return _whole_number(prepare)
    if type(field) is stock.DateTimeField:
        return _moment(prepare)
    return (
        prepare
        if plain is None
        else lambda value: value if type(value) is plain else prepare(value)
    )


def _prepare_any(value: Any) -> Any:
    # A limit or an offset, usually, which is what it is described as.
    if type(value) is int and -codecs.INT8 <= value < codecs.INT8:
        return value
    return codecs.describe(value)[1]


def _whole_number(prepare: Prepare) -> Prepare:
    """Of numbers, and of texts as they stand in a URL."""

    def prepare_number(value: Any) -> Any:
        kind = type(value)
        is_text = kind is str and value.isascii() and value.isdecimal()
        if not (kind is int or is_text or (kind is Decimal and value.is_finite())):
            return prepare(value)
        number = int(value)
        return number if -codecs.INT8 <= number < codecs.INT8 else prepare(value)

    return prepare_number


def _moment(prepare: Prepare) -> Prepare:
    """Of moments, and of texts as they stand in a cursor."""

    def prepare_moment(value: Any) -> Any:
        moment = value
        if type(value) is str:
            try:
                moment = datetime.datetime.fromisoformat(value)
            except ValueError:
                return prepare(value)
        if type(moment) is datetime.datetime and is_plain_moment(moment):
            return moment
        return prepare(value)

    return prepare_moment


async def fetch(sql: str, arguments: list[Any]) -> list[Any]:
    """The rows of a statement outside a transaction. Raises `django.db` exceptions."""
    pool = current_pool()
    link = pool.take() or await pool.acquire()
    start = time.monotonic()
    try:
        return await link.fetch(sql, arguments)
    except Exception as error:
        raise_translated(error)
        raise
    finally:
        pool.release(link)
        logs.record_plan(sql, arguments, time.monotonic() - start)


__all__ = ["PLAIN", "Prepare", "fetch", "is_plain_moment", "preparer"]
