"""DRF's filter backends and django-filter's. They build queries and never run them.

A filter on a relation (ModelChoiceFilter) must know that the object exists: its form fields get
their objects beforehand, one query each.
"""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.template import loader
from django_filters.rest_framework import DjangoFilterBackend as BaseDjangoFilterBackend
from django_filters.rest_framework import FilterSet
from rest_framework.exceptions import ValidationError
from rest_framework.filters import (
    BaseFilterBackend,
    OrderingFilter,
    SearchFilter,
    UnaccentedSearchFilter,
)
from rest_framework.settings import api_settings

from app.rest.bridges import bridged

__all__ = [
    "BaseFilterBackend",
    "DjangoFilterBackend",
    "FilterSet",
    "KnownOrderingFilter",
    "OrderingFilter",
    "SearchFilter",
    "UnaccentedSearchFilter",
    "passes_over_nothing",
]

PASSES_OVER_NOTHING = "_passes_over_nothing"


def passes_over_nothing(method: Any) -> Any:
    """Mark a filter's own `filter()` that leaves a QuerySet alone when it is given no value: then
    a list that has such a filter keeps its lane (`app.rest.lanes`) while nobody asks for it.
    """
    setattr(method, PASSES_OVER_NOTHING, True)
    return method


class DjangoFilterBackend(BaseDjangoFilterBackend):
    """django-filter's backend: `filterset_class` or `filterset_fields` of the view."""

    @bridged
    async def filter_queryset(self, request: Any, queryset: Any, view: Any) -> Any:
        filterset = self.get_filterset(request, queryset, view)
        if filterset is None:
            return queryset
        await aresolve_choices(filterset.form)
        if not filterset.is_valid() and self.raise_exception:
            from django_filters import utils

            raise utils.translate_validation(filterset.errors)
        return filterset.qs

    async def ato_html(self, request: Any, queryset: Any, view: Any) -> str | None:
        """The filter form of the browsable API, with the objects that relations choose from."""
        filterset = self.get_filterset(request, queryset, view)
        if filterset is None:
            return None
        await aresolve_choices(filterset.form, listed=True)
        html: str = loader.get_template(self.template).render({"filter": filterset}, request)
        return html


class KnownOrderingFilter(OrderingFilter):
    """DRF's. A name that nothing can be ordered by is refused, where DRF orders as if none was
    given: a client that misspells it would not learn of it.
    """

    def remove_invalid_fields(
        self, queryset: Any, fields: list[str], view: Any, request: Any
    ) -> list[str]:
        asked = [name for name in fields if name]
        known: list[str] = super().remove_invalid_fields(queryset, asked, view, request)
        if len(known) < len(asked):
            unknown = next(name for name in asked if name not in known)
            valid = self.get_valid_fields(queryset, view, {"request": request})
            names = ", ".join(name for name, _ in valid)
            message = f"{unknown[:100]!r} is nothing to order by. There is: {names}."
            raise ValidationError({self.ordering_param: [message]})
        return known


class _Chosen:
    """Stands for a choice field's queryset: answers from what was found beforehand."""

    _prefetch_related_lookups = ()

    def __init__(self, queryset: Any, found: list[Any], listed: list[Any]) -> None:
        self.queryset = queryset
        self.model = queryset.model
        self.found = found
        self.listed = listed

    def iterator(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        return iter(self.listed)

    def exists(self) -> bool:
        return bool(self.listed)

    def all(self) -> "_Chosen":
        return self

    def get(self, **kwargs: Any) -> Any:
        ((key, value),) = kwargs.items()
        for obj in self.found:
            if str(getattr(obj, key)) == str(value):
                return obj
        raise self.model.DoesNotExist

    def filter(self, **kwargs: Any) -> Any:
        queryset = self.queryset.filter(**kwargs)
        queryset._result_cache = self.found
        return queryset

    def __getattr__(self, name: str) -> Any:
        return getattr(self.queryset, name)


async def aresolve_choices(form: forms.Form, *, listed: bool = False) -> None:
    """Give each relational field of a form the objects that its data names; `listed`, all others
    too, up to HTML_SELECT_CUTOFF, to choose from.
    """
    for name, field in form.fields.items():
        if isinstance(field, forms.ModelChoiceField) and field.queryset is not None:
            choice: Any = field
            value = field.widget.value_from_datadict(form.data, form.files, form.add_prefix(name))
            values = value if isinstance(value, list | tuple) else [value]
            found = await _find(field, [one for one in values if one not in field.empty_values])
            cutoff = api_settings.HTML_SELECT_CUTOFF
            rows = [obj async for obj in field.queryset.all()[:cutoff]] if listed else []
            choice._queryset = _Chosen(field.queryset, found, rows)
            choice.widget.choices = choice.choices  # the widget kept those of the old queryset


async def _find(field: Any, values: list[Any]) -> list[Any]:
    key = field.to_field_name or "pk"
    target = field.queryset.model._meta
    column = target.pk if key == "pk" else target.get_field(key)
    keys = set()
    for value in values:
        try:
            keys.add(column.to_python(value))
        except forms.ValidationError:
            continue
    keys = {key for key in keys if not isinstance(key, int) or abs(key) < 2**63}
    if not keys:
        return []
    return [obj async for obj in field.queryset.filter(**{f"{key}__in": keys})]
