"""Django's compilers for PostgreSQL, which let other tasks run while they prepare many rows."""

from typing import Any

from django.db.backends.postgresql import compiler as stock
from django.db.backends.postgresql.compiler import (  # type: ignore[import-untyped]
    SQLAggregateCompiler,
    SQLCompiler,
    SQLDeleteCompiler,
    SQLUpdateCompiler,
)

from app.db.bridges import Stretch

__all__ = [
    "SQLAggregateCompiler",
    "SQLCompiler",
    "SQLDeleteCompiler",
    "SQLInsertCompiler",
    "SQLUpdateCompiler",
]


class SQLInsertCompiler(stock.SQLInsertCompiler):
    """Asked for each value of each row; a thousand rows take a while."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stretch = Stretch()

    def as_sql(self) -> Any:
        statements = super().as_sql()
        self._stretch.pause()  # what follows, binding and sending, is one step
        return statements

    def pre_save_val(self, field: Any, obj: Any) -> Any:
        self._stretch.pause()
        return super().pre_save_val(field, obj)
