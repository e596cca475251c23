"""Pages by cursor are DRF's: the same items, the same links, the same refusals."""

from base64 import b64encode
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework import pagination as drf
from rest_framework.exceptions import NotFound
from rest_framework.request import Request as DRFRequest

from app.rest.pagination import CursorPagination
from tests.rest.test_page_links import request_for


class Shelf:
    """What a cursor's pages ask of a queryset, on a list."""

    def __init__(self, items):
        self.items = items

    def order_by(self, *names):
        items = list(self.items)
        for name in reversed(names):
            items.sort(
                key=lambda item: getattr(item, name.lstrip("-")), reverse=name.startswith("-")
            )
        return Shelf(items)

    def filter(self, **kwargs):
        ((path, text),) = kwargs.items()
        name, comparison = path.split("__")
        bound = int(text)
        kept = {"lt": lambda value: value < bound, "gt": lambda value: value > bound}[comparison]
        return Shelf([item for item in self.items if kept(getattr(item, name))])

    def __getitem__(self, part):
        return self.items[part]


class ByDRF(drf.CursorPagination):
    page_size = 3
    page_size_query_param = "size"


class Ours(CursorPagination):
    page_size = 3
    page_size_query_param = "size"


def seen(paginator, page):
    links = paginator.get_next_link(), paginator.get_previous_link()
    return None if page is None else [item.id for item in page], *links


async def both(items, ordering, query):
    """What DRF and ours make of a request."""
    answers = []
    for kind in (Ours, ByDRF):
        paginator = kind()
        paginator.ordering = ordering
        request = DRFRequest(request_for("/v1/hosts/", query))
        try:
            page = paginator.paginate_queryset(Shelf(items), request)
            answers.append(seen(paginator, await page if kind is Ours else page))
        except (NotFound, ValueError):  # DRF's view answers 500 to a position of another type
            answers.append("refused")
    assert answers[0] == answers[1], query
    return answers[1]


numbers = st.integers(-3, 12)
tokens = st.lists(
    st.tuples(
        st.just("p"), numbers.map(str) | st.sampled_from(["", "x", "1 1", "+2", " 3", "%", "é"])
    )
    | st.tuples(st.just("o"), st.integers(-1, 5) | st.sampled_from(["", "x", 2000]))
    | st.tuples(st.just("r"), st.sampled_from(["0", "1", "1", "2", "x", ""])),
    max_size=3,
)
cursors = (
    st.none()
    | tokens.map(lambda pairs: b64encode(urlencode(pairs).encode()).decode())
    | st.sampled_from(["", "p", "cD0x", "cD0x=", "cA==", "cj0xJnA9Nw==", "w6k=", "cD3DqQ=="])
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.integers(0, 5), max_size=12),
    st.sampled_from(["at", "-at", ("-at", "id"), ["at", "-id"], "id"]),
    cursors,
    st.sampled_from(["", "size=2", "size=x", "a=b&z=1"]),
)
async def test_any_cursor_gives_drfs_page(moments, ordering, cursor, more):
    items = [SimpleNamespace(id=number, at=at) for number, at in enumerate(moments)]
    given_cursor = "" if cursor is None else urlencode({"cursor": cursor})
    await both(items, ordering, "&".join(filter(None, [given_cursor, more])))


@pytest.mark.parametrize("position", ["+2", " 3", "2 ", "%", "1%", "é", "2&r=1", "", "x"])
@pytest.mark.parametrize("prefix", [[], [("r", "1")], [("o", "1")], [("o", "1"), ("r", "1")]])
async def test_any_position_is_read_as_drf_does(prefix, position):
    items = [SimpleNamespace(id=number, at=number) for number in range(7)]
    tokens = urlencode([*prefix, ("p", position)])
    for text in (tokens, tokens.replace("%", ""), f"{tokens}&", f"&{tokens}"):
        cursor = b64encode(text.encode()).decode()
        await both(items, "at", urlencode({"cursor": cursor}))


async def test_all_pages_are_drfs_there_and_back():
    items = [SimpleNamespace(id=number, at=number // 4) for number in range(17)]
    query, count = "", 0
    for link in (1, 2):
        while True:
            answer = await both(items, "-at", query)
            count += 1
            if answer[link] is None:
                break
            query = answer[link].partition("?")[2]
    assert count == 12


pytestmark = pytest.mark.asyncio
