"""How the lists are cut: pages for what is counted, cursors for what grows without end."""

from app.rest.pagination import CursorPagination, SizedMixin, SizedPageNumberPagination

MAX_PAGE_SIZE = 1000


class PagePagination(SizedPageNumberPagination):
    max_page_size = MAX_PAGE_SIZE


class UsagePagination(SizedMixin, CursorPagination):
    ordering = ("-at", "container_id")
    max_page_size = MAX_PAGE_SIZE


class EventPagination(SizedMixin, CursorPagination):
    ordering = "position"
    max_page_size = MAX_PAGE_SIZE
