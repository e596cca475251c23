"""What a view's filter backends make of a request, as lookups and values, without a QuerySet.

Only of DRF's and django-filter's own classes, and of filters that compare one column. Where a
request asks for more than that, or a form field refuses a value, `OffLaneError` says that the
backends themselves have to answer.
"""

from decimal import Decimal
from typing import Any, NamedTuple

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.forms import Form
from django_filters.constants import EMPTY_VALUES
from django_filters.filters import Filter, FilterMethod
from django_filters.filterset import BaseFilterSet
from rest_framework import filters as drf

from app.rest.filters import DjangoFilterBackend

COMPARISONS = {"exact", "lt", "lte", "gt", "gte"}
MOST_ORDERINGS = 256
_LIMITS = {"SmallIntegerField": 2**15, "PositiveSmallIntegerField": 2**15, "BigIntegerField": 2**63,
           "BigAutoField": 2**63, "PositiveBigIntegerField": 2**63}  # fmt: skip


class OffLaneError(Exception):
    """This request goes DRF's way."""


class Narrowed(NamedTuple):
    """`lookups`: the marker, the lookup and the column of each comparison; `values` by marker."""

    lookups: tuple[tuple[str, str, Any], ...]
    values: dict[str, Any]
    ordering: tuple[str, ...]


class Comparison(NamedTuple):
    """One filter: its form field, and what it compares. `column` is None for one that a lane does
    not know: it must be absent.
    """

    name: str
    field: Any
    lookup: str
    column: Any


class NarrowFilters:
    """The backends of one view, found out once."""

    def __init__(self) -> None:
        self.comparisons: list[Comparison] = []
        self.search: str | None = None
        self.ordering: Any = None
        self.orderings: dict[str, tuple[str, ...]] = {}

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
            elif backend is drf.OrderingFilter:
                narrow.ordering = backend()
            else:
                return None
        return narrow

    def read(self, request: Any, view: Any) -> Narrowed:
        """Raises OffLaneError."""
        if not request.META.get("QUERY_STRING"):
            return Narrowed((), {}, self._ordering("", request, view))
        query = request.query_params
        if self.search is not None and self.search in query:
            raise OffLaneError
        lookups, values = [], {}
        for one in self.comparisons:
            value = one.field.widget.value_from_datadict(query, {}, one.name)
            if value in EMPTY_VALUES:
                continue
            value = _cleaned(one, value)
            if value not in EMPTY_VALUES:
                check_value(one.column, value)
                lookups.append((f"f_{one.name}", one.lookup, one.column))
                values[f"f_{one.name}"] = value
        parameter = "" if self.ordering is None else query.get(self.ordering.ordering_param) or ""
        return Narrowed(tuple(lookups), values, self._ordering(parameter, request, view))

    def _ordering(self, parameter: str, request: Any, view: Any) -> tuple[str, ...]:
        if self.ordering is None:
            return ()
        ordering = self.orderings.get(parameter)
        if ordering is None:
            if len(self.orderings) >= MOST_ORDERINGS:
                self.orderings.clear()
            found = self.ordering.get_ordering(request, view.queryset, view)
            ordering = self.orderings[parameter] = tuple(found or ())
        return ordering


def _cleaned(one: Comparison, value: Any) -> Any:
    if one.column is None:
        raise OffLaneError
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
        found.append(Comparison(name, field, *_compared(one, view.queryset.model)))
    return found


def _plain_filterset(cls: Any) -> Any:
    """django-filter's own class above this one."""
    return next(one for one in cls.__mro__ if one.__module__.startswith("django_filters."))


def _passes_over_nothing(one: Any) -> bool:
    """Whether the filter is known to leave a QuerySet alone when it is given no value."""
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


def check_value(column: Any, value: Any) -> None:
    """Raises OffLaneError for what the server would refuse to compare the column with."""
    kind = column.get_internal_type()
    if "Integer" in kind or "Auto" in kind:
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            raise OffLaneError from None
        if abs(number) >= _LIMITS.get(kind, 2**31):
            raise OffLaneError
    is_number = isinstance(value, int | float | Decimal)
    if is_number and not abs(value) < 2**63:
        raise OffLaneError
    if isinstance(value, str) and "\x00" in value:
        raise OffLaneError


__all__ = ["Comparison", "NarrowFilters", "Narrowed", "OffLaneError", "check_value"]
