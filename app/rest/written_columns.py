"""What orjson writes of a column's values, as DRF's encoder would write what a field makes of them.

A column's kind says which of its values it may be given as they come from the server, and what has
to be looked at in each row before: orjson writes a float with an exponent otherwise than Python, a
moment in another time zone than UTC otherwise than DRF, an infinity as null.
"""

from enum import Enum, auto
from typing import Any

from django.db.models import JSONField
from django.db.models import fields as columns
from rest_framework import fields as drf

from app.rest.column_converters import Column, ConvertColumn, Load
from app.rest.compilation import Convert
from app.rest.renderers import is_written_alike


class Kind(Enum):
    PLAIN = auto()
    """The values are written as they are."""
    FLOAT = auto()
    """So they are, but for odd ones."""
    CONVERTED = auto()
    """What their converter makes is written as it is, or not at all."""
    TEXTS = auto()
    """JSON that is converted to objects of texts."""
    ANY_JSON = auto()
    """JSON in which there may be any float."""
    UNKNOWN = auto()


#: Kinds whose values need no converter.
AS_IT_IS = {Kind.PLAIN, Kind.FLOAT}

#: What must hold of a value that is not None.
GUARDS = {Kind.FLOAT: "1e-4 <= {0} < 1e16 or {0} == 0 or is_plain_float({0})"}


def is_plain_float(value: float) -> bool:
    """Whether Python writes it, which is not 0, without an exponent."""
    return 1e-4 <= abs(value) < 1e16


_PLAIN = (columns.CharField, columns.TextField, columns.IntegerField, columns.BooleanField)
_CONVERTS_TO_TEXT = {
    drf.DateField.to_representation,
    drf.DecimalField.to_representation,
    drf.DurationField.to_representation,
    drf.TimeField.to_representation,
    drf.UUIDField.to_representation,
}


def looked_at(convert: ConvertColumn) -> ConvertColumn:
    """The converter of a column of anything, which raises ValueError where DRF's encoder may write
    what is in it otherwise, or refuse it.
    """

    def convert_column(column: Column, load: Load | None, utc: bool) -> Column:
        converted = convert(column, load, utc)
        if not is_written_alike(converted):
            raise ValueError("Written otherwise.")
        return converted

    return convert_column


def kind_of(convert: Convert | None, column: Any) -> Kind:
    """That of a column whose values a field converts so."""
    if _is_plain_json(column):
        return Kind.TEXTS if getattr(convert, "is_text_by_name", False) else Kind.ANY_JSON
    if hasattr(column, "from_db_value"):
        return Kind.UNKNOWN
    if convert is None:
        return _kind_of_values(column)
    if getattr(convert, "is_iso_datetime", False):
        return Kind.CONVERTED if isinstance(column, columns.DateTimeField) else Kind.UNKNOWN
    return Kind.CONVERTED if convert in (str, int) else _kind_of_field(convert, column)


def _is_plain_json(column: Any) -> bool:
    return (
        isinstance(column, JSONField)
        and column.decoder is None
        and type(column).from_db_value is JSONField.from_db_value
    )


def _kind_of_field(convert: Any, column: Any) -> Kind:
    """Of a column that is converted by a field's own method."""
    field: Any = getattr(convert, "__self__", None)
    function = getattr(convert, "__func__", None)
    if function is drf.ChoiceField.to_representation:
        return Kind.PLAIN if _shows_as_it_is(field, column) else Kind.UNKNOWN
    if function is drf.DateTimeField.to_representation:
        has_format = isinstance(getattr(field, "format", None), str)
        return Kind.CONVERTED if has_format else Kind.UNKNOWN
    if function is drf.UUIDField.to_representation and type(column) is columns.UUIDField:
        return Kind.PLAIN if field.uuid_format == "hex_verbose" else Kind.CONVERTED
    return Kind.CONVERTED if function in _CONVERTS_TO_TEXT else Kind.UNKNOWN


def _kind_of_values(column: Any) -> Kind:
    if isinstance(column, columns.FloatField):
        return Kind.FLOAT
    is_plain = isinstance(column, _PLAIN) or type(column) is columns.UUIDField
    return Kind.PLAIN if is_plain else Kind.UNKNOWN


def _shows_as_it_is(field: Any, column: Any) -> bool:
    """Whether the choices are of the column's own type, so that any value stays what it is."""
    own = int if isinstance(column, columns.IntegerField) else str
    is_plain = isinstance(column, columns.CharField | columns.TextField | columns.IntegerField)
    return is_plain and all(type(choice) is own for choice in field.choices)


__all__ = ["AS_IT_IS", "GUARDS", "Kind", "is_plain_float", "kind_of", "looked_at"]
