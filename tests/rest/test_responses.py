"""A Response is made in fewer steps than DRF's, and is in nothing else than DRF's."""

import pickle

import pytest
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from rest_framework.response import Response as DRFResponse

from app.rest.handlers import ASGIHandler
from app.rest.permissions import AllowAny
from app.rest.renderers import JSONRenderer
from app.rest.response import Response
from app.rest.test import APIClient
from app.rest.views import APIView

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.rest.test_responses")]

_HAVE_CHANGED = {"_post_render_callbacks", "_resource_closers", "renderer_context"}
NAMES = sorted({name for name in dir(DRFResponse()) if not name.startswith("__")} - _HAVE_CHANGED)


def made(cls, arguments):
    response = cls(**arguments)
    response.accepted_renderer = JSONRenderer()
    response.accepted_media_type = "application/json"
    response.renderer_context = {}
    return response


def shown(response):
    """Its attributes, but for its methods."""
    known = {}
    for name in NAMES:
        try:
            value = getattr(response, name)
        except Exception as exc:  # noqa: BLE001 - of a response that was not rendered
            value = repr(exc)
        if not (callable(value) or isinstance(value, JSONRenderer)):
            known[name] = str(value) if name in {"cookies", "headers"} else value
    return known


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"data": {"a": 1}},
        {"data": [1], "status": 201},
        {"data": None, "status": 204},
        {"data": "x", "headers": {"X-A": "b", "content-type": "text/x"}},
        {"data": 1, "content_type": "application/vnd.x+json"},
        {"data": {}, "exception": True, "template_name": "a.html"},
    ],
)
async def test_response_is_drfs_in_every_attribute(arguments):
    pair = [made(cls, arguments) for cls in (Response, DRFResponse)]
    ours, theirs = pair
    assert shown(ours) == shown(theirs)
    seen = []
    for response in pair:
        response.add_post_render_callback(lambda one: seen.append(one.status_code))
        response.set_cookie("a", "b", max_age=3)
        response.render()
        response.add_post_render_callback(lambda _: seen.append("at once"))
    assert shown(ours) == shown(theirs)
    kept, theirs_kept = (pickle.loads(pickle.dumps(one)) for one in pair)
    assert (kept.content, kept.serialize()) == (theirs_kept.content, theirs_kept.serialize())
    assert str(kept.cookies) == str(theirs_kept.cookies)
    for response in pair:
        response._resource_closers.append(lambda: seen.append("closed"))
        response.delete_cookie("a")
        response.close()
    assert shown(ours) == shown(theirs)
    half = len(seen) // 2
    assert sorted(seen, key=str)[::2] == sorted(seen, key=str)[1::2], seen
    assert half == 3
    assert Response().cookies is not Response().cookies


class Open(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]


class Called(Open):
    async def get(self, request):
        response = Response({"a": 1})
        response.add_post_render_callback(lambda one: one.headers.setdefault("X-Called", "yes"))
        response.set_cookie("k", "v")
        return response


class Replaced(Open):
    async def get(self, request):
        response = Response({"a": 1})
        response.add_post_render_callback(lambda _: HttpResponse("other"))
        return response


urlpatterns = [path("called/", Called.as_view()), path("replaced/", Replaced.as_view())]


async def test_callbacks_and_cookies_are_those_of_the_response(client):
    for _ in range(2):
        response = await client.get("/called/")
        assert response["X-Called"] == "yes"
        assert response.cookies["k"].value == "v"
        assert response.json() == {"a": 1}
        assert (await client.get("/replaced/")).content == b"other"


COMMON = ["django.middleware.common.CommonMiddleware"]


@override_settings(MIDDLEWARE=COMMON, ALLOWED_HOSTS=["a.example"])
async def test_hosts_that_are_remembered_are_those_that_settings_allow_now():
    client = APIClient(app=ASGIHandler())

    async def status(host, forwarded=None):
        headers = {} if forwarded is None else {"HTTP_X_FORWARDED_HOST": forwarded}
        return (await client.get("/called/", HTTP_HOST=host, **headers)).status_code

    assert [await status("a.example"), await status("b.example")] == [200, 400]
    with override_settings(USE_X_FORWARDED_HOST=True):
        assert await status("b.example", "a.example") == 200
        assert await status("a.example", "b.example") == 400
    assert await status("b.example", "a.example") == 400
    with override_settings(ALLOWED_HOSTS=["b.example"]):
        assert await status("a.example") == 400
    assert await status("a.example") == 200
    with override_settings(PREPEND_WWW=True, ALLOWED_HOSTS=["*"]):
        redirect = await client.get("/called/", HTTP_HOST="a.example")
        assert redirect["Location"] == "http://www.a.example/called/"
