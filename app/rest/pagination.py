"""DRF's pagination, with the counting and the fetching awaited.

DRF's classes decide everything (page numbers, cursors, links) by computing; this module counts and
fetches before or between, and hands them the results.
"""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import quote_plus

from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.paginator import InvalidPage, Page
from django.core.paginator import Paginator as DjangoPaginator
from rest_framework import pagination as drf
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import BasePagination

from app.rest.asgi_requests import parameter_of
from app.rest.bridges import bridged
from app.rest.page_links import link
from app.rest.query_strings import LONGEST_KNOWN, unescaped
from app.rest.representation import as_list
from app.rest.response import Response

__all__ = [
    "BasePagination",
    "CursorPagination",
    "LimitOffsetPagination",
    "PageNumberPagination",
    "SizedLimitOffsetPagination",
    "SizedMixin",
    "SizedPageNumberPagination",
]


_NOT_BASE64 = re.compile("[^A-Za-z0-9+/=]")


def _head(paginator: Any, **count: int) -> dict[str, Any]:
    links = {"next": paginator.get_next_link(), "previous": paginator.get_previous_link()}
    return {**count, **links}


def _response(paginator: Any, data: Any, **count: int) -> Response:
    """What DRF's paginators answer, of this project's class."""
    return Response({**_head(paginator, **count), "results": data})


async def acount(queryset: Any) -> int:
    if hasattr(queryset, "acount"):
        return int(await queryset.acount())
    return len(queryset) if isinstance(queryset, Sequence) else int(queryset.count())


class PageNumberPagination(drf.PageNumberPagination):
    """`?page=2&page_size=100`"""

    @bridged
    async def paginate_queryset(
        self, queryset: Any, request: Any, view: Any = None
    ) -> list[Any] | None:
        self.request = request
        page_size = self.get_page_size(request)
        if not page_size:
            return None
        paginator = self.django_paginator_class(queryset, page_size)
        number = self._plain_number()
        if type(paginator).count is DjangoPaginator.count:
            if number is not None and hasattr(queryset, "look_ahead"):
                start = (number - 1) * page_size
                queryset.look_ahead(start, start + page_size)
            paginator.count = await acount(queryset)
        if number and type(paginator) is DjangoPaginator and number <= paginator.num_pages:
            start, size = (number - 1) * paginator.per_page, paginator.per_page
            part = queryset[start : min(start + size, paginator.count)]
            self.page = Page(part, number, paginator)
        else:
            self.page = self._asked_page(request, paginator)
        if paginator.num_pages > 1 and self.template is not None:
            self.display_page_controls = True
        self.page.object_list = await as_list(self.page.object_list)
        return self.page.object_list

    def _plain_number(self) -> int | None:
        """The number that is asked for; None if it is for DRF to find out."""
        if type(self).get_page_number is not drf.PageNumberPagination.get_page_number:
            return None
        text = parameter_of(self.request, self.page_query_param) or "1"
        is_number = len(text) < 10 and text.isascii() and text.isdecimal()
        return int(text) if is_number and text not in self.last_page_strings else None

    def _asked_page(self, request: Any, paginator: Any) -> Any:
        page_number = self.get_page_number(request, paginator)
        try:
            return paginator.page(page_number)
        except InvalidPage as exc:
            message = self.invalid_page_message.format(page_number=page_number, message=str(exc))
            raise NotFound(message) from exc

    def get_paginated_response(self, data: Any) -> Response:
        return _response(self, data, count=self.page.paginator.count)

    def get_next_link(self) -> str | None:
        page = self.page
        if not page.has_next():
            return None
        number = page.number + 1 if type(page) is Page else page.next_page_number()
        return link(self.request, self.page_query_param, number)

    def get_previous_link(self) -> str | None:
        page = self.page
        if not page.has_previous():
            return None
        number = page.number - 1 if type(page) is Page else page.previous_page_number()
        return link(self.request, self.page_query_param, None if number == 1 else number)


def is_beyond(request: Any, name: str, least: int, most: int) -> bool:
    """Whether a parameter is a number above `most`. Raises ValidationError for what is no number,
    or one below `least`: 0 or 1.
    """
    text = parameter_of(request, name)
    if text is None:
        return False
    if not (text.isascii() and text.isdecimal() and text.strip("0") >= "1" * least):
        raise ValidationError({name: [f"Write a whole number from {least} to {most}."]})
    return len(text) > len(str(most)) or int(text) > most


class SizedMixin:
    """Pages whose size the client may choose, up to a thousand. What is no size is refused, where
    DRF gives a page of the default size: a client that misspells it would not learn of it.
    """

    page_size_query_param = "page_size"
    max_page_size = 1000
    invalid_page_message = (
        "page: {message}. Write a whole number from 1 on, or follow the links of an answer."
    )
    invalid_cursor_message = (
        "cursor: this is none of this list's. Follow `next` or `previous` of an answer, or leave it"
        " out to start at the beginning."
    )

    def get_page_size(self, request: Any) -> Any:
        if parameter_of(request, self.page_size_query_param) is None:
            return self.page_size  # type: ignore[attr-defined]
        if is_beyond(request, self.page_size_query_param, 1, self.max_page_size):
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

    @bridged
    async def paginate_queryset(
        self, queryset: Any, request: Any, view: Any = None
    ) -> list[Any] | None:
        self.request = request
        limit = self.get_limit(request)
        if limit is None:
            return None
        self.limit = limit
        self.offset = self.get_offset(request)
        if hasattr(queryset, "look_ahead"):
            queryset.look_ahead(self.offset, self.offset + limit)
        self.count = await acount(queryset)
        if self.count > self.limit and self.template is not None:
            self.display_page_controls = True
        if self.count == 0 or self.offset > self.count:
            return []
        return await as_list(queryset[self.offset : min(self.offset + self.limit, self.count)])

    def get_paginated_response(self, data: Any) -> Response:
        return _response(self, data, count=self.count)


class SizedLimitOffsetPagination(LimitOffsetPagination):
    """`?limit=100&offset=400`. What is no number is refused, where DRF takes the default."""

    max_limit = SizedMixin.max_page_size
    max_offset = 10**9

    def get_limit(self, request: Any) -> Any:
        if is_beyond(request, self.limit_query_param, 1, self.max_limit):
            return self.max_limit
        return super().get_limit(request)

    def get_offset(self, request: Any) -> int:
        if is_beyond(request, self.offset_query_param, 0, self.max_offset):
            return self.max_offset
        return super().get_offset(request)


class CursorPagination(drf.CursorPagination):
    """`?cursor=...`: stable while rows are added."""

    _position_of: Any = None

    @cached_property
    def base_url(self) -> str:  # of DRF; for a subclass that makes its own links
        return str(self.request.build_absolute_uri())

    @bridged
    async def paginate_queryset(
        self, queryset: Any, request: Any, view: Any = None
    ) -> list[Any] | None:
        """DRF's, which fetches in the middle of it."""
        self.request = request
        self.page_size = self.get_page_size(request)
        if not self.page_size:
            return None
        self.ordering = self.get_ordering(request, queryset, view)
        self.cursor = self.decode_cursor(request)
        offset, reverse, position = self.cursor or (0, False, None)
        try:
            rows = self._from(queryset, position, reverse=reverse)
            asked = rows[offset : offset + self.page_size + 1]
        except (TypeError, ValueError, DjangoValidationError) as exc:
            raise NotFound(self.invalid_cursor_message) from exc
        found = await as_list(asked)
        self._position_of = getattr(queryset, "position_of", None)
        self.page = found[: self.page_size]
        has_more, beyond = len(found) > len(self.page), None
        if has_more:
            beyond = self._get_position_from_instance(found[-1], self.ordering)
        was_before = position is not None or offset > 0
        if reverse:
            self.page.reverse()
            self.has_next, self.next_position = was_before, position
            self.has_previous, self.previous_position = has_more, beyond
        else:
            self.has_next, self.next_position = has_more, beyond
            self.has_previous, self.previous_position = was_before, position
        if (self.has_previous or self.has_next) and self.template is not None:
            self.display_page_controls = True
        return self.page

    def _from(self, queryset: Any, position: str | None, *, reverse: bool) -> Any:
        """The rows beyond a position, in the direction of the cursor. Raises what the queryset
        raises for a position that is none.
        """
        order: str = self.ordering[0]
        ordering = drf._reverse_ordering(self.ordering) if reverse else self.ordering
        queryset = queryset.order_by(*ordering)
        if position is None:
            return queryset
        if isinstance(position, str) and "\x00" in position:
            raise ValueError("U+0000 is in no position")
        comparison = "lt" if reverse != order.startswith("-") else "gt"
        return queryset.filter(**{f"{order.lstrip('-')}__{comparison}": position})

    def get_ordering(self, request: Any, queryset: Any, view: Any) -> Any:
        """DRF's. A lane's shelf knows what the view's filter makes of the request."""
        known = getattr(queryset, "known_ordering", None)
        if known is None:
            return super().get_ordering(request, queryset, view)
        return known or super().get_ordering(request, queryset, None)

    def decode_cursor(self, request: Any) -> Any:
        """DRF's, which passes over characters that no cursor has."""
        encoded = parameter_of(request, self.cursor_query_param)
        if encoded is None:
            return None
        if _NOT_BASE64.search(encoded):
            raise NotFound(self.invalid_cursor_message)
        read = _plain_cursor if len(encoded) <= LONGEST_KNOWN else _plain_cursor.__wrapped__
        plain = read(encoded)
        return super().decode_cursor(request) if plain is None else plain

    def get_paginated_response(self, data: Any) -> Response:
        return _response(self, data)

    def get_next_link(self) -> str | None:
        if not self.has_next:
            return None
        return self._edge_link(-1, self.next_position, reverse=False) or super().get_next_link()

    def get_previous_link(self) -> str | None:
        if not self.has_previous:
            return None
        edge = self._edge_link(0, self.previous_position, reverse=True)
        return edge or super().get_previous_link()

    def _edge_link(self, place: int, beyond: str | None, *, reverse: bool) -> str | None:
        """The link from a row at the edge of the page, if none beyond it has the same position:
        the usual case. None where DRF has to count rows of one position.
        """
        if not self.page or (self.cursor and self.cursor.offset):
            return None
        position = self._get_position_from_instance(self.page[place], self.ordering)
        if position == beyond:
            return None
        return self.encode_cursor(drf.Cursor(0, reverse, position))

    def encode_cursor(self, cursor: Any) -> str:
        """DRF's: the URL of the page at this cursor."""
        request = getattr(self, "request", None)
        if request is None:
            return str(super().encode_cursor(cursor))
        offset, reverse, position = cursor
        tokens = [f"o={offset}"] if offset else []
        if reverse:
            tokens.append("r=1")
        if position is not None:
            tokens.append(f"p={_escaped(position)}")
        encoded = b2a_base64("&".join(tokens).encode("ascii"), newline=False).decode("ascii")
        return link(request, self.cursor_query_param, encoded)

    def _get_position_from_instance(self, instance: Any, ordering: Any) -> str:
        """DRF's, also of a row of a lane."""
        if self._position_of is None:
            return super()._get_position_from_instance(instance, ordering)
        return str(self._position_of(instance, ordering[0].lstrip("-")))


_HEADS: dict[Any, Callable[[Any], dict[str, Any]]] = {
    PageNumberPagination.get_paginated_response: (
        lambda paginator: _head(paginator, count=paginator.page.paginator.count)
    ),
    LimitOffsetPagination.get_paginated_response: (
        lambda paginator: _head(paginator, count=paginator.count)
    ),
    CursorPagination.get_paginated_response: _head,
}


def page_head(paginator: Any) -> dict[str, Any] | None:
    """What stands before `results` in an answer; None where the paginator makes its own."""
    make = _HEADS.get(getattr(type(paginator), "get_paginated_response", None))
    return None if make is None else make(paginator)


_PLAIN_POSITION = re.compile(r"[\w.~ :+-]*", re.ASCII)


def _escaped(position: str) -> str:
    """`quote_plus(position)`: of a number or a moment, without taking it apart."""
    if not _PLAIN_POSITION.fullmatch(position):
        return quote_plus(position)
    return position.replace("+", "%2B").replace(":", "%3A").replace(" ", "+")


_PLAIN_CURSOR = re.compile(r"(r=1&)?p=([^&]*)")


@lru_cache(maxsize=256)
def _plain_cursor(encoded: str) -> Any:
    """What `encode_cursor` made of a position without an offset; None if this is something else."""
    try:
        match = _PLAIN_CURSOR.fullmatch(a2b_base64(encoded).decode("ascii"))
    except ValueError:
        return None
    if match is None:
        return None
    return drf.Cursor(0, match[1] is not None, unescaped(match[2]))
