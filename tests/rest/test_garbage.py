"""What a request made is freed when it is answered, and waits for no round of the collector."""

import gc

import orjson
import pytest
from django.urls import include, path

from app.fleet.models import Host
from app.rest import serializers
from app.rest.authentication import BaseAuthentication
from app.rest.decorators import action, api_view
from app.rest.exceptions import ValidationError
from app.rest.generics import GenericAPIView
from app.rest.permissions import AllowAny
from app.rest.response import Response
from app.rest.routers import SimpleRouter
from app.rest.views import APIView
from app.rest.viewsets import ModelViewSet
from tests.raw import ask, with_length

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.urls("tests.rest.test_garbage"),
    pytest.mark.usefixtures("transaction"),
]

TIMES = 50


class Refusing(BaseAuthentication):
    async def authenticate(self, request):
        return None


class Plain(APIView):
    authentication_classes = [Refusing]
    permission_classes = [AllowAny]
    throttle_classes = []

    async def get(self, request):
        if "wrong" in request.query_params:
            raise ValidationError({"a": ["wrong"]})
        return Response({"a": request.user.is_authenticated})

    async def post(self, request):
        return Response(request.data, status=201)


@api_view(["GET"])
async def function(request):
    return Response({"method": request.method})


function.cls.permission_classes = [AllowAny]
function.cls.authentication_classes = []


class HostSerializer(serializers.ModelSerializer):
    class Meta:
        model = Host
        fields = ["id", "name", "cpus", "memory_bytes"]


class Hosts(ModelViewSet):
    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = []
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer

    @action(detail=False)
    async def extra(self, request):
        return Response({"extra": self.action})


class ItemSerializer(serializers.Serializer):
    name = serializers.CharField()
    labels = serializers.JSONField()  # what holds none that holds others is not counted


class Several(GenericAPIView):
    authentication_classes = []
    permission_classes = [AllowAny]
    serializer_class = ItemSerializer

    async def post(self, request):
        serializer = self.get_serializer(data=request.data, many=True)
        await serializer.ais_valid(raise_exception=True)
        return Response({"valid": len(serializer.validated_data)})


router = SimpleRouter()
router.register("hosts", Hosts)
urlpatterns = [
    path("plain/", Plain.as_view()),
    path("function/", function),
    path("several/", Several.as_view()),
    path("", include(router.urls)),
]

ASKS = {
    "view": ("GET", "/plain/", 200),
    "head": ("HEAD", "/plain/", 200),
    "options": ("OPTIONS", "/plain/", 200),
    "body": ("POST", "/plain/", 201),
    "several": ("POST", "/several/", 200),
    "error": ("GET", "/plain/?wrong", 400),
    "method": ("DELETE", "/plain/", 405),
    "function": ("GET", "/function/", 200),
    "list": ("GET", "/hosts/", 200),
    "extra": ("GET", "/hosts/extra/", 200),
    "nowhere": ("GET", "/hosts/0/", 404),
}


SEVERAL = orjson.dumps([{"name": f"h{n}", "labels": [[]]} for n in range(200)])


@pytest.mark.parametrize("name", list(ASKS))
async def test_nothing_is_left_to_the_collector(name):
    method, url, status = ASKS[name]
    headers, body = [(b"accept", b"application/json")], []
    if method == "POST":
        body = [SEVERAL if name == "several" else b'{"a": 1}']
        headers = with_length(body[0], *headers, (b"content-type", b"application/json"))

    async def request():
        path, _, query = url.partition("?")
        answer = await ask(method, path, headers, body, query=query.encode())
        assert answer.status == status

    for _ in range(5):
        await request()
    # What a request leaves it leaves each time; what else ends meanwhile (other tests' tasks and
    # threads leave circles, too) does so once.
    found = []
    for _ in range(3):
        found.append(await garbage_of(request))
        if found[-1] < TIMES:
            break
    assert found[-1] < TIMES, found


async def garbage_of(request):
    """How many objects are left to the collector by `TIMES` requests."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(TIMES):
            await request()
        return gc.collect()
    finally:
        gc.enable()
