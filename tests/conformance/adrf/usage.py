"""What adrf documents, written as its README writes it, with `app.rest` for `adrf` in the imports.

Two names differ, for DRF has a module of its own for each: `adrf.requests.AsyncRequest` is
`app.rest.request.Request`, and `adrf.test.AsyncAPIClient` is `app.rest.test.APIClient`.
"""

from django.contrib.auth import get_user_model
from django.urls import include, path
from rest_framework import serializers as drf_serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from app.fleet.models import Host
from app.rest import routers
from app.rest.decorators import api_view
from app.rest.generics import ListCreateAPIView, RetrieveUpdateDestroyAPIView
from app.rest.serializers import ModelSerializer, Serializer, SerializerMethodField
from app.rest.views import APIView
from app.rest.viewsets import ModelViewSet, ViewSet

User = get_user_model()
called = []


class AsyncAuthentication(BaseAuthentication):
    async def authenticate(self, request):
        return User(username="ann"), None


class AsyncPermission:
    async def has_permission(self, request, view):
        return "refuse" not in request.query_params

    async def has_object_permission(self, request, view, obj):
        return obj.name != "hidden"


class AsyncThrottle(BaseThrottle):
    async def allow_request(self, request, view):
        return "throttle" not in request.query_params

    def wait(self):
        return 3


class Policies:
    authentication_classes = [AsyncAuthentication]
    permission_classes = [AsyncPermission]
    throttle_classes = [AsyncThrottle]


class AsyncView(Policies, APIView):
    async def get(self, request):
        return Response({"message": "class", "user": request.user.username})


@api_view(["GET"])
async def async_view(request):
    return Response({"message": "function"})


class AsyncViewSet(Policies, ViewSet):
    async def list(self, request):
        return Response({"message": "list"})

    async def retrieve(self, request, pk):
        user = await User.objects.filter(pk=pk).afirst()
        return Response({"user_pk": user and user.pk})


class AsyncSerializer(Serializer):
    username = drf_serializers.CharField()
    password = drf_serializers.CharField()
    age = drf_serializers.IntegerField()


class SerializerView(Policies, APIView):
    async def get(self, request):
        data = {"username": "test", "password": "test", "age": 10}
        serializer = AsyncSerializer(data=data)
        serializer.is_valid()
        return Response(await serializer.adata)


class HostSerializer(ModelSerializer):
    loud = SerializerMethodField()

    class Meta:
        model = Host
        fields = ("id", "name", "cpus", "memory_bytes", "loud")

    async def get_loud(self, host):
        return host.name.upper()

    async def acreate(self, validated_data):
        called.append("serializer.acreate")
        return await super().acreate(validated_data)

    async def aupdate(self, instance, validated_data):
        called.append("serializer.aupdate")
        return await super().aupdate(instance, validated_data)


class Hosts(Policies):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer


class ListCreateHostView(Hosts, ListCreateAPIView):
    pass


class Noting:
    """Every hook that adrf names, overridden under adrf's name, each with its `super()`."""

    async def aget_object(self):
        called.append("aget_object")
        return await super().aget_object()

    async def afilter_queryset(self, queryset):
        called.append("afilter_queryset")
        return await super().afilter_queryset(queryset)

    async def apaginate_queryset(self, queryset):
        called.append("apaginate_queryset")
        return await super().apaginate_queryset(queryset)

    async def get_apaginated_response(self, data):
        called.append("get_apaginated_response")
        return await super().get_apaginated_response(data)

    async def perform_acreate(self, serializer):
        called.append("perform_acreate")
        await super().perform_acreate(serializer)

    async def perform_aupdate(self, serializer):
        called.append("perform_aupdate")
        await super().perform_aupdate(serializer)

    async def perform_adestroy(self, instance):
        called.append("perform_adestroy")
        await super().perform_adestroy(instance)


class AsyncModelViewSet(Noting, Hosts, ModelViewSet):
    pass


class NotingView(Noting, Hosts, RetrieveUpdateDestroyAPIView):
    async def aretrieve(self, request, *args, **kwargs):
        called.append("aretrieve")
        return await super().aretrieve(request, *args, **kwargs)

    async def aupdate(self, request, *args, **kwargs):
        called.append("aupdate")
        return await super().aupdate(request, *args, **kwargs)

    async def adestroy(self, request, *args, **kwargs):
        called.append("adestroy")
        return await super().adestroy(request, *args, **kwargs)


class OverridingViewSet(Hosts, ModelViewSet):
    """adrf's names of the actions alone, as its router binds them."""

    async def alist(self, request, *args, **kwargs):
        called.append("alist")
        return await super().alist(request, *args, **kwargs)

    async def acreate(self, request, *args, **kwargs):
        called.append("acreate")
        return await super().acreate(request, *args, **kwargs)

    async def aretrieve(self, request, *args, **kwargs):
        called.append("aretrieve")
        return await super().aretrieve(request, *args, **kwargs)

    async def aupdate(self, request, *args, **kwargs):
        called.append("aupdate")
        return await super().aupdate(request, *args, **kwargs)

    async def adestroy(self, request, *args, **kwargs):
        called.append("adestroy")
        return await super().adestroy(request, *args, **kwargs)


router = routers.DefaultRouter()
router.register("viewset", AsyncViewSet, basename="viewset")
router.register("async_viewset", AsyncModelViewSet, basename="async")
router.register("overriding", OverridingViewSet, basename="overriding")

urlpatterns = [
    path("class/", AsyncView.as_view()),
    path("function/", async_view),
    path("serializer/", SerializerView.as_view()),
    path("hosts/", ListCreateHostView.as_view()),
    path("noting/<int:pk>/", NotingView.as_view()),
    path("named/", AsyncModelViewSet.as_view({"get": "alist", "post": "acreate"})),
    path(
        "named/<int:pk>/",
        AsyncModelViewSet.as_view(
            {
                "get": "aretrieve",
                "put": "aupdate",
                "patch": "partial_aupdate",
                "delete": "adestroy",
            }
        ),
    ),
    path("", include(router.urls)),
]
