"""From rows to what iterating a QuerySet gives. Pure; the work that does not depend on a row is
done once.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from inspect import getattr_static
from typing import Any

from django.db import connections
from django.db.models import JSONField, Model
from django.db.models.base import ModelState
from django.db.models.expressions import Col
from django.db.models.fields.mixins import FieldCacheMixin
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query import (  # type: ignore[attr-defined]
    FlatValuesListIterable,
    ModelIterable,
    NamedValuesListIterable,
    ValuesIterable,
    get_related_populators,
)
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init
from django.db.models.utils import create_namedtuple_class

from app.db import bridges, codecs, shapes


class InstanceIterable(ModelIterable):
    """Django's ModelIterable, with what does not depend on a row done once, and compiled once a
    shape.
    """

    def __iter__(self) -> Iterator[Any]:
        found = _instances(self)
        known = _known_related(self.queryset)
        return _with_known(found, known) if known else found


STRETCH_ROWS = 64


def _in_stretches(make: Callable[[Any], Any], rows: Any) -> Iterator[Any]:
    """`map(make, rows)`; other tasks have their turn in between."""
    stretch = bridges.Stretch()
    for number, row in enumerate(rows):
        if number % STRETCH_ROWS == 0:
            stretch.pause()
        yield make(row)


def _instances(iterable: Any) -> Iterator[Any]:
    queryset = iterable.queryset
    if not iterable.chunked_fetch:
        connection = connections[queryset.db]
        if getattr(connection, "keeps_shapes", False):
            found = shapes.statement_of(queryset, connection, _instance_maker)
            if found is not None:
                statement, sql, params = found
                rows = _fetched(connection, sql, params)
                if len(rows) <= STRETCH_ROWS:
                    return statement.instances(rows, connection)
                return _in_stretches(statement.make, statement.converted(rows, connection))
    compiler = queryset.query.get_compiler(using=queryset.db)
    results = compiler.execute_sql(
        chunked_fetch=iterable.chunked_fetch, chunk_size=iterable.chunk_size
    )
    return _in_stretches(_instance_maker(queryset, compiler), compiler.results_iter(results))


def _fetched(connection: Any, sql: str, params: list[Any]) -> Any:
    cursor = connection.cursor()
    try:
        cursor.execute(sql, params)
        return cursor.fetchall()
    finally:
        cursor.close()


def _with_known(found: Iterator[Any], known: Any) -> Iterator[Any]:
    for instance in found:
        for field, instances, key in known:
            if not field.is_cached(instance) and (value := key(instance)) in instances:
                setattr(instance, field.name, instances[value])
        yield instance


def _known_related(queryset: Any) -> list[tuple[Any, Any, Callable[[Any], Any]]]:
    """The instances that a related manager knows already, by the key of each row."""
    known: list[tuple[Any, Any, Callable[[Any], Any]]] = []
    for field, instances in queryset._known_related_objects.items():
        names = [
            field.attname if name == "self" else queryset.model._meta.get_field(name).attname
            for name in field.from_fields
        ]
        known.append((field, instances, operator.attrgetter(*names)))
    return known


Builder = Callable[[Sequence[Any]], list[Any]]


def make_builder(queryset: Any, compiler: Any) -> Builder:
    """A function from the rows of a compiled QuerySet to its items."""
    convert = make_converter(compiler)
    make = _maker(queryset, compiler)
    return lambda rows: [make(row) for row in convert(rows)]


def make_converter(compiler: Any) -> Callable[[Any], Any]:
    """Django's converters (`from_db_value`), where a column has any."""
    if not compiler.select:
        return lambda rows: rows
    texts = json_places(compiler)
    if texts is not None:
        return _json_converter(texts) if texts else lambda rows: rows
    expressions, converters, has_composites = _converters(compiler)

    def convert(rows: Any) -> Any:
        if converters:
            rows = compiler.apply_converters(rows, converters)
        if has_composites:
            rows = compiler.composite_fields_to_tuples(rows, expressions)
        return rows

    return convert


def _converters(compiler: Any) -> tuple[list[Any], dict[int, Any], bool]:
    expressions = [entry[0] for entry in compiler.select[: compiler.col_count]]
    has_composites = bool(compiler.has_composite_fields(expressions))
    return expressions, compiler.get_converters(expressions), has_composites


def json_places(compiler: Any) -> tuple[int, ...] | None:
    """The places of columns of plain JSON, where nothing else is left to be converted in the rows
    that the server gives; None where something is.
    """
    if not compiler.select:
        return ()
    _, converters, has_composites = _converters(compiler)
    if has_composites or not all(_is_json(expression) for _, expression in converters.values()):
        return None
    return tuple(converters)


def _is_json(expression: Any) -> bool:
    """A column of plain JSON, whose only converter is the field's own."""
    field = expression.output_field
    return (
        isinstance(expression, Col)
        and isinstance(field, JSONField)
        and field.decoder is None
        and type(field).from_db_value is JSONField.from_db_value
    )


def _json_converter(positions: tuple[int, ...]) -> Callable[[Any], list[Any]]:
    def convert(rows: Any) -> list[Any]:
        converted = []
        for row in rows:
            values = list(row)
            for position in positions:
                if values[position] is not None:
                    values[position] = codecs.load_json(values[position])
            converted.append(values)
        return converted

    return convert


def _maker(queryset: Any, compiler: Any) -> Callable[[Any], Any]:
    kind = queryset._iterable_class
    if issubclass(kind, ModelIterable):
        return _instance_maker(queryset, compiler)
    if issubclass(kind, FlatValuesListIterable):
        return operator.itemgetter(0)
    query = queryset.query
    names = list(query.selected or ())
    if not names:
        names = [*query.extra_select, *query.values_select, *query.annotation_select]
    if issubclass(kind, ValuesIterable):
        return lambda row: dict(zip(names, row, strict=False))
    if issubclass(kind, NamedValuesListIterable):
        named = create_namedtuple_class(*(queryset._fields or names))
        return lambda row: tuple.__new__(named, row)
    return tuple


def _instance_maker(queryset: Any, compiler: Any) -> Callable[[Any], Any]:
    select, info = compiler.select, compiler.klass_info
    start, end = info["select_fields"][0], info["select_fields"][-1] + 1
    names = [entry[0].target.attname for entry in select[start:end]]
    instantiate = instance_factory(info["model"], names, queryset.db)
    populators = [
        _populate(populator) for populator in get_related_populators(info, select, queryset.db)
    ]
    annotations = list((compiler.annotation_col_map or {}).items())

    def make(row: Any) -> Any:
        instance = instantiate(row[start:end])
        for populate in populators:
            populate(row, instance)
        for name, position in annotations:
            setattr(instance, name, row[position])
        return instance

    return make


def _populate(populator: Any) -> Callable[[Any, Any], None]:
    """Django's RelatedPopulator.populate(), with the instance made the short way."""
    instantiate = instance_factory(populator.model_cls, populator.init_list, populator.db)
    nested = [_populate(each) for each in populator.related_populators]
    columns = populator.reorder_for_init
    start, end = getattr(populator, "cols_start", 0), getattr(populator, "cols_end", 0)
    key = populator.pk_idx
    set_here, set_there = _cache_setter(populator.local_setter), populator.remote_setter
    has_nested, reorders = bool(nested), columns is not None

    def populate(row: Any, source: Any) -> None:
        values = columns(row) if reorders else row[start:end]
        if values[key] is None:
            set_here(source, None)
            return
        instance = instantiate(values)
        if has_nested:
            for each in nested:
                each(row, instance)
        set_here(source, instance)
        set_there(instance, source)

    return populate


def _cache_setter(setter: Any) -> Callable[[Any, Any], None]:
    """`field.set_cached_value`, with the field's cache name looked up once."""
    if getattr(setter, "__func__", None) is not FieldCacheMixin.set_cached_value:
        return setter  # type: ignore[no-any-return]
    name = setter.__self__.cache_name

    def set_cached_value(instance: Any, value: Any) -> None:
        instance._state.fields_cache[name] = value

    return set_cached_value


def instance_factory(
    model: type[Model], names: Sequence[str], db: str
) -> Callable[[Sequence[Any]], Any]:
    """`model.from_db(db, names, values)` as a function of the values.

    `Model.__init__` asks each field anew how to set it, 50 times a page. Where nothing but Django
    itself takes part in making an instance, its result is written at once.
    """
    if not _is_plain(model, names):
        return lambda values: model.from_db(db, names, values)
    new = model.__new__

    def instantiate(values: Sequence[Any]) -> Any:
        instance = new(model)
        state = ModelState()
        state.adding = False
        state.db = db
        attributes = instance.__dict__
        attributes["_state"] = state
        attributes.update(zip(names, values, strict=True))
        return instance

    return instantiate


def _is_plain(model: type[Model], names: Sequence[str]) -> bool:
    """True when no override, receiver or descriptor takes part in making an instance."""
    if pre_init.has_listeners(model) or post_init.has_listeners(model):
        return False
    return _has_plain_class(model) and all(_has_plain_attribute(model, name) for name in names)


@lru_cache(maxsize=1024)
def _has_plain_class(model: type[Model]) -> bool:
    return (
        model.from_db.__func__ is Model.from_db.__func__  # type: ignore[attr-defined]
        and model.__new__ is object.__new__
        and model.__setattr__ is object.__setattr__
        and all(cls in (Model, object) or "__init__" not in vars(cls) for cls in model.__mro__)
    )


@lru_cache(maxsize=8192)
def _has_plain_attribute(model: type[Model], name: str) -> bool:
    return type(getattr_static(model, name)) in (DeferredAttribute, ForeignKeyDeferredAttribute)


__all__ = ["Builder", "InstanceIterable", "instance_factory", "make_builder", "make_converter"]
