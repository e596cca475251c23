"""From Django's `%s` to PostgreSQL's `$n`, with a cast where the server cannot infer the type.

Pure. `%%` is a percent sign, as in Django; nothing is ever put into the SQL but `$n` and the name
of a type. The text depends on the SQL and on the types of the parameters, never on their values, so
that equal shapes share one prepared statement. The one exception: in a statement with GROUP BY,
equal parameters share one `$n`, because PostgreSQL matches an expression of SELECT with one of
GROUP BY by its text.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from app.db.codecs import Parameter, describe
from app.db.dialects import numeric

_TOKEN = re.compile(r"%(.?)", re.DOTALL)


def bind(sql: str, params: Sequence[Any] | Mapping[str, Any] | None) -> tuple[str, list[Any]]:
    """The statement and its arguments. `params` None means that `%` has no meaning in `sql`."""
    if params is None:
        return sql, []
    if "LIMIT" in sql:
        sql, params = _bind_page(sql, params)
    if isinstance(params, Mapping):
        sql, params = _positional(sql, params)
    casts: list[str] = []
    arguments: list[Any] = []
    for value in params:
        cast, argument = describe(value)
        casts.append(cast)
        arguments.append(argument)
    if "GROUP BY" in sql and arguments:
        return _share(sql, casts, arguments)
    return rewrite(sql, tuple(casts)), arguments


_PAGE = re.compile(r" LIMIT (\d+)(?: OFFSET (\d+))?$")

#: What `first()` and `get()` ask for. A constant tells the planner that few rows are wanted.
_FEW = {"1", "21"}


def _bind_page(sql: str, params: Any) -> tuple[str, Any]:
    """LIMIT and OFFSET of a slice as parameters, so that all pages share one statement."""
    match = _PAGE.match(sql, sql.rfind(" LIMIT "))  # searching costs more than binding
    if match is None or isinstance(params, Mapping):
        return sql, params
    limit, offset = match.groups()
    if offset is not None:
        return f"{sql[: match.start()]} LIMIT %s OFFSET %s", [
            *params,
            numeric.Int8(int(limit)),
            numeric.Int8(int(offset)),
        ]
    if limit in _FEW:
        return sql, params
    return f"{sql[: match.start()]} LIMIT %s", [*params, numeric.Int8(int(limit))]


def _positional(sql: str, params: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """`%(name)s` as `%s`, with the parameters in the order of their use."""
    ordered: list[Any] = []

    def replace(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return match.group()
        ordered.append(params[match.group(1)])
        return "%s"

    return re.sub(r"%%|%\((\w+)\)s", replace, sql), ordered


@lru_cache(maxsize=4096)
def rewrite(sql: str, casts: tuple[str, ...], numbers: tuple[int, ...] | None = None) -> str:
    """`sql` with the n-th `%s` as `$n` and its cast. Raises TypeError when their numbers differ."""
    position = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal position
        kind = match.group(1)
        if kind == "%":
            return "%"
        if kind != "s":
            raise ValueError(
                f"only %s and %% have a meaning in SQL with parameters, not %{kind}: {sql}"
            )
        if position >= len(casts):
            raise TypeError(
                f"the SQL has more placeholders than its {len(casts)} parameters: {sql}"
            )
        cast = casts[position]
        number = numbers[position] if numbers else position + 1
        position += 1
        return f"${number}::{cast}" if cast else f"${number}"

    text = _TOKEN.sub(replace, sql)
    if position != len(casts):
        raise TypeError(f"the SQL has {position} placeholders for {len(casts)} parameters: {sql}")
    return text


def _share(sql: str, casts: list[str], arguments: list[Any]) -> tuple[str, list[Any]]:
    """Equal parameters of one type share a number."""
    seen: dict[Any, int] = {}
    numbers: list[int] = []
    kept: list[Any] = []
    for cast, argument in zip(casts, arguments, strict=True):
        key = (cast, type(argument), repr(argument))
        if key not in seen:
            kept.append(argument)
            seen[key] = len(kept)
        numbers.append(seen[key])
    return rewrite(sql, tuple(casts), tuple(numbers)), kept


@lru_cache(maxsize=256)
def recast(statement: str, types: tuple[tuple[int, str], ...]) -> str:
    """`statement` where each parameter of `types` is sent as text and cast by the server."""
    names = dict(types)

    def replace(match: re.Match[str]) -> str:
        name = names.get(int(match.group(1)))
        return f"{match.group()}::text::{name}" if name else match.group()

    return re.sub(r"\$(\d+)", replace, statement)


__all__ = ["Parameter", "bind", "recast", "rewrite"]
