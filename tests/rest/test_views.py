"""APIView and api_view: DRF's dispatch, awaited."""

import pytest
from django.urls import path
from rest_framework.exceptions import ValidationError

from app.rest.decorators import api_view, permission_classes
from app.rest.permissions import AllowAny, BasePermission, IsAuthenticated
from app.rest.response import Response
from app.rest.views import APIView

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.rest.test_views")]


class Open(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = []


class Echo(Open):
    async def get(self, request):
        return Response({"query": dict(request.query_params)})

    async def post(self, request):
        return Response(request.data, status=201)


class Plain(Open):
    def get(self, request):
        return Response({"plain": True})


class Teapot(BasePermission):
    async def has_permission(self, request, view):
        return "open" in request.query_params

    async def has_object_permission(self, request, view, obj):
        return True


class Guarded(Open):
    permission_classes = [IsAuthenticated | Teapot]

    async def get(self, request):
        return Response({"let": "in"})


class Failing(Open):
    async def get(self, request):
        raise ValidationError({"name": ["wrong"]})


@api_view(["GET", "POST"])
@permission_classes([AllowAny])
async def function(request):
    return Response({"method": request.method})


function.cls.authentication_classes = []

urlpatterns = [
    path("echo/", Echo.as_view()),
    path("plain/", Plain.as_view()),
    path("guarded/", Guarded.as_view()),
    path("failing/", Failing.as_view()),
    path("function/", function),
]


async def test_get_answers_with_json(client):
    response = await client.get("/echo/", {"a": "1"})
    assert response.status_code == 200
    assert response.content == b'{"query":{"a":["1"]}}'
    assert response["Allow"] == "GET, POST, HEAD, OPTIONS"


async def test_posted_json_is_parsed(client):
    response = await client.post("/echo/", {"name": "ä", "list": [1, 2.5, None]})
    assert response.status_code == 201
    assert response.json() == {"name": "ä", "list": [1, 2.5, None]}


async def test_malformed_json_names_the_position(client):
    response = await client.post("/echo/", b'{"a": }', content_type="application/json")
    assert response.status_code == 400
    assert "line 1 column 7" in response.json()["detail"]


@pytest.mark.hops("the view is a plain function")
async def test_plain_handler_runs_in_a_thread(client):
    assert (await client.get("/plain/")).json() == {"plain": True}


async def test_permissions_compose_whatever_their_colour(client):
    assert (await client.get("/guarded/")).status_code == 403
    assert (await client.get("/guarded/?open")).status_code == 200


async def test_exception_becomes_a_response(client):
    response = await client.get("/failing/")
    assert response.status_code == 400
    assert response.json() == {"name": ["wrong"]}


async def test_method_that_is_not_there_gives_405(client):
    response = await client.delete("/echo/")
    assert response.status_code == 405
    assert response.json() == {"detail": 'Method "DELETE" not allowed.'}


async def test_unacceptable_accept_gives_406(client):
    response = await client.get("/echo/", headers={"accept": "image/png"})
    assert response.status_code == 406


async def test_function_based_view_is_awaited(client):
    assert (await client.post("/function/", {})).json() == {"method": "POST"}


async def test_options_describes_the_view(client):
    response = await client.options("/echo/")
    assert response.json()["name"] == "Echo"
