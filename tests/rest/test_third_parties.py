"""Synchronous components as third parties write them: they work unchanged, each that may wait by
one hop that `manage.py check` tells of; and no class of app.rest needs one.
"""

import importlib
import inspect
import pkgutil
import threading

import pytest
from django.test import override_settings
from django.urls import path
from rest_framework import negotiation as drf_negotiation
from rest_framework import serializers as drf
from rest_framework.authentication import BaseAuthentication
from rest_framework.filters import BaseFilterBackend
from rest_framework.metadata import BaseMetadata
from rest_framework.pagination import BasePagination
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response as DRFResponse
from rest_framework.throttling import BaseThrottle
from rest_framework.versioning import BaseVersioning

import app.rest
from app.fleet.models import Host
from app.rest import generics, mixins, views
from app.rest.checks import check_threads
from app.rest.colours import Colour, colour_of
from app.rest.permissions import AllowAny
from tests.guards import counted_hops

pytestmark = pytest.mark.urls("tests.rest.test_third_parties")

seen: list[tuple[str, bool]] = []


def note(name):
    seen.append((name, threading.current_thread() is threading.main_thread()))


class Authentication(BaseAuthentication):
    def authenticate(self, request):
        note("authentication")
        return "somebody", None


class Permission(BasePermission):
    def has_permission(self, request, view):
        note("permission")
        return request.user == "somebody"

    def has_object_permission(self, request, view, obj):
        note("object permission")
        return True


class Throttle(BaseThrottle):
    def allow_request(self, request, view):
        note("throttle")
        return True


class Filter(BaseFilterBackend):
    def filter_queryset(self, request, queryset, view):
        note("filter")
        return [one for one in queryset if one["n"] > 1]


class Pagination(BasePagination):
    def paginate_queryset(self, queryset, request, view=None):
        note("pagination")
        return queryset[:2]

    def get_paginated_response(self, data):
        return DRFResponse({"page": data})


class Metadata(BaseMetadata):
    def determine_metadata(self, request, view):
        note("metadata")
        return {"told": True}


class Parser(BaseParser):
    media_type = "text/csv"

    def parse(self, stream, media_type=None, parser_context=None):
        note("parser")
        return {"n": int(stream.read())}


class Renderer(BaseRenderer):
    media_type = "text/plain"
    format = "txt"

    def render(self, data, accepted_media_type=None, renderer_context=None):
        note("renderer")
        return repr(data).encode()


class Negotiation(drf_negotiation.DefaultContentNegotiation):
    def select_renderer(self, request, renderers, format_suffix=None):
        note("negotiation")
        return super().select_renderer(request, renderers, format_suffix)


class Versioning(BaseVersioning):
    def determine_version(self, request, *args, **kwargs):
        note("versioning")
        return "1"


class Numbers(drf.Serializer):
    n = drf.IntegerField()

    def create(self, validated_data):
        note("serializer")
        return validated_data


class NumberView(generics.ListCreateAPIView):
    authentication_classes = [Authentication]
    permission_classes = [Permission]
    throttle_classes = [Throttle]
    filter_backends = [Filter]
    pagination_class = Pagination
    metadata_class = Metadata
    parser_classes = [Parser]
    renderer_classes = [Renderer]
    content_negotiation_class = Negotiation
    versioning_class = Versioning
    serializer_class = Numbers

    def get_queryset(self):
        return [{"n": n} for n in range(5)]


class OneView(mixins.RetrieveModelMixin, generics.GenericAPIView):
    authentication_classes = [Authentication]
    permission_classes = [Permission]
    throttle_classes = []
    filter_backends = []
    serializer_class = Numbers

    async def get_object(self):
        one = {"n": 1}
        await self.check_object_permissions(self.request, one)
        return one

    async def get(self, request):
        return await self.retrieve(request)


urlpatterns = [path("numbers/", NumberView.as_view()), path("one/", OneView.as_view())]

WAITING = ["authentication", "permission", "throttle"]
COMPUTING = {"negotiation", "versioning", "parser", "renderer"}


@pytest.fixture(autouse=True)
def unseen():
    seen.clear()


@pytest.mark.asyncio
@pytest.mark.hops("what is unknown runs in a thread")
@pytest.mark.parametrize(
    ("method", "body", "expected", "hopping"),
    [
        ("get", (), "{'page': [{'n': 2}, {'n': 3}]}", [*WAITING, "filter", "pagination"]),
        ("post", ("7",), "{'n': 7}", [*WAITING, "serializer"]),
        ("options", (), "{'told': True}", [*WAITING, "metadata"]),
    ],
)
async def test_synchronous_components_work_by_one_hop_each(client, method, body, expected, hopping):
    options = {"content_type": "text/csv"} if body else {}
    with counted_hops() as hops:
        response = await getattr(client, method)("/numbers/", *body, **options)
    assert response.text == expected, response.text
    assert [name for name, in_place in seen if not in_place] == hopping
    # And one that closes what connection a thread may have opened.
    assert len([hop for hop in hops if not hop.startswith("Signal.")]) == len(hopping)
    assert {name for name, in_place in seen if in_place} <= COMPUTING


class HostSerializer(drf.ModelSerializer):
    class Meta:
        model = Host
        fields = ["id", "name", "cpus", "memory_bytes"]


class HostView(generics.ListCreateAPIView):
    authentication_classes = []
    permission_classes = [AllowAny]
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer


urlpatterns.append(path("hosts/", HostView.as_view()))


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.hops("DRF's own serializer asks and writes in a thread")
@pytest.mark.usefixtures("committed")
async def test_drfs_own_serializer_validates_writes_and_reads(client, django_db_blocker):
    body = {"name": "a", "cpus": 1, "memory_bytes": 1}
    with django_db_blocker.unblock():
        response = await client.post("/hosts/", body)
        assert (response.status_code, response.json()["name"]) == (201, "a"), response.text
        response = await client.post("/hosts/", body)
    assert response.json() == {"name": ["host with this name already exists."]}
    assert [one["name"] for one in (await client.get("/hosts/")).json()["results"]] == ["a"]


@pytest.mark.asyncio
@pytest.mark.hops("what is unknown runs in a thread")
async def test_object_permission_works_by_a_hop(client):
    assert (await client.get("/one/")).json() == {"n": 1}
    assert ("object permission", False) in seen


@override_settings(ROOT_URLCONF="tests.rest.test_third_parties")
def test_check_names_each_and_the_view_that_pays():
    told = [message.msg.partition(" ")[0] for message in check_threads() if "Number" in message.obj]
    here = f"{__name__}."
    assert {name.removeprefix(here) for name in told} == {
        "Authentication.authenticate",
        "Permission.has_permission",
        "Permission.has_object_permission",
        "Throttle.allow_request",
        "Filter.filter_queryset",
        "Pagination.paginate_queryset",
        "Metadata.determine_metadata",
        "Numbers.save",
    }
    assert all("`async def`" in message.hint for message in check_threads())


METHODS = {
    BaseAuthentication: ["authenticate", "authenticate_header"],
    BasePermission: ["has_permission", "has_object_permission"],
    BaseThrottle: ["allow_request", "wait"],
    BaseFilterBackend: ["filter_queryset"],
    BasePagination: ["paginate_queryset", "get_paginated_response"],
    BaseMetadata: ["determine_metadata"],
    views.APIView: ["get", "post", "put", "patch", "delete", "options", "head"],
    mixins.CreateModelMixin: ["create", "perform_create"],
    mixins.ListModelMixin: ["list"],
    mixins.RetrieveModelMixin: ["retrieve"],
    mixins.UpdateModelMixin: ["update", "partial_update", "perform_update"],
    mixins.DestroyModelMixin: ["destroy", "perform_destroy"],
}


def classes():
    for module in pkgutil.iter_modules(app.rest.__path__, "app.rest."):
        for _, value in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if value.__module__.startswith("app.rest."):
                yield value


def test_no_class_of_app_rest_enters_a_thread():
    looked_at, hopping = set(), set()
    for cls in set(classes()):
        for base, methods in METHODS.items():
            for method in methods if issubclass(cls, base) else ():
                if hasattr(cls, method):
                    looked_at.add(cls)
                    if colour_of(cls, method) is Colour.THREAD:
                        hopping.add(f"{cls.__module__}.{cls.__name__}.{method}")
    assert hopping == set()
    assert len(looked_at) > 40
