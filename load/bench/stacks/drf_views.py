"""Django REST framework: model serializers, viewsets, a router."""

from typing import Any

import django_filters
from django.urls import include, path
from django_filters.rest_framework import DjangoFilterBackend, FilterSet
from rest_framework import authentication, mixins, permissions, serializers, throttling, viewsets
from rest_framework.filters import OrderingFilter
from rest_framework.pagination import CursorPagination, PageNumberPagination
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from load.bench.stacks.contract import HAS_AUTH
from load.bench.stacks.tables.models import Host, Sample, Team, Token


class TokenAuthentication(authentication.TokenAuthentication):
    keyword = "Bearer"
    model = Token


class HasScope(permissions.IsAuthenticated):
    def has_permission(self, request: Any, view: Any) -> bool:
        return super().has_permission(request, view) and request.auth.may(request.method)


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
    team_id = serializers.PrimaryKeyRelatedField(
        source="team", queryset=Team.objects.all(), write_only=True
    )
    labels = serializers.DictField(child=serializers.CharField(max_length=100), default=dict)

    class Meta:
        model = Host
        fields = [
            *("id", "name", "cpus", "memory_bytes", "team", "team_id"),
            *("version", "labels", "created_at"),
        ]
        read_only_fields = ["version"]
        extra_kwargs = {"cpus": {"min_value": 0}, "memory_bytes": {"min_value": 0}}


class SampleSerializer(serializers.ModelSerializer):
    class Meta:
        model = Sample
        fields = ["id", "host", "at", "cpu", "memory_bytes"]
        extra_kwargs = {"cpu": {"min_value": 0}, "memory_bytes": {"min_value": 0}}


class Pages(PageNumberPagination):
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 1000


class Cursors(CursorPagination):
    page_size = 50
    ordering = "-at"


class EmptyView(Contract, APIView):
    def get(self, request: Any) -> Response:
        return Response({})


class HostViewSet(Contract, viewsets.ModelViewSet):
    queryset = Host.objects.select_related("team").order_by("id")
    serializer_class = HostSerializer
    pagination_class = Pages
    filter_backends = [DjangoFilterBackend, OrderingFilter]
    filterset_fields = ["name"]
    ordering_fields = ["id", "name"]

    def retrieve(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        known = request.headers.get("If-None-Match")
        if known:
            versions = Host.objects.filter(pk=kwargs["pk"]).values_list("version", flat=True)
            if known == f'"{versions.first()}"':
                return Response(status=304, headers={"ETag": known})
        host = self.get_object()
        data = self.get_serializer(host).data
        return Response(data, headers={"ETag": f'"{host.version}"'})


class SampleFilter(FilterSet):
    host = django_filters.NumberFilter("host_id")

    class Meta:
        model = Sample
        fields: list[str] = []


class SampleViewSet(Contract, mixins.ListModelMixin, viewsets.GenericViewSet):
    queryset = Sample.objects.all()
    serializer_class = SampleSerializer
    pagination_class = Cursors
    filter_backends = [DjangoFilterBackend, OrderingFilter]
    filterset_class = SampleFilter
    ordering_fields = ["at"]

    def create(self, request: Any) -> Response:
        serializer = self.get_serializer(data=request.data, many=True)
        serializer.is_valid(raise_exception=True)
        stored = Sample.objects.bulk_create(Sample(**one) for one in serializer.validated_data)
        return Response({"stored": len(stored)}, status=201)


router = SimpleRouter()
router.register("hosts", HostViewSet)
router.register("samples", SampleViewSet)
urlpatterns = [
    path("bench/empty/", EmptyView.as_view()),
    path("bench/", include(router.urls)),
]
