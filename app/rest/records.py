"""Compiled reading without instances: a serializer class made into the columns it shows, and a
function from rows of these columns to what the serializer would answer.

Where every field of a static class shows a column as it is (or through a converter of
`compilation`), or an object behind a foreign key of which the same is true, no model instance is
needed to write it out. `record_of` says None to any other class, and to a model that takes part in
making its instances.

A row holds a column for each field, in the serializer's order; in the place of a nested object its
foreign key, then the object's own columns. What two fields show is there once.

One row is written out value by value. Of many, a column of moments or of JSON is converted as a
whole (`column_converters`), and both may come as texts: JSON as the server sent it, moments as
PostgreSQL writes them.

Where the output is to be JSON, and nobody else will look at it, floats and the like are left to
orjson (`written`). What it would write otherwise than DRF is looked for row by row (an odd float):
a page that has any is not written so.
"""

import datetime
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist
from django.db.models import JSONField, Model
from django.db.models import fields as columns
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init
from rest_framework import fields as drf
from rest_framework import serializers as drf_serializers
from rest_framework.relations import PrimaryKeyRelatedField

from app.rest import compilation
from app.rest.column_converters import (
    ConvertColumn,
    Load,
    column_converter,
    each,
    read_moments,
)
from app.rest.compilation import Convert
from app.rest.computed_fields import Computed, computed
from app.rest.time_zones import current_time_zone
from app.rest.written_columns import AS_IT_IS, GUARDS, Kind, is_plain_float, kind_of, looked_at


class Step(NamedTuple):
    """What a field shows: the column that a path leads to, converted."""

    path: str
    convert: Convert | None
    column: Any


Represent = Callable[[Sequence[Any], Collection[int], Load | None], list[dict[str, Any]]]
Write = Callable[[Sequence[Any], Collection[int], Load | None], list[dict[str, Any]] | None]


@dataclass(frozen=True)
class Record:
    """`paths`: the columns to select, in Django's spelling. `texts` and `moments`: the places of
    those that may come as JSON, and of moments that may come as texts.
    """

    paths: tuple[str, ...]
    texts: frozenset[int]
    moments: frozenset[int]
    of_row: Callable[[Sequence[Any]], dict[str, Any]]
    of_rows: Represent
    of_longer_rows: Represent
    write: Write | None = None
    write_longer: Write | None = None
    is_computed: bool = False
    """Whether a field shows what the model computes of its columns."""

    def represent_one(self, row: Sequence[Any]) -> dict[str, Any]:
        """The output of a row, which may hold more values than `paths`. Raises whatever the
        serializer itself should be asked about.
        """
        return self.of_row(row)

    def represent(
        self, rows: Sequence[Any], texts: Collection[int] = (), load: Load | None = None
    ) -> list[dict[str, Any]]:
        """The output of rows, which may all hold one value more than `paths`. The columns at
        `texts` are JSON, which `load` reads, and moments as texts. Raises as `represent_one`.
        """
        is_longer = bool(rows) and len(rows[0]) > len(self.paths)
        return (self.of_longer_rows if is_longer else self.of_rows)(rows, texts, load)

    def written(
        self, rows: Sequence[Any], texts: Collection[int] = (), load: Load | None = None
    ) -> list[dict[str, Any]] | None:
        """What orjson writes as it would write `represent`'s output; None where it might not.
        Raises as `represent`.
        """
        is_longer = bool(rows) and len(rows[0]) > len(self.paths)
        write = self.write_longer if is_longer else self.write
        return None if write is None else write(rows, texts, load)


_records: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def record_of(cls: Any) -> Record | None:
    """The record of a serializer class; worked out once."""
    record: Record | None = compilation.compiled(_records, cls, _make_record)
    return record


def _make_record(cls: Any) -> Record | None:
    is_model = issubclass(cls, drf_serializers.ModelSerializer)
    if not (is_model and compilation.is_static(cls)):
        return None
    of_one, of_many = _Layout(), _Layout(by_column=True)
    one, many = (layout.read(cls(), cls.Meta.model, "") for layout in (of_one, of_many))
    if not (one and many and of_one.places):
        return None
    record = Record(
        tuple(of_one.places),
        frozenset(of_many.texts),
        frozenset(of_many.moments - of_many.taken),
        of_one.function_of_row(one),
        of_many.function_of_rows(many),
        of_many.function_of_rows(many, "one_more"),
        is_computed=of_one.is_computed,
    )
    of_written = _WrittenLayout(by_column=True)
    written = of_written.read(cls(), cls.Meta.model, "")
    if not written:
        return record
    return replace(
        record,
        write=of_written.function_of_rows(written),
        write_longer=of_written.function_of_rows(written, "one_more"),
    )


class _Layout:
    """The columns of one serializer, and the source of what makes output of them: a dict display,
    which takes a third of the time of a loop over fields.

    In the source `v3` is a row's value at place 3, `c0` a value that was converted with its column.
    Names of fields go into it as literals; everything else that it names is made here.
    """

    def __init__(self, *, by_column: bool = False) -> None:
        self.by_column = by_column
        self.places: dict[str, int] = {}
        self.aliases: dict[str, str] = {}
        #: Where each comes from, of a row, and how it may come as JSON.
        self.columns: list[tuple[str, str, ConvertColumn]] = []
        self.texts: set[int] = set()
        #: Columns of moments that are converted as a whole, and all that are looked at otherwise.
        self.moments: set[int] = set()
        self.taken: set[int] = set()
        self.is_computed = False
        self.known: dict[str, Any] = {
            "UTC": datetime.UTC,
            "is_utc": is_utc_now,
            "read_moments": read_moments,
        }

    def read(self, serializer: Any, model: Any, prefix: str) -> str | None:
        """The expression that makes the output of one object; None when only DRF's code can."""
        if not _is_plain(model):
            return None
        items = []
        for field in serializer.fields.values():
            if field.write_only:
                continue
            if isinstance(field, drf_serializers.BaseSerializer):
                shown = self._nested(field, model, prefix)
            else:
                shown = self._plain(field, model, prefix)
                if shown is None:
                    told = getattr(serializer.Meta, "reads", {})
                    shown = self._computed(computed(field, model, told), prefix)
            if shown is None:
                return None
            items.append(f"{field.field_name!r}: {shown}")
        return f"{{{', '.join(items)}}}"

    def _nested(self, field: Any, model: Any, prefix: str) -> str | None:
        # In the place of a nested object stands its foreign key, which says whether there is one.
        key = _foreign_key(field, model)
        if key is None:
            return None
        path, below = prefix + key.attname, f"{prefix}{key.name}__"
        self.aliases[below + key.target_field.attname] = path  # to Django, too, it is that column
        place = self._select(path)
        self.taken.add(place)
        value = f"v{place}"
        inner = self.read(field, key.related_model, below)
        return None if inner is None else f"(None if {value} is None else {inner})"

    def _plain(self, field: Any, model: Any, prefix: str) -> str | None:
        step = _column(field, model)
        return None if step is None else self._shown(self._select(prefix + step.path), step)

    def _shown(self, place: int, step: Step) -> str | None:
        """The expression of what a field shows of the column at a place."""
        is_json = isinstance(step.column, JSONField)
        of_column = column_converter(step.convert, is_json=is_json) if self.by_column else None
        if of_column is not None:
            if is_json:
                self.texts.add(place)
            elif _is_plain_moment(step.column):
                self.moments.add(place)
            load = "load" if is_json else "read_moments"
            return self._column(f"row[{place}]", f"{load} if {place} in texts else None", of_column)
        self.taken.add(place)
        return self._converted(f"v{place}", step.convert)

    def _column(self, taken: str, load: str, convert: ConvertColumn) -> str:
        self.columns.append((taken, load, convert))
        return f"c{len(self.columns) - 1}"

    def _computed(self, found: Computed | None, prefix: str) -> str | None:
        """The expression of what a field computes."""
        if found is None:
            return None
        self.is_computed = True
        name = f"read_{len(self.known)}"
        self.known[name] = found.read
        places = [self._select(prefix + column) for column in found.columns]
        self.taken.update(places)
        return self._called(name, places)

    def _called(self, name: str, places: list[int]) -> str:
        return f"{name}({', '.join([f'v{place}' for place in places])})"

    def _converted(self, value: str, convert: Convert | None) -> str:
        if convert is None:
            return value
        name = f"convert_{len(self.known)}"
        self.known[name] = convert
        converted = f"{name}({value})"
        if getattr(convert, "is_iso_datetime", False):
            # What the converter does to the usual value, without calling it.
            iso = f"{value}.isoformat()[:-6] + 'Z'"
            converted = f"({iso} if utc and {value}.tzinfo is UTC else {converted})"
        return f"(None if {value} is None else {converted})"

    def _select(self, path: str) -> int:
        return self.places.setdefault(self.aliases.get(path, path), len(self.places))

    def function_of_row(self, shown: str) -> Any:
        return self._compile(
            "def represent(row):\n"
            "    utc = is_utc()\n"
            f"    {self._values()} = row[:{len(self.places)}]\n"
            f"    return {shown}\n"
        )

    def function_of_rows(self, shown: str, *more: str) -> Any:
        lines, items, sources = [], [self._values(*more)], ["rows"]
        for number, (taken, load, convert) in enumerate(self.columns):
            self.known[f"column_{number}"] = convert
            column = f"[{taken} for row in rows]"
            lines.append(f"    c{number}s = column_{number}({column}, {load}, utc)\n")
            items.append(f"c{number}")
            sources.append(f"c{number}s")
        one, all_of_them = items[0], "rows"
        if self.columns:
            one, all_of_them = f"({', '.join(items)},)", f"zip({', '.join(sources)})"
        made = self._made(f"{shown} for {one} in {all_of_them}")
        return self._compile(
            f"def represent(rows, texts, load):\n    utc = is_utc()\n{''.join(lines)}    {made}\n"
        )

    def _made(self, rows: str) -> str:
        return f"return [{rows}]"

    def _values(self, *more: str) -> str:
        return f"({', '.join([f'v{place}' for place in range(len(self.places))] + [*more])},)"

    def _compile(self, source: str) -> Any:
        names = dict(self.known)
        exec(compile(source, "<record>", "exec"), names)  # noqa: S102 - made of names, see above
        return names["represent"]


class _WrittenLayout(_Layout):
    """Of what orjson writes as DRF's encoder would write the output. `guards`: what must hold of
    each row for that.
    """

    def __init__(self, *, by_column: bool = False) -> None:
        super().__init__(by_column=by_column)
        self.guards: dict[str, None] = {}
        self.known |= {"is_plain_float": is_plain_float}

    def _shown(self, place: int, step: Step) -> str | None:
        value = f"v{place}"
        kind = kind_of(step.convert, step.column)
        if kind is Kind.UNKNOWN:
            return None
        if kind in GUARDS:
            self.guards[f"({value} is None or {GUARDS[kind].format(value)})"] = None
        if kind in AS_IT_IS:
            return value
        shown = super()._shown(place, step)
        if kind is Kind.ANY_JSON:
            taken, load, of_column = self.columns[-1]
            self.columns[-1] = taken, load, looked_at(of_column)
        return shown

    def _called(self, name: str, places: list[int]) -> str:
        taken = f"{name}({', '.join([f'row[{place}]' for place in places])})"
        return self._column(taken, "None", looked_at(each(None)))

    def _made(self, rows: str) -> str:
        guards = f" if {' and '.join(self.guards)}" if self.guards else ""
        return f"made = [{rows}{guards}]\n    return made if len(made) == len(rows) else None"


def is_utc_now() -> bool:
    """Whether times are shown in UTC. Tells the converters too."""
    return compilation.look_at_time_zone(current_time_zone())


def _is_plain(model: Any) -> bool:
    """Whether nothing but Django takes part in making the model's instances."""
    return (
        model.from_db.__func__ is Model.from_db.__func__  # type: ignore[attr-defined]
        and not (pre_init.has_listeners(model) or post_init.has_listeners(model))
        and all(cls in (Model, object) or "__init__" not in vars(cls) for cls in model.__mro__)
    )


def _is_plain_moment(column: Any) -> bool:
    """Whether a column is PostgreSQL's `timestamptz`, and nothing but the driver reads it."""
    cls = type(column)
    return (
        isinstance(column, columns.DateTimeField)
        and settings.USE_TZ
        and not hasattr(column, "from_db_value")
        and all(getattr(cls, name) is getattr(columns.DateTimeField, name) for name in _READING)
    )


_READING = ("db_type", "get_db_converters", "select_format")


def _foreign_key(field: Any, model: Any) -> Any:
    """The foreign key that a nested serializer follows, if it follows one and nothing else."""
    if (
        not hasattr(field, "fields")
        or len(field.source_attrs) != 1
        or type(field).get_attribute is not drf.Field.get_attribute
        or not compilation.is_static(type(field))
    ):
        return None
    column = _find(model, field.source)
    one = column is not None and (column.many_to_one or column.one_to_one)
    return column if one and column.concrete and field.Meta.model is column.related_model else None


def _find(model: Any, name: str) -> Any:
    try:
        return model._meta.get_field(model._meta.pk.name if name == "pk" else name)
    except FieldDoesNotExist:
        return None


# What such a column holds is what its converter would make of it.
_AS_IT_IS: dict[Any, tuple[type, ...]] = {
    str: (columns.CharField, columns.TextField),
    int: (columns.IntegerField,),
    float: (columns.FloatField,),
    compilation.convert_boolean: (columns.BooleanField,),
}


def _column(field: Any, model: Any) -> Step | None:
    """What a field shows, by a path from its own model."""
    if isinstance(field, PrimaryKeyRelatedField):
        if compilation.primary_key_step(field, model) is None:
            return None
        key = _find(model, field.source)
        return Step(key.attname, None, key.target_field)
    is_plain = type(field).get_attribute is drf.Field.get_attribute
    convert = compilation.converter(field)
    if (
        not is_plain
        or convert is compilation.UNKNOWN
        or not compilation.is_column_path(model, field.source_attrs)
    ):
        return None
    *relations, name = field.source_attrs
    for relation in relations:
        key = _find(model, relation)
        is_none = field.allow_null and field.default is drf.empty
        if (key.null and not is_none) or not _is_plain(key.related_model):
            return None  # without the object DRF decides by the field's options
        model = key.related_model
    column = _find(model, name)
    descriptor: Any = getattr(model, column.attname, None)
    if type(descriptor) not in (DeferredAttribute, ForeignKeyDeferredAttribute):
        return None
    is_plain = isinstance(column, _AS_IT_IS.get(convert, ())) and (
        not hasattr(column, "from_db_value")
    )
    path = "__".join([*relations, column.attname])
    return Step(path, None if is_plain and not column.choices else convert, column)


__all__ = ["Record", "record_of"]
