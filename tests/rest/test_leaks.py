"""A fault of the server, wherever it is made: every byte of the answer is looked at.

The settings that matter are production's (`DEBUG` is off in both); the faults are real ones.
"""

import re

import pytest
from django.http import HttpResponse
from django.test import override_settings
from django.urls import include, path, re_path

from app import db
from app.fleet.models import Host
from app.ops import error_pages
from app.rest import serializers
from app.rest.authentication import BaseAuthentication
from app.rest.handlers import ASGIHandler
from app.rest.negotiation import DefaultContentNegotiation
from app.rest.parsers import JSONParser
from app.rest.permissions import AllowAny, BasePermission
from app.rest.renderers import JSONRenderer
from app.rest.response import Response
from app.rest.throttling import BaseThrottle
from app.rest.views import APIView
from app.rest.viewsets import ModelViewSet
from tests.raw import ask, with_length

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.urls("tests.rest.test_leaks"),
    pytest.mark.usefixtures("transaction"),
    pytest.mark.hops("Django logs a fault of the server in a thread"),
]

SECRET = "hunter2-secret"


class KaputtError(Exception):
    pass


def fail(*args, **kwargs):
    password = SECRET
    raise KaputtError(f"{password} in /srv/secret/path.py: SELECT secret FROM secret_table")


class Open(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = []

    async def get(self, request):
        return Response({"a": 1})

    async def post(self, request):
        return Response(request.data)


class FailingRenderer(JSONRenderer):
    render = fail


class FailingAuthentication(BaseAuthentication):
    async def authenticate(self, request):
        fail()


class FailingPermission(BasePermission):
    async def has_permission(self, request, view):
        fail()


class FailingThrottle(BaseThrottle):
    async def allow_request(self, request, view):
        fail()


class FailingNegotiation(DefaultContentNegotiation):
    select_renderer = fail


class FailingParser(JSONParser):
    parse = fail


class FailingSerializer(serializers.ModelSerializer):
    name = serializers.SerializerMethodField()
    get_name = fail

    class Meta:
        model = Host
        fields = ["id", "name"]


class InSerializer(ModelViewSet):
    authentication_classes = []
    permission_classes = [AllowAny]
    queryset = Host.objects.order_by("id")
    serializer_class = FailingSerializer


class InDatabase(Open):
    """In a savepoint: the test's own transaction goes on."""

    async def get(self, request):
        async with db.atomic():
            await self.ask()


class InView(Open):
    async def get(self, request):
        fail()


class InSQL(InDatabase):
    async def ask(self):
        await db.fetch(f"SELECT secret_column FROM secret_table WHERE a = '{SECRET}'")


class InSyntax(InDatabase):
    async def ask(self):
        await db.fetch("SELEC secret_column")


class InRule(InDatabase):
    async def ask(self):
        await Host.objects.acreate(name=SECRET, cpus=-1, memory_bytes=1)


class InUnique(InDatabase):
    async def ask(self):
        for _ in range(2):
            await Host.objects.acreate(name=SECRET, cpus=1, memory_bytes=1)


class InCast(InDatabase):
    async def ask(self):
        await db.fetch("SELECT %s::text::inet", SECRET)


class InHeader(Open):
    async def get(self, request):
        return Response({}, headers={"X-A": f"a\r\n{SECRET}: 1"})


class InOutput(Open):
    async def get(self, request):
        return Response({"a": object()})


class InHandler(InView):
    def get_exception_handler(self):
        return fail


async def plain(request):
    fail()


def in_thread(request):
    fail()


async def of_nothing(request):
    return None


async def of_bytes(request):
    return HttpResponse(b"x", headers={"X-\xe9": SECRET})


def made(**parts):
    return type("View", (Open,), parts).as_view()


VIEWS = {
    "renderer": made(renderer_classes=[FailingRenderer]),
    "authentication": made(authentication_classes=[FailingAuthentication]),
    "permission": made(permission_classes=[FailingPermission]),
    "throttle": made(throttle_classes=[FailingThrottle]),
    "negotiation": made(content_negotiation_class=FailingNegotiation),
    "parser": made(parser_classes=[FailingParser]),
    "serializer": InSerializer.as_view({"get": "list"}),
    "view": InView.as_view(),
    "sql": InSQL.as_view(),
    "grammar": InSyntax.as_view(),
    "rule": InRule.as_view(),
    "unique": InUnique.as_view(),
    "cast": InCast.as_view(),
    "header": InHeader.as_view(),
    "output": InOutput.as_view(),
    "handler": InHandler.as_view(),
    "plain": plain,
    "thread": in_thread,
    "nothing": of_nothing,
    "bytes": of_bytes,
}
STATUSES = {"rule": 400, "unique": 409, "cast": 400}
routes = [path(f"{name}/", view) for name, view in VIEWS.items()]
urlpatterns = [path("api/", include(routes)), path("", include(routes))]
urlpatterns.append(path("auth/", include("rest_framework.urls")))
urlpatterns.append(path("root/", VIEWS["view"], name="api-root"))  # the browsable API leads there
urlpatterns.append(re_path("^api/", error_pages.unknown_endpoint))
handler400, handler403 = error_pages.bad_request, error_pages.permission_denied
handler404, handler500 = error_pages.not_found, error_pages.server_error

JSON, PROBLEM, HTML = b"application/json", b"application/problem+json", b"text/html"
LEAKS = re.compile(
    r"hunter2|secret|Kaputt|Traceback|SELEC|\.py\b|/srv|/work|line \d|fleet_host|asyncpg|psycopg"
    r"|postgres|relation|column|syntax|inet|constraint|object at|\wError\b"
)


def everything(answer):
    heads = b"\n".join(b": ".join(pair) for pair in answer.headers)
    text = (heads + b"\n" + answer.body).decode("latin1")
    return re.sub("<style>.*?</style>", "", text, flags=re.DOTALL)  # names kinds of highlighting


@pytest.mark.parametrize("accept", [JSON, PROBLEM + b", " + JSON, HTML])
@pytest.mark.parametrize("name", list(VIEWS))
async def test_fault_tells_nothing_of_what_it_was(name, accept):
    if name == "serializer":
        await Host.objects.acreate(name="a", cpus=1, memory_bytes=1)
    for prefix in ("/api/", "/"):
        headers = [(b"accept", accept), (b"content-type", JSON)]
        if name == "parser":
            answer = await ask("POST", f"{prefix}{name}/", with_length(b"{}", *headers), [b"{}"])
        else:
            answer = await ask("GET", f"{prefix}{name}/", headers)
        assert answer.status == STATUSES.get(name, 500), answer.body
        found = LEAKS.search(everything(answer))
        assert not found, everything(answer)[max(0, found.start() - 80) :][:200]
        assert answer["Content-Type"].partition(";")[0] == accept.partition(b",")[0].decode()
        assert answer.body


class FailingMiddleware:
    sync_capable, async_capable = False, True

    def __init__(self, get_response):
        from asgiref.sync import markcoroutinefunction

        markcoroutinefunction(self)

    async def __call__(self, request):
        fail()


async def test_fault_of_a_middleware_tells_nothing_either(settings):
    with override_settings(MIDDLEWARE=["tests.rest.test_leaks.FailingMiddleware"]):
        answer = await ask("GET", "/api/view/", [(b"accept", JSON)], application=ASGIHandler())
    assert answer.status == 500
    assert not LEAKS.search(everything(answer))
    assert answer["Content-Type"] == "application/json"
