"""What is remembered or left out for speed holds when something about it changes: a class that is
patched, a setting, the order of the middleware, what a view still does after it answered.
"""

import asyncio
from functools import partial

import pytest
from django.test import override_settings
from django.urls import path, register_converter
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response as DRFResponse
from rest_framework.views import APIView as DRFAPIView

from app.rest.exceptions import Throttled
from app.rest.handlers import ASGIHandler
from app.rest.permissions import AllowAny, BasePermission
from app.rest.renderers import JSONRenderer
from app.rest.response import Response
from app.rest.test import APIClient
from app.rest.views import APIView
from app.rest.viewsets import ViewSetMixin

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.rest.test_doubts")]


class Open(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]


class Both(Open):
    async def get(self, request):
        return Response("read")

    async def post(self, request):
        return Response("written")


class Yes(BasePermission):
    async def has_permission(self, request, view):
        return True


class Permitted(Both):
    permission_classes = [Yes]


class Marked(Both):
    """A base view whose requests are marked."""

    def initialize_request(self, request, *args, **kwargs):
        made = super().initialize_request(request, *args, **kwargs)
        made.mark = "marked"
        return made


class MarkedViewSet(ViewSetMixin, Marked):
    async def list(self, request):
        return Response([request.mark, self.action])


class Separated(BaseRenderer):
    media_type = "text/plain"
    format = "txt"

    def __init__(self, separator=","):
        self.separator = separator

    def render(self, data, accepted_media_type=None, renderer_context=None):
        return self.separator.join(data).encode()


class Words(Open):
    renderer_classes = [partial(Separated, separator=";"), JSONRenderer]

    async def get(self, request):
        return Response(["a", "b"])


class OtherWords(Words):
    renderer_classes = [Separated]


later = {}


class Later(Open):
    """Answers, and goes on."""

    async def post(self, request):
        later["task"] = asyncio.create_task(self.go_on(request))
        return Response(status=202)

    async def go_on(self, request):
        await later["go"].wait()
        later["data"] = request.data


class Stock(DRFAPIView):
    authentication_classes = []
    permission_classes = [AllowAny]

    def post(self, request):
        return DRFResponse(request.data)


class Basket:
    regex = "[a-z]+"

    def to_python(self, value):
        return [value]

    def to_url(self, value):
        return value[0]


register_converter(Basket, "basket")


class Filled(Open):
    async def get(self, request, basket):
        basket.append("apple")
        return Response(basket)


class SessionView(Open):
    async def get(self, request):
        user = await request._request.auser()
        return Response([request._request.session.is_empty(), str(user)])


urlpatterns = [
    path("both/", Both.as_view()),
    path("read/", Both.as_view(http_method_names=["get"])),
    path("permitted/", Permitted.as_view()),
    path("marked/", Marked.as_view()),
    path("marked-set/", MarkedViewSet.as_view({"get": "list"})),
    path("words/", Words.as_view()),
    path("other-words/", OtherWords.as_view()),
    path("later/", Later.as_view()),
    path("stock/", Stock.as_view()),
    path("filled/<basket:basket>/", Filled.as_view()),
    path("session/", SessionView.as_view()),
]


async def test_allow_is_of_the_view_as_it_was_made(client):
    for _ in range(2):
        assert (await client.get("/both/"))["Allow"] == "GET, POST, HEAD, OPTIONS"
        assert (await client.get("/read/"))["Allow"] == "GET"
        assert (await client.post("/read/")).status_code == 405


async def refuse(self, request, *args):
    raise Throttled(wait=7)


@pytest.mark.parametrize("owner", [Both, APIView])
@pytest.mark.parametrize(
    "step", ["check_throttles", "check_permissions", "perform_authentication", "initial"]
)
async def test_step_that_is_patched_later_is_taken(client, monkeypatch, owner, step):
    assert (await client.get("/both/")).status_code == 200
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, refuse)
        assert (await client.get("/both/")).status_code == 429
    assert (await client.get("/both/")).status_code == 200


@pytest.mark.hops("a function that app.rest does not know")
async def test_permission_that_is_patched_later_is_asked_in_its_colour(client, monkeypatch):
    assert (await client.get("/permitted/")).status_code == 200
    monkeypatch.setattr(Yes, "has_permission", lambda self, request, view: False)
    assert (await client.get("/permitted/")).status_code == 403


async def test_request_that_a_base_of_a_viewset_makes_is_its_own(client):
    assert (await client.get("/marked-set/")).json() == ["marked", "list"]


async def test_renderer_that_is_made_by_a_function_is_made_so_each_time(client):
    for _ in range(3):
        assert (await client.get("/words/")).content == b"a;b"
        assert (await client.get("/other-words/")).content == b"a,b"


def plain(get_response):
    def middleware(request):
        return get_response(request)

    return middleware


@pytest.mark.hops("one of the two has synchronous middleware, which has the body read before it")
@pytest.mark.parametrize("middleware", [[], ["tests.rest.test_doubts.plain"]])
async def test_work_that_goes_on_after_the_answer_has_its_request(middleware):
    with override_settings(MIDDLEWARE=middleware):
        client = APIClient(app=ASGIHandler())
    later["go"] = asyncio.Event()
    assert (await client.post("/later/", {"a": 1}, format="json")).status_code == 202
    later["go"].set()
    await later["task"]
    assert later["data"] == {"a": 1}


@pytest.mark.hops("a view of DRF's own")
async def test_view_of_drfs_own_finds_its_body(client):
    for _ in range(2):
        assert (await client.post("/stock/", {"a": 1}, format="json")).json() == {"a": 1}


async def test_what_a_path_converter_makes_is_made_for_each_request(client):
    for _ in range(3):
        assert (await client.get("/filled/fruit/")).json() == ["fruit", "apple"]


class Between:
    """Middleware of one's own, in the midst of Django's."""

    async_capable, sync_capable = True, False

    def __init__(self, get_response):
        self.get_response = get_response

    async def __call__(self, request):
        return await self.get_response(request)


MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


@pytest.mark.parametrize("place", range(len(MIDDLEWARE) + 1))
async def test_session_is_there_wherever_middleware_of_ones_own_stands(place):
    middleware = [*MIDDLEWARE[:place], "tests.rest.test_doubts.Between", *MIDDLEWARE[place:]]
    with override_settings(MIDDLEWARE=middleware):
        client = APIClient(app=ASGIHandler())
        for _ in range(2):
            response = await client.get("/session/")
            assert (response.status_code, response.data) == (200, [True, "AnonymousUser"])
            assert response["X-Frame-Options"] == "DENY"
            assert response["X-Content-Type-Options"] == "nosniff"
