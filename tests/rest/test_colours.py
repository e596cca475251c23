"""One colour: what is awaited, what is called in place, what enters a thread, and who is told."""

import pytest
from django.test import override_settings
from django.urls import path
from rest_framework.authentication import BasicAuthentication
from rest_framework.authentication import SessionAuthentication as DRFSessionAuthentication
from rest_framework.filters import SearchFilter
from rest_framework.permissions import AllowAny, BasePermission, IsAuthenticated

from app.rest.checks import check_threads
from app.rest.colours import Colour, call, colour_of, computes
from app.rest.response import Response
from app.rest.views import APIView


class Asynchronous(BasePermission):
    async def has_permission(self, request, view):
        return True


class Unknown(BasePermission):
    def has_permission(self, request, view):
        return True


class Marked(BasePermission):
    @computes
    def has_permission(self, request, view):
        return True


@computes
class MarkedWhole(BasePermission):
    def has_permission(self, request, view):
        return True


class Below(MarkedWhole):
    def has_permission(self, request, view):
        return False


@pytest.mark.parametrize(
    ("component", "method", "colour"),
    [
        (Asynchronous, "has_permission", Colour.AWAITED),
        (Unknown, "has_permission", Colour.THREAD),
        (Marked, "has_permission", Colour.IN_PLACE),
        (MarkedWhole, "has_permission", Colour.IN_PLACE),
        (Below, "has_permission", Colour.THREAD),
        (IsAuthenticated, "has_permission", Colour.IN_PLACE),
        (Unknown, "has_object_permission", Colour.IN_PLACE),
        (SearchFilter, "filter_queryset", Colour.IN_PLACE),
        (BasicAuthentication, "authenticate", Colour.THREAD),
        (DRFSessionAuthentication, "authenticate", Colour.THREAD),
    ],
)
def test_colour_follows_from_the_class(component, method, colour):
    assert colour_of(component, method) is colour


@pytest.mark.asyncio
@pytest.mark.parametrize("component", [Asynchronous, Unknown, Marked])
async def test_component_of_every_colour_is_called(component):
    assert await call(component(), "has_permission", None, None) is True


class Costly(APIView):
    authentication_classes = [BasicAuthentication]
    permission_classes = [AllowAny & ~Unknown | Asynchronous]
    throttle_classes = []

    def get(self, request):
        return Response()

    async def post(self, request):
        return Response()


class Free(APIView):
    authentication_classes = []
    permission_classes = [IsAuthenticated]
    throttle_classes = []

    async def get(self, request):
        return Response()


urlpatterns = [path("costly/", Costly.as_view()), path("free/", Free.as_view())]


@override_settings(ROOT_URLCONF="tests.rest.test_colours")
def test_check_names_what_enters_a_thread_and_the_view_that_pays():
    messages = check_threads()
    assert {message.obj for message in messages} == {"tests.rest.test_colours.Costly"}
    text = " ".join(message.msg for message in messages)
    assert "rest_framework.authentication.BasicAuthentication.authenticate" in text
    assert "tests.rest.test_colours.Unknown.has_permission" in text
    assert "tests.rest.test_colours.Costly.get" in text
    assert "post" not in text


def test_no_endpoint_of_this_project_enters_a_thread():
    assert check_threads() == []
