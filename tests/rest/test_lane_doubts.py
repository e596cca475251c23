"""A view's compiled reads and writes hold only as long as what they were compiled from: another
permission, filter or ordering of one route or one action, a hook that is patched.
"""

import pytest
import pytest_asyncio
from django.urls import include, path

from app.fleet.models import Host
from app.rest import lanes, viewsets
from app.rest.decorators import action
from app.rest.filters import DjangoFilterBackend, FilterSet, KnownOrderingFilter
from app.rest.permissions import AllowAny, BasePermission
from app.rest.routers import SimpleRouter
from tests.rest.test_models import HostSerializer

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.urls("tests.rest.test_lane_doubts"),
    pytest.mark.usefixtures("transaction"),
]


class NotB(BasePermission):
    async def has_object_permission(self, request, view, obj):
        return obj.name != "b"


class HostViewSet(viewsets.ModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    authentication_classes = []
    permission_classes = [AllowAny]
    filter_backends = [KnownOrderingFilter]
    ordering = ["name"]

    @action(detail=True, permission_classes=[NotB])
    async def guarded(self, request, pk=None):
        return await self.retrieve(request, pk)

    @action(detail=False, ordering=["-name"])
    async def backwards(self, request):
        return await self.list(request)


class ByAction(HostViewSet):
    def get_permissions(self):
        return [NotB()] if self.action == "retrieve" else super().get_permissions()


class ByMood(HostViewSet):
    @property
    def ordering(self):
        return ["-name"] if "HTTP_X_BACKWARDS" in self.request.META else ["name"]


class HostFilter(FilterSet):
    class Meta:
        model = Host
        fields = ["name", "cpus"]


class FilteredViewSet(HostViewSet):
    filter_backends = [DjangoFilterBackend]
    filterset_class = HostFilter


class OwnQueryViewSet(FilteredViewSet):
    """Shows some callers what they did not ask for."""

    def initialize_request(self, request, *args, **kwargs):
        forced = request.META.get("HTTP_X_NAME")
        if forced:
            request.GET = request.GET.copy()
            request.GET["name"] = forced
        return super().initialize_request(request, *args, **kwargs)


router = SimpleRouter()
router.register("filtered", FilteredViewSet, "filtered")
router.register("own-query", OwnQueryViewSet, "own-query")
router.register("hosts", HostViewSet)
router.register("by-action", ByAction, "by-action")
router.register("by-mood", ByMood, "by-mood")
urlpatterns = [
    path("guarded/<int:pk>/", HostViewSet.as_view({"get": "retrieve"}, permission_classes=[NotB])),
    path("by-name/<name>/", HostViewSet.as_view({"get": "retrieve"}, lookup_field="name")),
    path("", include(router.urls)),
]


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def hosts(transaction):
    return [
        await Host.objects.acreate(name=name, cpus=1, memory_bytes=2**30) for name in ("a", "b")
    ]


def names(response):
    assert response.status_code == 200, response.text
    return [one["name"] for one in response.json()["results"]]


@pytest.mark.parametrize("address", ["/guarded/{}/", "/hosts/{}/guarded/", "/by-action/{}/"])
async def test_object_permission_of_a_route_or_an_action_is_asked(client, hosts, address):
    a, b = hosts
    for one in hosts:
        assert (await client.get(f"/hosts/{one.pk}/")).status_code == 200
        await client.get(f"/by-action/?x={one.pk}")
    assert (await client.get(address.format(a.pk))).status_code == 200
    assert (await client.get(address.format(b.pk))).status_code == 403
    assert (await client.get(f"/hosts/{b.pk}/")).status_code == 200


async def test_object_permission_that_is_given_to_the_class_later_is_asked(
    client, hosts, monkeypatch
):
    address = f"/hosts/{hosts[1].pk}/"
    assert (await client.get(address)).status_code == 200
    monkeypatch.setattr(HostViewSet, "permission_classes", [NotB])
    assert (await client.get(address)).status_code == 403


async def test_ordering_of_an_action_or_a_request_is_its_own(client):
    for _ in range(2):
        assert names(await client.get("/hosts/")) == ["a", "b"]
        assert names(await client.get("/hosts/backwards/")) == ["b", "a"]
        assert names(await client.get("/by-mood/")) == ["a", "b"]
        assert names(await client.get("/by-mood/", HTTP_X_BACKWARDS="1")) == ["b", "a"]


async def test_lookup_of_a_route_is_its_own(client, hosts):
    for _ in range(2):
        assert (await client.get(f"/hosts/{hosts[0].pk}/")).json()["name"] == "a"
        assert (await client.get("/by-name/a/")).json()["name"] == "a"


async def test_hook_that_is_patched_later_is_called(client, hosts, monkeypatch):
    payload = {"name": "c", "cpus": 1, "memory_bytes": 2**30}
    assert names(await client.get("/hosts/")) == ["a", "b"]
    assert (await client.post("/hosts/", payload)).status_code == 201

    async def keep(self, serializer):
        await serializer.asave(name="kept")

    def only_b(self):
        return Host.objects.filter(name="b")

    with monkeypatch.context() as patch:
        patch.setattr(HostViewSet, "get_queryset", only_b)
        patch.setattr(HostViewSet, "perform_create", keep)
        assert names(await client.get("/hosts/")) == ["b"]
        assert (await client.get(f"/hosts/{hosts[0].pk}/")).status_code == 404
        made = await client.post("/hosts/", {**payload, "name": "d"})
        assert made.json()["name"] == "kept"
    assert names(await client.get("/hosts/")) == ["a", "b", "c", "kept"]
    monkeypatch.setattr(HostViewSet, "ordering", ["-name"])
    assert names(await client.get("/hosts/"))[0] == "kept"


async def test_serializer_that_is_patched_later_is_asked(client, hosts, monkeypatch):
    payload = {"name": "c", "cpus": 1, "memory_bytes": 2**30}
    assert names(await client.get("/hosts/")) == ["a", "b"]
    assert (await client.post("/hosts/", payload)).status_code == 201
    with monkeypatch.context() as patch:
        patch.setattr(HostSerializer, "to_representation", lambda self, host: {"name": "shown"})
        assert names(await client.get("/hosts/"))[0] == "shown"
        assert (await client.get(f"/hosts/{hosts[0].pk}/")).json() == {"name": "shown"}
    with monkeypatch.context() as patch:
        patch.setattr(
            HostSerializer, "validate", lambda self, attrs: {**attrs, "name": "validated"}
        )
        made = await client.post("/hosts/", {**payload, "name": "d"})
        assert made.json()["name"] == "validated"
    assert names(await client.get("/hosts/"))[0] == "a"


async def test_query_that_a_request_was_given_is_its_own(client, hosts):
    for address in ("/own-query/?cpus=1", "/own-query/?cpus=1&name="):
        for forced, found in (("a", ["a"]), ("", ["a", "b"]), ("b", ["b"]), ("", ["a", "b"])):
            response = await client.get(address, headers={"X-Name": forced} if forced else {})
            assert names(response) == found


async def test_query_that_was_asked_before_is_asked_again(client, hosts):
    for _ in range(2):
        assert names(await client.get("/filtered/?cpus=1&name=a")) == ["a"]
        assert names(await client.get("/filtered/?cpus=1&name=b")) == ["b"]
        assert names(await client.get("/filtered/?cpus=2")) == []
        assert (await client.get("/filtered/?cpus=x")).status_code == 400
    ((_, lane),) = vars(FilteredViewSet)[lanes.LANES][1].values()
    assert set(lane.filters.known) == {"cpus=1&name=a", "cpus=1&name=b", "cpus=2"}
    await hosts[0].adelete()
    assert names(await client.get("/filtered/?cpus=1&name=a")) == []
