"""One row written by one statement that was compiled once: what `acreate` would write, and no
instance.

    writer = Host.objects.all().writer()             # None where somebody takes part in saving
    values = writer.complete({"name": "a", "team_id": 7})
    row = await writer.insert(values, checked=("team_id",), shown=("team__name",))

`complete` adds what a new instance would hold: defaults, `auto_now_add`. `insert` returns what an
instance takes from the database (its key, columns with a `db_default`) in the order of
`writer.filled`, and after it the columns `shown` of the rows that foreign keys lead to.

Theory of operation. The row is selected from those that its foreign keys `checked` name, and a
conflict with a unique index does nothing. So a row that can't be is no error (which would end a
transaction) but no row: None is returned, nothing was written, and whoever asked may look for the
reason. Outside a transaction the statement is one of its own: when it has returned, it is
committed, and an error of the data is no row, too.

A model has no writer when anything but Django takes part in making, saving or keeping its rows: an
override of `save` and its kin, of the manager's `create`, a parent's table, a column of a class
that is not in `PLAIN` or `PREPARED`, a deferrable unique constraint. Receivers of signals come and
go, so `is_free` is asked each time.
"""

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from inspect import getattr_static
from types import SimpleNamespace
from typing import Any

import orjson
from django.db import DEFAULT_DB_ALIAS, DataError, IntegrityError, router
from django.db import models as stock
from django.db.models.expressions import DatabaseDefault
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, post_save, pre_init, pre_save
from django.db.transaction import mark_for_rollback_on_error

from app.db import codecs
from app.db.arguments import PLAIN, fetch, is_plain_moment
from app.db.connections import current_session, new_wrapper
from app.db.transactions import run

MOST_STATEMENTS = 64

#: Their values are prepared by the column itself.
PREPARED = {
    stock.DateTimeField, stock.DateField, stock.TimeField, stock.DurationField, stock.UUIDField,
    stock.DecimalField, stock.JSONField, stock.ForeignKey, stock.OneToOneField,
}  # fmt: skip
_SIGNALS = (pre_init, post_init, pre_save, post_save)
#: What `acreate` goes through, of a model.
_SAVING = (
    "save", "asave", "save_base", "_save_table", "_save_parents", "_do_insert", "_get_pk_val",
    "_is_pk_set", "__init__", "__new__", "__setattr__", "from_db",
)  # fmt: skip


class Column:
    """A column that is written: how its value is prepared, and what it holds when nobody says."""

    def __init__(self, field: Any, wrapper: Any) -> None:
        self.field, self.name = field, field.attname
        self.sql_name = wrapper.ops.quote_name(field.column)
        self.is_filled = field.has_db_default() and not field.has_default()
        self.stamps = bool(getattr(field, "auto_now", False) or getattr(field, "auto_now_add", 0))
        self._plain = PLAIN.get(type(field.target_field if field.is_relation else field))
        self._is_json = type(field) is stock.JSONField and field.encoder is None
        self._is_moment = type(field) is stock.DateTimeField
        self._wrapper = wrapper

    def prepare(self, value: Any) -> Any:
        """The argument of the statement."""
        if value is None or type(value) is self._plain:
            return value
        if self._is_json and type(value) in (dict, list):
            return json_argument(value)
        if self._is_moment and type(value) is datetime.datetime and is_plain_moment(value):
            return value
        return codecs.describe(self.field.get_db_prep_save(value, self._wrapper))[1]

    def load(self, value: Any) -> Any:
        """A value that the server gave, as Django gives it."""
        for convert in self.field.get_db_converters(self._wrapper):
            value = convert(value, None, self._wrapper)
        return value


def json_argument(value: Any) -> str:
    """What Django's wrapper comes to, in fewer steps; of texts by name in very few."""
    if type(value) is dict and set(map(type, value.values())) <= _TEXT:
        try:
            return orjson.dumps(value).decode()
        except TypeError:  # keys that are no text, half of a surrogate pair
            pass
    return json.dumps(value)


_TEXT = {str}


class Statement:
    """The SQL of one shape: which columns are given, which keys are checked, what is returned."""

    def __init__(self, sql: str, columns: Sequence[Column], loads: Sequence[Column]) -> None:
        self.sql, self.columns = sql, columns
        self.loads = [
            (place, column)
            for place, column in enumerate(loads)
            if column.field.get_db_converters(column._wrapper)
        ]

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        return [column.prepare(values[column.name]) for column in self.columns]

    async def row(self, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        rows = await self._rows(self.arguments(values))
        if len(rows) != 1:
            return None
        if not self.loads:
            return tuple(rows[0])
        row = list(rows[0])
        for place, column in self.loads:
            row[place] = column.load(row[place])
        return tuple(row)

    async def _rows(self, arguments: list[Any]) -> list[Any]:
        session = current_session()
        if session is not None:
            return await run(self._run_in, session, arguments)
        try:
            return await fetch(self.sql, arguments)
        except (IntegrityError, DataError):
            return []

    def _run_in(self, session: Any, arguments: list[Any]) -> list[Any]:
        with mark_for_rollback_on_error(DEFAULT_DB_ALIAS):
            rows: list[Any] = session.perform_bound(self.sql, arguments)
        return rows


class Writer:
    """Writes new rows of one model."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._wrapper = new_wrapper()
        self._quote = self._wrapper.ops.quote_name
        options = model._meta
        self.key = Column(options.pk, self._wrapper)
        self.columns = [
            Column(field, self._wrapper)
            for field in options.local_concrete_fields
            if field is not options.auto_field
        ]
        self._stamped = [column for column in self.columns if column.stamps]
        self.by_name = {column.name: column for column in (self.key, *self.columns)}
        #: The columns whose values an instance takes from the database.
        self.filled = [field.attname for field in options.db_returning_fields]
        self._statements: dict[Any, Statement] = {}

    def is_free(self) -> bool:
        """Whether no receiver of a signal wants to know of this model's instances."""
        return not any(signal.receivers and signal.has_listeners(self.model) for signal in _SIGNALS)

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a new row by column, with those that nobody gave."""
        values: dict[str, Any] = {}
        for column in self.columns:
            name = column.name
            if name in given:
                values[name] = given[name]
            elif not column.is_filled:
                value = column.field.get_default()
                if not isinstance(value, DatabaseDefault):
                    values[name] = value
        for column in self._stamped:
            holder: Any = SimpleNamespace(**{column.name: values[column.name]})
            values[column.name] = column.field.pre_save(holder, add=True)
        return values

    async def insert(
        self, values: Mapping[str, Any], checked: tuple[str, ...] = (), shown: tuple[str, ...] = ()
    ) -> tuple[Any, ...] | None:
        """Write a row whose keys `checked` (none of them null) lead to rows that are there.

        The columns `filled`, and those `shown` of the rows that `checked` lead
        to (`team__name`); None where such a row is not there or a unique index has it already.
        Raises `django.db` exceptions; in a transaction those of the data, too.
        """
        shape = (tuple(values), checked, shown)
        statement = self._statements.get(shape)
        if statement is None:
            if len(self._statements) >= MOST_STATEMENTS:
                self._statements.clear()
            statement = self._statements[shape] = self._compile(values, checked, shown)
        return await statement.row(values)

    def can_show(self, name: str, path: str) -> bool:
        """Whether `path` is a column of the row that the foreign key `name` leads to."""
        column = self.by_name.get(name)
        related = column and column.field.is_relation and column.field.target_field.model._meta
        fields = related.concrete_fields if related else ()
        return any(path in (field.name, field.attname) for field in fields)

    # Compiling

    def _compile(
        self, values: Mapping[str, Any], checked: tuple[str, ...], shown: tuple[str, ...]
    ) -> Statement:
        quote = self._quote
        columns = [column for column in self.columns if column.name in values]
        number = {column.name: f"${place}" for place, column in enumerate(columns, 1)}
        alias = {name: f"k{place}" for place, name in enumerate(checked)}
        sources, conditions, expressions = [], [], dict(number)
        for name in checked:
            target = self.by_name[name].field.target_field
            key = f"{alias[name]}.{quote(target.column)}"
            sources.append(f"{quote(target.model._meta.db_table)} {alias[name]}")
            conditions.append(f"{key} = {number[name]}")
            expressions[name] = key
        where = f" WHERE {' AND '.join(conditions)}"
        origin = f" FROM {', '.join(sources)}{where}" if checked else ""
        filled = [self.by_name[name] for name in self.filled]
        returning = ", ".join(column.sql_name for column in filled) or "1"
        into = ", ".join(column.sql_name for column in columns)
        given = ", ".join(expressions[column.name] for column in columns)
        table = quote(self.model._meta.db_table)
        body = f"({into}) SELECT {given}{origin}" if columns else "DEFAULT VALUES"
        sql = f"INSERT INTO {table} {body} ON CONFLICT DO NOTHING RETURNING {returning}"
        loads = list(filled)
        if shown:
            extra = []
            for path in shown:
                name, column = self._related(path, checked)
                extra.append(f"{alias[name]}.{column.sql_name}")
                loads.append(column)
            joined = "".join(f", {source}" for source in sources)
            selected = f"made.*, {', '.join(extra)} FROM made{joined}{where}"
            sql = f"WITH made AS ({sql}) SELECT {selected}"
        return Statement(sql, columns, loads)

    def _related(self, path: str, checked: tuple[str, ...]) -> tuple[str, Column]:
        relation, _, wanted = path.partition("__")
        name = next(one for one in checked if self.by_name[one].field.name == relation)
        fields = self.by_name[name].field.target_field.model._meta.concrete_fields
        field = next(one for one in fields if wanted in (one.name, one.attname))
        return name, Column(field, self._wrapper)


def writer_of(queryset: Any, ours: type, base: Any) -> Writer | None:
    """The writer of a QuerySet's model. `ours` is the QuerySet, `base` the Model whose methods
    nothing may have overridden.
    """
    model = queryset.model
    options = model._meta
    manager = type(model._default_manager)
    is_plain = (
        queryset.db == router.db_for_write(model) == DEFAULT_DB_ALIAS
        and all(getattr(type(queryset), name) is getattr(ours, name) for name in _CREATES)
        and all(
            getattr(getattr(manager, name), "__wrapped__", None) is getattr(ours, name)
            or getattr(manager, name) is getattr(ours, name)
            for name in _CREATES
        )
        and all(getattr(model, name) == getattr(base, name, None) for name in _SAVING[:-1])
        and model.from_db.__func__ is base.from_db.__func__
        and not (options.parents or options.proxy or options.order_with_respect_to)
        and options.managed
        and len(options.pk_fields) == 1
        and all(map(_is_plain_column, options.concrete_fields))
        and all(map(_has_plain_attribute(model), options.concrete_fields))
        and not any(getattr(one, "deferrable", None) for one in options.constraints)
    )
    return Writer(model) if is_plain else None


_CREATES = ("create", "acreate")


def _is_plain_column(field: Any) -> bool:
    kind = type(field)
    if kind not in PLAIN and kind not in PREPARED:
        return False
    if not field.is_relation:
        return True
    target = field.target_field
    key = bool(target.primary_key and not target.is_relation)
    return key and type(target) in (PLAIN | dict.fromkeys(PREPARED))


def _has_plain_attribute(model: Any) -> Callable[[Any], bool]:
    kinds = (DeferredAttribute, ForeignKeyDeferredAttribute)
    return lambda field: type(getattr_static(model, field.attname)) in kinds


__all__ = ["Writer", "writer_of"]
