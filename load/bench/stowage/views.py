import django_filters

from app import db
from app.rest import mixins, views, viewsets
from app.rest.conditional import ConditionalMixin
from app.rest.filters import FilterSet
from app.rest.pagination import CursorPagination
from app.rest.request import Request
from app.rest.response import Response
from load.bench.stowage.models import Host, Sample
from load.bench.stowage.serializers import HostSerializer, SampleSerializer


class EmptyView(views.APIView):
    async def get(self, request: Request) -> Response:
        return Response({})


class HostViewSet(ConditionalMixin, viewsets.ModelViewSet):
    version_field = "version"
    queryset = Host.objects.select_related("team").order_by("id")
    serializer_class = HostSerializer
    filterset_fields = ["name"]
    ordering_fields = ["id", "name"]


class SampleFilter(FilterSet):
    host = django_filters.NumberFilter("host_id")

    class Meta:
        model = Sample
        fields: list[str] = []


class SamplePagination(CursorPagination):
    page_size = 50
    ordering = "-at"


class SampleViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    queryset = Sample.objects.all()
    serializer_class = SampleSerializer
    filterset_class = SampleFilter
    pagination_class = SamplePagination
    ordering_fields = ["at"]

    async def create(self, request: Request) -> Response:
        """A batch: all of it is stored, or none."""
        serializer = self.get_serializer(data=request.data, many=True)
        await serializer.ais_valid(raise_exception=True)
        stored = await db.copy_in(
            Sample,
            columns=["host_id", "at", "cpu", "memory_bytes"],
            records=[
                (one["host"].pk, one["at"], one["cpu"], one["memory_bytes"])
                for one in serializer.validated_data
            ],
        )
        return Response({"stored": stored}, status=201)
