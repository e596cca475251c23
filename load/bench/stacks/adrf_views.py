"""adrf as its documentation shows it: its serializers, its viewsets, its router."""

from typing import Any

from adrf import mixins, serializers, viewsets
from adrf.routers import SimpleRouter
from adrf.views import APIView
from asgiref.sync import sync_to_async
from django.urls import include, path
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import authentication, exceptions, permissions, throttling
from rest_framework.fields import CharField, DictField
from rest_framework.filters import OrderingFilter
from rest_framework.relations import PrimaryKeyRelatedField
from rest_framework.response import Response

from load.bench.stacks.contract import HAS_AUTH
from load.bench.stacks.drf_views import Cursors, Pages, SampleFilter, SampleSerializer
from load.bench.stacks.tables.models import Host, Sample, Team, Token


class TokenAuthentication(authentication.BaseAuthentication):
    async def authenticate(self, request: Any) -> Any:
        scheme, _, key = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme != "Bearer":
            return None
        token = await Token.objects.select_related("user").filter(key=key).afirst()
        if token is None or not token.user.is_active:
            raise exceptions.AuthenticationFailed
        return token.user, token


class HasScope(permissions.BasePermission):
    async def has_permission(self, request: Any, view: Any) -> bool:
        return request.auth is not None and request.auth.may(request.method)

    async def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        return True


class UserRateThrottle(throttling.UserRateThrottle):
    rate = "1000000/minute"


class Contract:
    """What a request has to pass, where it is on."""

    authentication_classes: list[Any] = [TokenAuthentication] if HAS_AUTH else []
    permission_classes: list[Any] = [HasScope] if HAS_AUTH else []
    throttle_classes: list[Any] = [UserRateThrottle] if HAS_AUTH else []


class TeamSerializer(serializers.ModelSerializer):
    class Meta:
        model = Team
        fields = ["id", "name"]


class HostSerializer(serializers.ModelSerializer):
    team = TeamSerializer(read_only=True)
    team_id = PrimaryKeyRelatedField(source="team", queryset=Team.objects.all(), write_only=True)
    labels = DictField(child=CharField(max_length=100), default=dict)

    class Meta:
        model = Host
        fields = [
            *("id", "name", "cpus", "memory_bytes", "team", "team_id"),
            *("version", "labels", "created_at"),
        ]
        read_only_fields = ["version"]
        extra_kwargs = {"cpus": {"min_value": 0}, "memory_bytes": {"min_value": 0}}


class AsyncSampleSerializer(serializers.ModelSerializer):
    class Meta(SampleSerializer.Meta):
        pass


class EmptyView(Contract, APIView):
    async def get(self, request: Any) -> Response:
        return Response({})


class HostViewSet(Contract, viewsets.ModelViewSet):
    queryset = Host.objects.select_related("team").order_by("id")
    serializer_class = HostSerializer
    pagination_class = Pages
    filter_backends = [DjangoFilterBackend, OrderingFilter]
    filterset_fields = ["name"]
    ordering_fields = ["id", "name"]

    async def aretrieve(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        known = request.headers.get("If-None-Match")
        if known:
            versions = Host.objects.filter(pk=kwargs["pk"]).values_list("version", flat=True)
            if known == f'"{await versions.afirst()}"':
                return Response(status=304, headers={"ETag": known})
        host = await self.aget_object()
        data = await self.get_serializer(host).adata
        return Response(data, headers={"ETag": f'"{host.version}"'})


class SampleViewSet(Contract, mixins.ListModelMixin, viewsets.GenericViewSet):
    queryset = Sample.objects.all()
    serializer_class = AsyncSampleSerializer
    pagination_class = Cursors
    filter_backends = [DjangoFilterBackend, OrderingFilter]
    filterset_class = SampleFilter
    ordering_fields = ["at"]

    async def acreate(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data, many=True)
        await sync_to_async(serializer.is_valid)(raise_exception=True)
        stored = await Sample.objects.abulk_create(
            Sample(**one) for one in serializer.validated_data
        )
        return Response({"stored": len(stored)}, status=201)


router = SimpleRouter()
router.register("hosts", HostViewSet)
router.register("samples", SampleViewSet)
urlpatterns = [
    path("bench/empty/", EmptyView.as_view()),
    path("bench/", include(router.urls)),
]
