"""COPY into a table and out of a QuerySet, in the current transaction if there is one."""

import re
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import DataError
from django.db.models import QuerySet

from app.db import bridges
from app.db.connections import DatabaseWrapper, current_wrapper, require_default
from app.db.links import quoted
from app.db.placeholders import bind
from app.db.transactions import atomic, run


async def copy_in(
    target: Any,
    *,
    columns: Sequence[str],
    records: Iterable[Sequence[Any]] | AsyncIterable[Sequence[Any]],
) -> int:
    """COPY `records` into a model's table (or the named one); the number of rows.

    All are stored, or none. `columns` are the model's field names, or a table's columns. Values are
    as the columns' types want them: COPY knows no defaults, no signals and no `get_db_prep_save`.
    """
    return await run(_copy_in, target, columns, records)


def _copy_in(target: Any, columns: Sequence[str], records: Any) -> int:
    wrapper = current_wrapper()
    wrapper.ensure_connection()
    assert wrapper.connection is not None
    if isinstance(target, str):
        schema, _, table = target.rpartition(".")
        names = list(columns)
    else:
        schema, table = "", target._meta.db_table
        names = [target._meta.get_field(name).column for name in columns]
    with wrapper.observed(f"COPY {table} ({', '.join(names)}) FROM STDIN", None):
        copy = wrapper.connection.copy_in(
            table, schema_name=schema or None, columns=names, records=records
        )
        try:
            status = bridges.wait(copy)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"A record does not fit the columns of {table}: {error}") from error
    return int(status.rpartition(" ")[2])


async def copy_out(
    source: Any,
    output: Callable[[bytes], Awaitable[None]],
    *,
    format: str = "csv",  # noqa: A002 - PostgreSQL's word
    header: bool = True,
) -> int:
    """COPY the rows of a QuerySet (or of a model) to `output`, an awaitable taking bytes.

    Returns the number of rows. `format` is 'csv', 'text' or 'binary'. Rows are not held in memory.
    """
    queryset = source if isinstance(source, QuerySet) else source._default_manager.all()
    require_default(queryset.db)
    options = {"format": format} | ({"header": True} if header and format == "csv" else {})
    async with atomic(savepoint=False):
        return await run(_copy_out, queryset, output, options)


def _copy_out(queryset: Any, output: Any, options: dict[str, Any]) -> int:
    wrapper = current_wrapper()
    try:
        sql, params = queryset.query.get_compiler(connection=wrapper).as_sql()
    except EmptyResultSet:
        return 0
    statement, arguments = bind(sql, params)
    assert wrapper.connection is not None
    with wrapper.observed(f"COPY ({sql}) TO STDOUT", params):
        statement = _with_settings(wrapper, statement, arguments)
        status = bridges.wait(
            wrapper.connection.raw.copy_from_query(statement, output=output, **options)
        )
    return int(status.rpartition(" ")[2])


def _with_settings(wrapper: DatabaseWrapper, statement: str, arguments: list[Any]) -> str:
    """COPY takes no parameters, and no value is ever written into SQL: so each one is passed as a
    parameter to `set_config`, for this transaction, and read by `current_setting`.
    """
    assert wrapper.connection is not None
    kinds = bridges.wait(wrapper.connection.prepare(statement)).raw.get_parameters()
    names: dict[int, str] = {}
    for number, (kind, argument) in enumerate(zip(kinds, arguments, strict=True), 1):
        kind_name = quoted(kind)
        if argument is None:
            names[number] = f"NULL::{kind_name}"
            continue
        sql = f"SELECT set_config('app_db.p{number}', ($1::{kind_name})::text, true)"
        bridges.wait(wrapper.connection.perform(sql, [argument]))
        names[number] = f"current_setting('app_db.p{number}')::{kind_name}"
    return re.sub(r"\$(\d+)", lambda match: names[int(match.group(1))], statement)


__all__ = ["copy_in", "copy_out"]
