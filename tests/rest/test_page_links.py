"""Links that are put together from plain parts are those that DRF makes."""

from hypothesis import given
from hypothesis import strategies as st
from rest_framework.utils.urls import remove_query_param, replace_query_param

from app.rest.asgi_requests import ASGIRequest
from app.rest.bodies import Body
from app.rest.page_links import link

WORDS = st.sampled_from(
    [
        "page",
        "a",
        "b.c",
        "page_size",
        "x-1",
        "~",
        "ü",
        "%20",
        "a+b",
        "",
        "[",
        "cD0%3D",
        "%3d",
        "a%2Bb%2F",
    ]
)


def request_for(path: str, query: str) -> ASGIRequest:
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"host", b"testserver")],
        "scheme": "http",
    }
    return ASGIRequest(scope, Body(scope, None, None))  # type: ignore[arg-type]


@given(
    path=st.lists(st.sampled_from(["v1", "hosts", "a b", "ü", "..", ".", "", "x.y"]), max_size=4),
    pairs=st.lists(st.tuples(WORDS, WORDS | st.none()), max_size=5),
    value=st.none() | st.integers(0, 99) | st.sampled_from(["cD0x", "a=b", "a b", "cj0x+/=="]),
)
def test_link_is_drfs(path, pairs, value):
    query = "&".join(name if text is None else f"{name}={text}" for name, text in pairs)
    request = request_for("/" + "/".join(path), query)
    url = request.build_absolute_uri()
    if value is None:
        expected = remove_query_param(url, "page")
    else:
        expected = replace_query_param(url, "page", value)
    assert link(request, "page", value) == expected
