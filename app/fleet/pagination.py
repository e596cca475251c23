"""How the lists are cut: pages for what is counted, cursors for what grows without end."""

from app.rest.pagination import CursorPagination, PageNumberPagination

MAX_PAGE_SIZE = 1000


class PagePagination(PageNumberPagination):
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE_SIZE


class UsagePagination(CursorPagination):
    ordering = ("-at", "container_id")
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE_SIZE


class EventPagination(CursorPagination):
    ordering = "position"
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE_SIZE
