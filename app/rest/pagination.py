"""DRF's pagination, with the counting and the fetching awaited.

DRF's classes decide everything (page numbers, cursors, links) by computing; this module counts and
fetches before or between, and hands them the results.
"""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.paginator import InvalidPage
from django.core.paginator import Paginator as DjangoPaginator
from rest_framework import pagination as drf
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import BasePagination

from app.rest.representation import as_list

__all__ = [
    "BasePagination",
    "CursorPagination",
    "LimitOffsetPagination",
    "PageNumberPagination",
    "SizedMixin",
    "SizedPageNumberPagination",
]


async def acount(queryset: Any) -> int:
    if hasattr(queryset, "acount"):
        return int(await queryset.acount())
    return len(queryset) if isinstance(queryset, Sequence) else int(queryset.count())


class PageNumberPagination(drf.PageNumberPagination):
    """`?page=2&page_size=100`"""

    async def paginate_queryset(
        self, queryset: Any, request: Any, view: Any = None
    ) -> list[Any] | None:
        self.request = request
        page_size = self.get_page_size(request)
        if not page_size:
            return None
        paginator = self.django_paginator_class(queryset, page_size)
        if type(paginator).count is DjangoPaginator.count:
            paginator.count = await acount(queryset)
        page_number = self.get_page_number(request, paginator)
        try:
            self.page = paginator.page(page_number)
        except InvalidPage as exc:
            message = self.invalid_page_message.format(page_number=page_number, message=str(exc))
            raise NotFound(message) from exc
        if paginator.num_pages > 1 and self.template is not None:
            self.display_page_controls = True
        self.page.object_list = await as_list(self.page.object_list)
        return self.page.object_list


class SizedMixin:
    """Pages whose size the client may choose, up to a thousand. What is no size is refused, where
    DRF gives a page of the default size: a client that misspells it would not learn of it.
    """

    page_size_query_param = "page_size"
    max_page_size = 1000

    def get_page_size(self, request: Any) -> Any:
        text = request.query_params.get(self.page_size_query_param)
        if text is not None and not (text.isascii() and text.isdecimal() and text.strip("0")):
            message = f"Write a whole number from 1 to {self.max_page_size}."
            raise ValidationError({self.page_size_query_param: [message]})
        if text is not None and len(text) > len(str(self.max_page_size)):
            return self.max_page_size
        return super().get_page_size(request)  # type: ignore[misc]

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super().get_schema_operation_parameters(view)  # type: ignore[misc]
        for parameter in parameters:
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"] = {"type": "integer", "minimum": 1}
                parameter["description"] = f"At most {self.max_page_size}; more counts as that."
        return parameters


class SizedPageNumberPagination(SizedMixin, PageNumberPagination):
    """`?page=2&page_size=100`, for whoever asks."""


class LimitOffsetPagination(drf.LimitOffsetPagination):
    """`?limit=100&offset=400`"""

    async def paginate_queryset(
        self, queryset: Any, request: Any, view: Any = None
    ) -> list[Any] | None:
        self.request = request
        limit = self.get_limit(request)
        if limit is None:
            return None
        self.limit = limit
        self.count = await acount(queryset)
        self.offset = self.get_offset(request)
        if self.count > self.limit and self.template is not None:
            self.display_page_controls = True
        if self.count == 0 or self.offset > self.count:
            return []
        return await as_list(queryset[self.offset : min(self.offset + self.limit, self.count)])


class _Asked(Exception):  # noqa: N818 - not an error: it carries the question out of DRF's code
    def __init__(self, queryset: Any) -> None:
        self.queryset = queryset


class _Results:
    """Stands for a queryset in DRF's cursor pagination: stops it when it slices, or gives the
    slice.
    """

    def __init__(self, queryset: Any, results: list[Any] | None) -> None:
        self._queryset = queryset
        self._results = results

    def order_by(self, *names: str) -> "_Results":
        return _Results(self._queryset.order_by(*names), self._results)

    def filter(self, **kwargs: Any) -> "_Results":
        if any("\x00" in value for value in kwargs.values() if isinstance(value, str)):
            raise ValueError("U+0000 is in no position")
        return _Results(self._queryset.filter(**kwargs), self._results)

    def __getitem__(self, item: slice) -> list[Any]:
        if self._results is None:
            raise _Asked(self._queryset[item])
        return self._results

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queryset, name)


class CursorPagination(drf.CursorPagination):
    """`?cursor=...`: stable while rows are added."""

    _position_of: Any = None

    async def paginate_queryset(
        self, queryset: Any, request: Any, view: Any = None
    ) -> list[Any] | None:
        paginate = super().paginate_queryset
        try:
            return paginate(_Results(queryset, None), request, view)
        except _Asked as asked:
            results = await as_list(asked.queryset)
        except (TypeError, ValueError, DjangoValidationError) as exc:
            raise NotFound(self.invalid_cursor_message) from exc
        self._position_of = getattr(queryset, "position_of", None)
        return paginate(_Results(queryset, results), request, view)

    def _get_position_from_instance(self, instance: Any, ordering: Any) -> str:
        """DRF's, also of a row of a lane."""
        if self._position_of is None:
            return super()._get_position_from_instance(instance, ordering)
        return str(self._position_of(instance, ordering[0].lstrip("-")))
