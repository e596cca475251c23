"""HEAD is answered with the head of a GET and nothing else, whatever server is in front."""

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from app.fleet import services
from app.rest.permissions import AllowAny
from app.rest.response import Response
from app.rest.streams import Stream
from app.rest.views import APIView
from tests.raw import ask

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.rest.test_head")]
begun = []


class Open(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]


class Data(Open):
    async def get(self, request):
        return Response({"a": "b" * 100})

    head = get


class Streamed(Open):
    async def get(self, request):
        async def lines():
            begun.append(True)
            yield b"abc"

        return Stream(lines(), content_type="text/plain")

    head = get


async def plain(request):
    response = HttpResponse("abc", headers={"ETag": '"1"'})
    response.set_cookie("a", "b")
    return response


async def streaming(request):
    async def lines():
        begun.append(True)
        yield b"abc"

    return StreamingHttpResponse(lines(), content_type="text/plain")


urlpatterns = [
    path("data/", Data.as_view()),
    path("stream/", Streamed.as_view()),
    path("plain/", plain),
    path("streaming/", streaming),
    path("nothing-else/", Open.as_view()),
]


@pytest.mark.parametrize(
    ("address", "status"),
    [("/data/", 200), ("/plain/", 200), ("/missing/", 404), ("/stream/", 200),
     ("/streaming/", 200)],
)  # fmt: skip
async def test_head_has_the_headers_of_get_and_no_body(address, status):
    got = await ask("GET", address)
    begun.clear()
    head = await ask("HEAD", address)
    assert head.status == got.status == status
    assert sorted(head.headers) == sorted(got.headers)
    assert (head.body, begun) == (b"", [])
    assert got.body


async def test_head_of_a_refusal_has_none_either():
    answer = await ask("HEAD", "/nothing-else/", [(b"accept", b"application/problem+json")])
    assert (answer.status, answer.body) == (405, b"")
    assert answer["Content-Type"].startswith("application/problem+json")


@pytest.mark.urls("app.urls")
@pytest.mark.usefixtures("transaction")
@pytest.mark.parametrize(
    "address", ["hosts/", "hosts/{}/", "events/", "usage/", "reports/density/", "nothing/", ""]
)
async def test_head_of_the_project_is_empty_with_the_length_of_get(reader, address):
    host = await services.register_host(name="a", cpus=4, memory_bytes=10**9)
    address = f"/api/v1/{address.format(host.pk)}"
    got, head = await reader.get(address), await reader.head(address)
    assert (head.status_code, head.content) == (got.status_code, b"")
    changing = {"RateLimit"}
    expected = {name: value for name, value in got.items() if name not in changing}
    assert {name: value for name, value in head.items() if name not in changing} == expected
