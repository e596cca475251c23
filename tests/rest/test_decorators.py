"""`@api_view` with each of DRF's decorators, on coroutines; each is one policy of the view."""

import inspect

import pytest
from django.test import AsyncRequestFactory
from django.urls import path
from rest_framework import decorators as drf

from app.rest import decorators
from app.rest.authentication import BaseAuthentication
from app.rest.decorators import (
    action,
    api_view,
    authentication_classes,
    content_negotiation_class,
    metadata_class,
    parser_classes,
    permission_classes,
    renderer_classes,
    schema,
    throttle_classes,
    throttle_scope,
    versioning_class,
)
from app.rest.metadata import BaseMetadata
from app.rest.negotiation import BaseContentNegotiation
from app.rest.parsers import BaseParser, JSONParser
from app.rest.permissions import AllowAny, BasePermission
from app.rest.renderers import BaseRenderer, JSONRenderer
from app.rest.response import Response
from app.rest.throttling import BaseThrottle, ScopedRateThrottle
from app.rest.versioning import QueryParameterVersioning

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.rest.test_decorators")]


class Somebody(BaseAuthentication):
    async def authenticate(self, request):
        return ("somebody", "token")


class Never(BasePermission):
    message = "Not you."

    async def has_permission(self, request, view):
        return False


class Busy(BaseThrottle):
    async def allow_request(self, request, view):
        return False

    async def wait(self):
        return 7


class Scoped(ScopedRateThrottle):
    THROTTLE_RATES = {"bursts": "1/minute"}


class Shouting(BaseRenderer):
    media_type = "text/shout"
    format = "shout"

    def render(self, data, accepted_media_type=None, renderer_context=None):
        return str(data).upper().encode()


class Counting(BaseParser):
    media_type = "text/plain"

    def parse(self, stream, media_type=None, parser_context=None):
        return {"bytes": len(stream.read())}


class First(BaseContentNegotiation):
    """The guide's: ignores the client."""

    def select_parser(self, request, parsers):
        return parsers[0]

    def select_renderer(self, request, renderers, format_suffix=None):
        return (renderers[0], renderers[0].media_type)


class Minimal(BaseMetadata):
    """The guide's: two entries."""

    async def determine_metadata(self, request, view):
        return {"name": view.get_view_name(), "description": view.get_view_description()}


@api_view(["GET"])
@authentication_classes([Somebody])
@permission_classes([AllowAny])
async def authenticated(request):
    return Response([request.user, request.auth])


@api_view(["GET"])
@authentication_classes([])
@permission_classes([Never])
async def forbidden(request):
    return Response()


@api_view()
@authentication_classes([])
@permission_classes([AllowAny])
@throttle_classes([Busy])
async def throttled(request):
    return Response()


@api_view()
@authentication_classes([])
@permission_classes([AllowAny])
@throttle_classes([Scoped])
@throttle_scope("bursts")
async def scoped(request):
    return Response()


@api_view()
@authentication_classes([])
@permission_classes([AllowAny])
@renderer_classes([Shouting, JSONRenderer])
async def rendered(request):
    return Response("hello")


@api_view(["POST"])
@authentication_classes([])
@permission_classes([AllowAny])
@parser_classes([Counting])
async def parsed(request):
    return Response(request.data)


@api_view(["GET", "POST"])
@authentication_classes([])
@permission_classes([AllowAny])
@content_negotiation_class(First)
@parser_classes([JSONParser])
@renderer_classes([JSONRenderer, Shouting])
async def negotiated(request):
    return Response({"data": request.data})


@api_view()
@authentication_classes([])
@permission_classes([AllowAny])
@metadata_class(Minimal)
async def described(request):
    """What it is for."""
    return Response()


@api_view()
@authentication_classes([])
@permission_classes([AllowAny])
@versioning_class(QueryParameterVersioning)
async def versioned(request):
    return Response(request.version)


@api_view()
@schema(None)
async def undocumented(request):
    return Response()


VIEWS = [
    authenticated, forbidden, throttled, scoped, rendered, parsed, negotiated, described, versioned,
    undocumented,
]  # fmt: skip
urlpatterns = [path(f"{view.cls.__name__}/", view) for view in VIEWS]


async def test_every_decorator_of_drf_is_here():
    names = {
        name
        for name, value in vars(drf).items()
        if inspect.isfunction(value) and value.__module__ == drf.__name__
    }
    assert names - {"_check_decorator_order"} <= set(decorators.__all__)


@pytest.mark.parametrize(
    ("url", "headers", "status", "body"),
    [
        ("authenticated", {}, 200, ["somebody", "token"]),
        ("forbidden", {}, 403, {"detail": "Not you."}),
        ("rendered", {"accept": "text/shout"}, 200, b"HELLO"),
        ("negotiated", {"accept": "text/shout"}, 200, {"data": {}}),
        ("versioned", {}, 200, None),
        ("versioned/?version=3", {}, 200, "3"),
    ],
)
async def test_policy_of_the_function_is_followed(  # noqa: PLR0917 - a row of the table
    client, hops, url, headers, status, body
):
    url = f"/{url}/" if "?" not in url else f"/{url}"
    response = await client.get(url, headers=headers)
    assert response.status_code == status, response.text
    found = response.content if isinstance(body, bytes) else response.data
    assert found == body
    assert not hops


async def test_throttle_and_its_scope(client, hops):
    response = await client.get("/throttled/")
    assert (response.status_code, response["Retry-After"]) == (429, "7")
    assert (await client.get("/scoped/")).status_code == 200
    assert (await client.get("/scoped/")).status_code == 429
    assert not hops


async def test_parser_of_the_function_reads_the_body(client, hops):
    response = await client.post("/parsed/", b"12345", content_type="text/plain")
    assert response.json() == {"bytes": 5}
    assert (await client.post("/parsed/", {"a": 1})).status_code == 415
    response = await client.post("/negotiated/", b'{"a":1}', content_type="text/what")
    assert response.json() == {"data": {"a": 1}}
    assert not hops


async def test_options_are_what_the_metadata_class_says(client, hops):
    response = await client.options("/described/")
    assert response.json() == {"name": "Described", "description": "What it is for."}
    assert not hops


async def test_method_that_is_not_named_is_refused(client):
    assert (await client.post("/versioned/", {})).status_code == 405
    assert undocumented.cls.schema is None


async def test_view_is_a_coroutine_for_django_too():
    response = await authenticated(AsyncRequestFactory().get("/"))
    assert response.data == ["somebody", "token"]


@pytest.mark.parametrize("decorator", [permission_classes([]), throttle_scope("x")])
async def test_decorator_above_api_view_is_refused(decorator):
    with pytest.raises(TypeError, match="must come after"):
        decorator(api_view(["GET"])(_nothing))


async def _nothing(request):
    return Response()


async def test_action_takes_drfs_options():
    @action(detail=True, methods=["post"], url_path="do-it", url_name="do", permission_classes=[])
    async def do(self, request, pk=None):
        """Does it."""

    assert (do.detail, do.url_path, do.url_name) == (True, "do-it", "do")
    assert do.mapping == {"post": "do"}
    assert do.kwargs == {"name": "Do", "description": "Does it.", "permission_classes": []}
