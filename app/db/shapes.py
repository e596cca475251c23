"""The statements of plain QuerySets, compiled once per shape.

Compiling a QuerySet costs Django more than the server needs to answer it. `statement_of()` gives a
QuerySet's SQL and parameters without compiling, when one of the same shape was compiled before.

Theory of operation. A shape is everything that Django's compiler looks at but the values: each
attribute of the `Query` takes part, by name. What is compiled, once, is the query with a slot in
the place of each value, so the SQL can't depend on a value, and where a value goes is read off, not
guessed.

Rules:
- What isn't known isn't cached. An attribute of `Query`, a node of the WHERE tree, a lookup, a join
  or a column of any other class than those listed here, or a subclass of one, is compiled by Django
  each time. So are annotations, `extra()`, unions, `distinct(*fields)`, `select_for_update()`.
- A value is prepared by its own lookup (`process_rhs`) each time, as in compiling; what SQL that
  gives is part of the shape. Parameters are bound anew, so their types and casts may differ.
- A shape names fields and models by their identity, and keeps them alive for as long as it lasts.
- What a model's options say is compared each time: a changed Meta or field makes the shape void.
- The least recently used shape goes when there are more than SHAPES.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db.models import lookups
from django.db.models.expressions import Col, OrderBy
from django.db.models.fields import related_lookups
from django.db.models.fields.related import ForeignObject
from django.db.models.functions import Random
from django.db.models.signals import post_init, pre_init
from django.db.models.sql import Query
from django.db.models.sql.datastructures import BaseTable, Join
from django.db.models.sql.where import WhereNode

SHAPES = 512

#: Values of one lookup above which a shape is not kept: lists of that length hardly come again.
LONGEST = 100

#: Lookups whose SQL is their left side, their operator, and what `process_rhs` gives.
LOOKUPS = {
    lookups.Exact, lookups.IExact, lookups.GreaterThan, lookups.GreaterThanOrEqual,
    lookups.LessThan, lookups.LessThanOrEqual, lookups.IntegerFieldExact,
    lookups.IntegerGreaterThan, lookups.IntegerGreaterThanOrEqual, lookups.IntegerLessThan,
    lookups.IntegerLessThanOrEqual, lookups.In, lookups.Contains, lookups.IContains,
    lookups.StartsWith, lookups.IStartsWith, lookups.EndsWith, lookups.IEndsWith, lookups.Range,
    lookups.Regex, lookups.IRegex, related_lookups.RelatedExact, related_lookups.RelatedIn,
    related_lookups.RelatedLessThan, related_lookups.RelatedLessThanOrEqual,
    related_lookups.RelatedGreaterThan, related_lookups.RelatedGreaterThanOrEqual,
}  # fmt: skip
NULLS = {lookups.IsNull, related_lookups.RelatedIsNull}

#: Attributes of `Query` whose value is part of the shape as it is.
PLAIN = {
    "model", "alias_prefix", "default_cols", "default_ordering", "standard_ordering", "distinct",
    "max_depth", "alias_cols",
}  # fmt: skip

#: Attributes that must be empty (or at their default) for a shape to be known.
EMPTY = {
    "annotations", "extra", "_filtered_relations", "external_aliases", "select", "group_by",
    "distinct_fields", "select_for_update", "select_for_update_nowait",
    "select_for_update_skip_locked", "select_for_update_of", "select_for_no_key_update",
    "values_select", "selected", "annotation_select_mask", "_annotation_select_cache",
    "combinator", "combinator_all", "combined_queries", "extra_select_mask", "_extra_select_cache",
    "extra_tables", "extra_order_by", "explain_info", "subquery",
}  # fmt: skip

#: Attributes that the compiler does not look at, or finds in `alias_map`: they say how the next
#: `filter()` or `exclude()` would go on.
SILENT = {"base_table", "filter_is_sticky", "_lookup_joins"}

#: Attributes that have a rule of their own in `_Reader`.
READ = {
    "where", "alias_map", "alias_refcount", "table_map", "used_aliases", "select_related",
    "order_by", "low_mark", "high_mark", "deferred_loading",
}  # fmt: skip

KNOWN = PLAIN | EMPTY | SILENT | READ


class UnknownShapeError(Exception):
    """The query has a part that this module does not know."""


class Slot:
    """Where a value of the shape goes."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class _Reader:
    """One walk through a query: its shape, its values, and whose identity the shape relies on."""

    __slots__ = ("connection", "kept", "key", "values")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.key: list[Any] = []
        self.values: list[Any] = []
        self.kept: list[Any] = []

    def read(self, query: Any) -> None:
        state = query.__dict__
        if type(query) is not Query or not KNOWN.issuperset(state):
            raise UnknownShapeError
        if not state["alias_map"]:  # compiling leaves the model's own table there
            query.unref_alias(query.get_initial_alias())
        key = self.key
        for name, value in state.items():
            if name in EMPTY:
                if value:
                    raise UnknownShapeError
            elif name in PLAIN:
                key.append((name, value))
        key.append(tuple(state["alias_refcount"].items()))
        key.append(tuple([(name, tuple(each)) for name, each in state["table_map"].items()]))
        key.append(frozenset(state["used_aliases"]))
        names, is_deferred = query.deferred_loading
        key.append((frozenset(names), is_deferred))
        key.append(nested(state.get("select_related", False)))
        self._read_order(state.get("order_by", ()))
        for join in state["alias_map"].values():
            self._read_join(join)
        self._read_where(state["where"])

    def _read_order(self, names: Sequence[Any]) -> None:
        for name in names:
            if type(name) is not str:
                raise UnknownShapeError
        self.key.append(tuple(names))

    def _read_join(self, join: Any) -> None:
        kind = type(join)
        if kind is BaseTable:
            self.key.append((join.table_name, join.table_alias))
        elif kind is Join and join.filtered_relation is None:
            field = join.join_field
            self.kept.append(field)
            self.key.append(
                (
                    join.table_name,
                    join.parent_alias,
                    join.table_alias,
                    join.join_type,
                    join.nullable,
                    join.join_cols,
                    id(field),
                )
            )
        else:
            raise UnknownShapeError

    def _read_where(self, node: Any) -> None:
        key = self.key
        key.append((node.connector, node.negated, len(node.children)))
        for child in node.children:
            if type(child) is WhereNode:
                self._read_where(child)
            else:
                self._read_lookup(child)

    def _read_lookup(self, lookup: Any) -> None:
        kind = type(lookup)
        if (kind not in LOOKUPS and kind not in NULLS) or type(lookup.lhs) is not Col:
            raise UnknownShapeError
        lhs, rhs = lookup.lhs, lookup.rhs
        target, output = lhs.target, lhs.output_field
        self.kept.append((target, output))
        where = (kind, lhs.alias, id(target), id(output))
        if kind in NULLS or (type(rhs) is bool and is_bare_condition(lookup)):
            if type(rhs) is not bool:
                raise UnknownShapeError
            self.key.append((*where, rhs))
        elif is_direct(lookup):
            sql, params = self._prepared(lookup)
            self.values.extend(params)
            self.key.append((*where, sql, len(params)))
        else:
            raise UnknownShapeError

    def _prepared(self, lookup: Any) -> tuple[Any, Sequence[Any]]:
        try:
            sql, params = lookup.process_rhs(None, self.connection)
        except Exception as error:
            # Raised when compiling, too: a wrong value, or one that no row can have.
            raise UnknownShapeError from error
        if len(params) > LONGEST:
            raise UnknownShapeError
        return sql, params


def is_direct(lookup: Any) -> bool:
    """True when the right side is a value, or a list of values."""
    rhs = lookup.rhs
    return not (
        lookup.bilateral_transforms or hasattr(rhs, "as_sql") or hasattr(rhs, "resolve_expression")
    )


def is_bare_condition(lookup: Any) -> bool:
    """True when `Exact` may write `field` or `NOT field`, and no parameter."""
    return type(lookup) is lookups.Exact and bool(getattr(lookup.lhs, "conditional", False))


def nested(related: Any) -> Any:
    """`select_related`, which is a dict of dicts, as something that has a hash."""
    if type(related) is not dict:
        return related
    return tuple([(name, nested(each)) for name, each in related.items()])


class Statement:
    """The compiled SQL of a shape, and what turns its rows into instances.

    `make` takes a row; `converters` are Django's, for the columns that have any.
    """

    __slots__ = ("_guards", "_kept", "converters", "make", "sql")

    def __init__(
        self, sql: str, make: Callable[[Any], Any], converters: Any, kept: Any, guards: Any
    ) -> None:
        self.sql = sql
        self.make = make
        self.converters = converters
        self._kept = kept
        self._guards = guards

    def is_valid(self) -> bool:
        """False when a model's options have changed since, or who hears of its instances."""
        return all(options == options_of(model) for model, options in self._guards)

    def instances(self, rows: Any, connection: Any) -> Iterator[Any]:
        return map(self.make, self.converted(rows, connection))

    def converted(self, rows: Any, connection: Any) -> Any:
        """Each row after Django's converters."""
        return self._converted(rows, connection) if self.converters else rows

    def _converted(self, rows: Any, connection: Any) -> Iterator[Any]:
        for row in map(list, rows):
            for position, (converters, expression) in self.converters:
                value = row[position]
                for convert in converters:
                    value = convert(value, expression, connection)
                row[position] = value
            yield row


def options_of(model: Any) -> tuple[Any, ...]:
    """What compiling reads of a model that may be changed while the process runs."""
    options = model._meta
    return (
        id(options.concrete_fields),
        tuple(options.ordering or ()),
        options.db_table,
        bool(pre_init.receivers and pre_init.has_listeners(model)),
        bool(post_init.receivers and post_init.has_listeners(model)),
    )


#: By shape; None for one that turned out to hold more than is known.
_statements: OrderedDict[Any, Statement | None] = OrderedDict()


def forget() -> None:
    """Drop every shape: another server may want other SQL."""
    _statements.clear()


def statement_of(
    queryset: Any, connection: Any, make_maker: Callable[[Any, Any], Any]
) -> tuple[Statement, str, list[Any]] | None:
    """The statement, SQL and parameters of `queryset`; None when Django is to compile it."""
    query = queryset.query
    reader = _Reader(connection)
    try:
        reader.read(query)
        key = (connection.alias, *reader.key)
        statement = _statements[key]
    except UnknownShapeError:
        return None
    except KeyError:
        statement = _add(key, queryset, connection, reader, make_maker)
    except TypeError:  # a part that has no hash
        return None
    else:
        _statements.move_to_end(key)
        if statement is not None and not statement.is_valid():
            statement = _add(key, queryset, connection, reader, make_maker)
    if statement is None:
        return None
    sql = statement.sql
    low, high = query.low_mark, query.high_mark
    if low or high is not None:
        sql = f"{sql} {connection.ops.limit_offset_sql(low, high)}"
    return statement, sql, reader.values


def _add(
    key: Any, queryset: Any, connection: Any, reader: _Reader, make_maker: Callable[[Any, Any], Any]
) -> Statement | None:
    statement = _compiled(queryset, connection, reader, make_maker)
    _statements[key] = statement
    if len(_statements) > SHAPES:
        _statements.popitem(last=False)
    return statement


def _compiled(
    queryset: Any, connection: Any, reader: _Reader, make_maker: Callable[[Any, Any], Any]
) -> Statement | None:
    """The statement of a shape; None when compiling shows what reading could not."""
    query = queryset.query.clone()
    query.clear_limits()
    slots = _Slots(connection)
    query.where = slots.in_place_of_values(query.where)
    compiler = query.get_compiler(connection=connection)
    order = _noting(compiler)
    sql, params = compiler.as_sql()
    places = [param.number if type(param) is Slot else None for param in params]
    expressions = [entry[0] for entry in compiler.select]
    joins: list[Any] = [join for join in query.alias_map.values() if type(join) is Join]
    if not (
        places == list(range(len(reader.values)))
        and all(type(expression) is Col for expression in expressions)
        and all(is_plain_order(each) for each in order)
        and all(is_plain_join(join) for join in joins)
        and not compiler.has_extra_select
        and compiler.klass_info is not None
    ):
        return None
    models = _models(compiler.klass_info) | {query.model}
    for join in joins:
        models |= {join.join_field.model, join.join_field.related_model}
    models |= {parent for model in models for parent in model._meta.all_parents}
    guards = [(model, options_of(model)) for model in models]
    kept = [
        reader.kept, expressions, [join.join_field for join in joins],
        [model._meta.concrete_fields for model in models],
    ]  # fmt: skip
    converters = list(compiler.get_converters(expressions).items())
    return Statement(sql, make_maker(queryset, compiler), converters, kept, guards)


def _noting(compiler: Any) -> list[Any]:
    """A list of what the compiler will order by."""
    noted: list[Any] = []
    get_order_by = compiler.get_order_by

    def note() -> Any:
        found = get_order_by()
        noted.extend(each for each, _ in found)
        return found

    compiler.get_order_by = note
    return noted


def is_plain_order(each: Any) -> bool:
    """True for a column, or at random; a transform may mean something else tomorrow."""
    return type(each) is OrderBy and type(each.expression) in (Col, Random)


def is_plain_join(join: Any) -> bool:
    """True when nothing but the join's columns restricts it."""
    field: Any = join.join_field
    stock: Any = ForeignObject
    restriction = type(getattr(field, "field", field)).get_extra_restriction
    return join.filtered_relation is None and restriction is stock.get_extra_restriction


def _models(info: Any) -> set[Any]:
    found = {info["model"]}
    for each in info.get("related_klass_infos", ()):
        found |= _models(each)
    return found


class _Slots:
    """Copies a WHERE tree with numbered slots for the values, in the order of `_Reader`."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.count = 0

    def in_place_of_values(self, node: Any) -> Any:
        if type(node) is WhereNode:
            children = [self.in_place_of_values(child) for child in node.children]
            return WhereNode(children, node.connector, node.negated)
        if type(node) in NULLS or (type(node.rhs) is bool and is_bare_condition(node)):
            return node
        sql, params = node.process_rhs(None, self.connection)
        slots = [Slot(self.count + n) for n in range(len(params))]
        self.count += len(params)
        node = copy.copy(node)
        node.process_rhs = lambda compiler, connection: (sql, slots)
        return node


__all__ = ["Statement", "forget", "statement_of"]
