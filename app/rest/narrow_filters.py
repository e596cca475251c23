"""What a view's filter backends make of a request, as lookups and values, without a QuerySet.

Only of DRF's and django-filter's own classes, and of filters that compare one column. Where a
request asks for more than that, or a form field refuses a value, `OffLaneError` says that the
backends themselves have to answer. A `filter()` of a filter's own is marked
(`filters.passes_over_nothing`) if it leaves a QuerySet alone when there is no value.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.validators import DecimalValidator, MaxValueValidator
from django.forms import CharField, Form, Widget
from django.forms import DecimalField as NumberField
from django_filters.constants import EMPTY_VALUES
from django_filters.filters import Filter, FilterMethod
from django_filters.filterset import BaseFilterSet
from rest_framework import filters as drf

from app.rest.asgi_requests import untouched_query
from app.rest.filters import PASSES_OVER_NOTHING, DjangoFilterBackend, KnownOrderingFilter
from app.rest.query_strings import LONGEST_KNOWN

COMPARISONS = {"exact", "lt", "lte", "gt", "gte"}
MOST_ORDERINGS = 256
MOST_QUERIES = 128
LONGEST_ORDERING = 256  # characters; what strangers send shall not fill the memory
_LIMITS = {"SmallIntegerField": 2**15, "PositiveSmallIntegerField": 2**15, "BigIntegerField": 2**63,
           "BigAutoField": 2**63, "PositiveBigIntegerField": 2**63}  # fmt: skip


class OffLaneError(Exception):
    """This request goes DRF's way."""


class Narrowed(NamedTuple):
    """`comparisons` that a request asks for; their `values` by marker."""

    comparisons: "tuple[Comparison, ...]"
    values: dict[str, Any]
    ordering: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Comparison:
    """One filter: its form field, and what it compares. `column` is None for one that a lane does
    not know: it must be absent.
    """

    name: str
    field: Any
    lookup: str
    column: Any
    is_one_value: bool
    """Whether its widget looks at the parameter of its name, and at no other."""
    is_number: bool
    """Whether its field makes a Decimal of any text of a few digits."""
    is_steady: bool
    """Whether its field makes the same of a text whenever it is asked."""
    marker: str
    limit: int | None
    """`limit_of` its column."""


class NarrowFilters:
    """The backends of one view, found out once."""

    def __init__(self) -> None:
        self.comparisons: list[Comparison] = []
        self.search: str | None = None
        self.ordering: Any = None
        self.orderings: dict[str, tuple[str, ...]] = {}
        #: By query, where its values are the same whoever asks, and whenever.
        self.known: dict[str, Narrowed] = {}

    @classmethod
    def of(cls, view: Any) -> "NarrowFilters | None":
        """None when a backend, or a filter of it, may do what only itself knows."""
        narrow = cls()
        for backend in view.filter_backends:
            if backend is DjangoFilterBackend:
                found = _comparisons(view)
                if found is None:
                    return None
                narrow.comparisons = found
            elif backend is drf.SearchFilter:
                narrow.search = backend.search_param
            elif backend in (drf.OrderingFilter, KnownOrderingFilter) and narrow.ordering is None:
                narrow.ordering = backend()
            else:
                return None
        return narrow

    def read(self, request: Any, view: Any) -> Narrowed:
        """Raises OffLaneError."""
        if not request.META.get("QUERY_STRING"):
            return Narrowed((), {}, self._ordering("", request, view))
        text = untouched_query(request)
        found = None if text is None else self.known.get(text)
        if found is None:
            found, is_steady = self._read(request.query_params, request, view)
            if is_steady and text is not None and len(text) <= LONGEST_KNOWN:
                if len(self.known) >= MOST_QUERIES:
                    self.known.clear()
                self.known[text] = found
        return found

    def _read(self, query: Any, request: Any, view: Any) -> tuple[Narrowed, bool]:
        """And whether it is so whenever it is asked. Raises OffLaneError."""
        if self.search is not None and self.search in query:
            raise OffLaneError
        comparisons, values, is_steady = [], {}, True
        for one in self.comparisons:
            if not one.is_one_value:
                value = one.field.widget.value_from_datadict(query, {}, one.name)
            elif one.name in query:
                value = query[one.name]
            else:
                continue
            if not value and value in EMPTY_VALUES:
                continue
            value = _cleaned(one, value)
            is_steady = is_steady and one.is_steady
            if value or value not in EMPTY_VALUES:
                check_value(one.limit, value)
                comparisons.append(one)
                values[one.marker] = value
        parameter = "" if self.ordering is None else query.get(self.ordering.ordering_param) or ""
        ordering = self._ordering(parameter, request, view)
        return Narrowed(tuple(comparisons), values, ordering), is_steady

    def _ordering(self, parameter: str, request: Any, view: Any) -> tuple[str, ...]:
        if self.ordering is None:
            return ()
        ordering = self.orderings.get(parameter)
        if ordering is None:
            if len(self.orderings) >= MOST_ORDERINGS:
                self.orderings.clear()
            ordering = tuple(self.ordering.get_ordering(request, view.queryset, view) or ())
            if len(parameter) <= LONGEST_ORDERING:
                self.orderings[parameter] = ordering
        return ordering


def _cleaned(one: Comparison, value: Any) -> Any:
    if one.column is None:
        raise OffLaneError
    is_short = one.is_number and type(value) is str and len(value) < _MOST_DIGITS
    if is_short and value.isascii() and value.isdecimal():
        return int(value) if one.limit is not None else Decimal(value)
    try:
        return one.field.clean(value)
    except ValidationError:
        raise OffLaneError from None


def _comparisons(view: Any) -> list[Comparison] | None:
    cls = DjangoFilterBackend().get_filterset_class(view, view.queryset)
    if cls is None:
        return []
    base = BaseFilterSet
    own = ("__init__", "is_valid", "errors", "filter_queryset", "qs", "get_form_class", "form")
    if any(getattr(cls, name) is not getattr(_plain_filterset(cls), name) for name in own):
        return None
    filterset = cls(data={}, queryset=view.queryset.none())
    form = filterset.form
    if cls._meta.form is not Form or not isinstance(filterset, base):
        return None
    found = []
    for name, field in form.fields.items():
        one = filterset.filters[name]
        if field.required or not _passes_over_nothing(one):
            return None
        reads = type(field.widget).value_from_datadict
        is_one_value = reads is Widget.value_from_datadict
        lookup, column = _compared(one, view.queryset.model)
        is_number = is_one_value and _takes_numbers(field)
        limit = None if column is None else limit_of(column)
        is_steady = is_one_value and _is_steady(field)
        marker = f"f_{name}"
        found.append(
            Comparison(
                name, field, lookup, column, is_one_value, is_number, is_steady, marker, limit
            )
        )
    return found


_MOST_DIGITS = 19


def _takes_numbers(field: Any) -> bool:
    return (
        type(field) is NumberField and not field.localize and all(map(_is_wide, field.validators))
    )


def _is_steady(field: Any) -> bool:
    return type(field) in (NumberField, CharField) and all(
        type(validator).__module__ == "django.core.validators" for validator in field.validators
    )


def _is_wide(validator: Any) -> bool:
    if type(validator) is DecimalValidator:
        return validator.max_digits is validator.decimal_places is None
    limit = getattr(validator, "limit_value", None)
    return type(validator) is MaxValueValidator and type(limit) is float and limit >= 1e19


def _plain_filterset(cls: Any) -> Any:
    """django-filter's own class above this one."""
    return next(one for one in cls.__mro__ if one.__module__.startswith("django_filters."))


def _passes_over_nothing(one: Any) -> bool:
    """Whether the filter is known to leave a QuerySet alone when it is given no value."""
    if hasattr(type(one).filter, PASSES_OVER_NOTHING):
        return True
    if isinstance(one.filter, FilterMethod):
        return type(one.filter) is FilterMethod
    return str(type(one).filter.__module__).startswith("django_filters.")


def _compared(one: Any, model: Any) -> tuple[str, Any]:
    is_plain = not isinstance(one.filter, FilterMethod) and type(one).filter is Filter.filter
    if not is_plain or one.distinct or one.exclude or one.lookup_expr not in COMPARISONS:
        return "", None
    column = _column(model, one.field_name)
    return f"{one.field_name}__{one.lookup_expr}", column


def _column(model: Any, path: str) -> Any:
    """The column at the end of a path over foreign keys, or None."""
    *relations, name = path.split("__")
    try:
        for relation in relations:
            key = model._meta.get_field(relation)
            if not (key.concrete and key.many_to_one):
                return None
            model = key.related_model
    except FieldDoesNotExist:
        return None
    name = model._meta.pk.name if name == "pk" else name
    for column in model._meta.concrete_fields:
        if name in (column.name, column.attname):
            return column.target_field if column.is_relation else column
    return None


def limit_of(column: Any) -> int | None:
    """The number that the values of a column of whole numbers stay below; None of any other."""
    kind: str = column.get_internal_type()
    return _LIMITS.get(kind, 2**31) if "Integer" in kind or "Auto" in kind else None


def check_value(limit: int | None, value: Any) -> None:
    """Raises OffLaneError for what the server would refuse to compare a column of this limit
    with.
    """
    if limit is not None:
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            raise OffLaneError from None
        if abs(number) >= limit:
            raise OffLaneError
    if isinstance(value, str) and "\x00" in value:
        raise OffLaneError
    is_number = isinstance(value, int | float | Decimal)
    if is_number and not abs(value) < 2**63:
        raise OffLaneError


__all__ = ["Comparison", "NarrowFilters", "Narrowed", "OffLaneError", "check_value", "limit_of"]
