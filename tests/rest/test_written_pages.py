"""A page whose bytes are written from rows has DRF's data for whoever looks at them."""

import datetime
import pickle

import pytest
import pytest_asyncio
from django.test import override_settings
from django.urls import include, path
from django.utils import timezone
from rest_framework.renderers import JSONRenderer as DRFJSONRenderer

from app import db
from app.fleet.models import Container, Host
from app.rest import lanes, serializers, viewsets
from app.rest.handlers import ASGIHandler
from app.rest.pagination import CursorPagination, LimitOffsetPagination, PageNumberPagination
from app.rest.renderers import JSONRenderer
from app.rest.response import Response
from app.rest.routers import SimpleRouter
from app.rest.test import APIClient
from tests.rest.test_models import Open

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.urls("tests.rest.test_written_pages"),
    pytest.mark.usefixtures("transaction"),
]

SEEN = datetime.datetime(2026, 1, 1, 0, 0, 0, 5, datetime.UTC)


class HostSerializer(serializers.ModelSerializer):
    class Meta:
        model = Host
        fields = ["id", "name", "cpus", "labels", "last_seen_at"]


class ContainerSerializer(serializers.ModelSerializer):
    host = HostSerializer(read_only=True)

    class Meta:
        model = Container
        fields = ["id", "host", "name", "state", "oom_killed", "cpu_limit", "last_seen_at"]


class ContainerViewSet(Open, viewsets.ReadOnlyModelViewSet):
    queryset = Container.objects.order_by("id")
    serializer_class = ContainerSerializer


class Paged(PageNumberPagination):
    page_size = 2


class Limited(LimitOffsetPagination):
    default_limit = 2


class ByCursor(CursorPagination):
    page_size = 2
    ordering = "id"


class Wrapped(Paged):
    def get_paginated_response(self, data):
        return Response({"count": self.page.paginator.count, "items": data})


class PagedViewSet(ContainerViewSet):
    pagination_class = Paged


class LimitedViewSet(ContainerViewSet):
    pagination_class = Limited


class CursorViewSet(ContainerViewSet):
    pagination_class = ByCursor


class StartSerializer(serializers.ModelSerializer):
    class Meta:
        model = Container
        fields = ["id", "started_at", "last_seen_at"]


class StartedViewSet(PagedViewSet):
    serializer_class = StartSerializer


class ByStart(CursorPagination):
    page_size = 2
    ordering = "started_at"


class ByStartViewSet(StartedViewSet):
    pagination_class = ByStart


class WrappedViewSet(ContainerViewSet):
    pagination_class = Wrapped


class ViewWrapsViewSet(PagedViewSet):
    def get_paginated_response(self, data):
        return Response({"items": data})


class AwaitedWrapViewSet(PagedViewSet):
    async def get_apaginated_response(self, data):
        return Response({"items": data})


class SeenViewSet(PagedViewSet):
    def finalize_response(self, request, response, *args, **kwargs):
        response = super().finalize_response(request, response, *args, **kwargs)
        response.data["results"][0]["name"] = "changed"
        return response


class ReplacedViewSet(PagedViewSet):
    def finalize_response(self, request, response, *args, **kwargs):
        response = super().finalize_response(request, response, *args, **kwargs)
        response.data = {"replaced": True}
        return response


class OtherRenderer(JSONRenderer):
    def render(self, data, accepted_media_type=None, renderer_context=None):
        return super().render({"other": data}, accepted_media_type, renderer_context)


class OtherRendererViewSet(PagedViewSet):
    def finalize_response(self, request, response, *args, **kwargs):
        response = super().finalize_response(request, response, *args, **kwargs)
        response.accepted_renderer = OtherRenderer()
        return response


class OwnRendererViewSet(PagedViewSet):
    renderer_classes = [OtherRenderer]


class DRFRendererViewSet(PagedViewSet):
    renderer_classes = [DRFJSONRenderer]


class IndentedViewSet(PagedViewSet):
    def get_renderer_context(self):
        return {**super().get_renderer_context(), "indent": 2}


WRITTEN = {"paged": PagedViewSet, "limited": LimitedViewSet, "cursor": CursorViewSet}
LOOKED_AT = {
    "wrapped": WrappedViewSet, "view-wraps": ViewWrapsViewSet, "awaited": AwaitedWrapViewSet,
    "seen": SeenViewSet, "replaced": ReplacedViewSet, "other": OtherRendererViewSet,
    "own": OwnRendererViewSet, "drf": DRFRendererViewSet, "indented": IndentedViewSet,
}  # fmt: skip
router = SimpleRouter()
OF_MOMENTS = {"started": StartedViewSet, "by-start": ByStartViewSet}
for name, viewset in {**WRITTEN, **LOOKED_AT, **OF_MOMENTS}.items():
    router.register(name, viewset, name)
urlpatterns = [path("", include(router.urls))]


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def containers(transaction):
    host = await Host.objects.acreate(
        name="h\u2028", cpus=0.5, memory_bytes=2**30, labels={"a": [1.5, None, True]}
    )
    for number in range(5):
        await Container.objects.acreate(
            host=host, engine_id=f"e{number}", name=f"c{number}", last_seen_at=SEEN
        )


@pytest.fixture
def written(monkeypatch):
    """The bodies that were written from rows."""
    bodies = []
    make = Response.written.__func__

    def note(cls, body, make_data):
        bodies.append(body)
        return make(cls, body, make_data)

    monkeypatch.setattr(Response, "written", classmethod(note))
    return bodies


async def ask(address, **options):
    with override_settings(**options):
        return await APIClient(app=ASGIHandler()).get(address)


LONG = {"STOWAGE": {"SHORTCUTS": False}}


@pytest.mark.parametrize("name", [*WRITTEN, *LOOKED_AT])
async def test_page_is_drfs(name, written):
    short, long = await ask(f"/{name}/"), await ask(f"/{name}/", **LONG)
    assert short.status_code == 200, short.text
    assert short.content == long.content
    assert list(short.headers.items()) == list(long.headers.items())
    if name in WRITTEN:
        assert written == [short.content]


looks = []


def look(get_response):
    async def respond(request):
        response = await get_response(request)
        looks.append(response)
        return response

    return respond


look.async_capable, look.sync_capable = True, False


async def answers(name):
    """The response that middleware sees, the short way and the long one."""
    looks.clear()
    middleware = ["tests.rest.test_written_pages.look"]
    await ask(f"/{name}/", MIDDLEWARE=middleware)
    await ask(f"/{name}/", MIDDLEWARE=middleware, **LONG)
    return looks


@pytest.mark.parametrize("name", WRITTEN)
async def test_data_are_drfs_when_somebody_looks(name, written):
    short, long = await answers(name)
    assert written
    with timezone.override("Asia/Kolkata"):  # whatever it is by then
        assert hasattr(short, "data")
    assert short.data == long.data
    assert list(short.data) == list(long.data)
    assert type(short.data["results"][0]["last_seen_at"]) is str
    assert short.data is short.data


async def test_kept_response_has_its_data(written):
    short, long = await answers("paged")
    assert written
    kept = pickle.loads(pickle.dumps(short))
    assert kept.content == long.content
    assert kept.data == long.data


async def test_data_that_middleware_changes_are_sent(written):
    short = await ask("/seen/")
    assert written
    assert short.json()["results"][0]["name"] == "changed"
    assert (await ask("/replaced/")).json() == {"replaced": True}


async def test_renderer_that_was_patched_is_asked(monkeypatch, written):
    monkeypatch.setattr(JSONRenderer, "render", lambda self, data, *args: str(len(data)).encode())
    assert (await ask("/paged/")).content == b"4"
    assert not written


async def test_page_with_an_odd_float_is_drfs(written):
    await Container.objects.filter(name="c0").aupdate(cpu_limit=1e-05)
    short, long = await ask("/paged/"), await ask("/paged/", **LONG)
    assert b"1e-05" in short.content
    assert short.content == long.content
    assert not written


async def test_page_in_another_time_zone_is_drfs(written):
    with timezone.override("Asia/Kolkata"):
        short, long = await ask("/paged/"), await ask("/paged/", **LONG)
    assert b"+05:30" in short.content
    assert short.content == long.content
    assert written == [short.content]


MOMENTS = [
    "2026-01-01 00:00:00+00", "2026-01-01 00:00:00.5+00", "2026-07-01 12:00:00.123456+05:30",
    "0001-01-01 00:00:00.000001+00", "0987-06-05 04:03:02.1+00", "9999-12-31 23:59:59.999999+00",
    "1969-12-31 23:59:59.999990+00", "1600-02-29 00:00:00.010203+00", None,
]  # fmt: skip


@pytest.fixture
def new_lanes():
    """Lanes that have not met an odd moment yet."""
    for viewset in OF_MOMENTS.values():
        if lanes.LANES in vars(viewset):
            delattr(viewset, lanes.LANES)


async def have_started(moments):
    for number, moment in enumerate(moments):
        await db.execute(
            "UPDATE fleet_container SET started_at = %s::text::timestamptz WHERE name = %s",
            moment,
            f"c{number}",
        )


@pytest.mark.parametrize("part", [slice(0, 5), slice(4, 9), slice(0, 1), slice(8, 9)])
async def test_moments_as_postgresql_writes_them_are_drfs(part, written, new_lanes):
    await have_started(MOMENTS[part])
    for address in ("/started/", "/started/?page=2", "/started/?page=3", "/by-start/"):
        short, long = await ask(address), await ask(address, **LONG)
        assert short.content == long.content
    assert len(written) == 4


async def test_page_by_the_moment_goes_on_where_it_ended(written, new_lanes):
    await have_started(MOMENTS[:5])
    for addresses in (["/by-start/"], ["/by-start/"]):
        while addresses[-1]:
            short, long = await ask(addresses[-1]), await ask(addresses[-1], **LONG)
            assert short.content == long.content
            addresses.append(short.json()["next"])
        assert len(addresses) == 4
    assert len(written) == 6


@pytest.mark.parametrize("moment", ["infinity", "-infinity"])
async def test_moment_of_no_year_is_drfs(moment, written, new_lanes):
    await have_started([moment])
    for _ in range(2):
        short, long = await ask("/started/"), await ask("/started/", **LONG)
        assert (short.status_code, short.content) == (long.status_code, long.content)
    await have_started([None])
    short, long = await ask("/started/"), await ask("/started/", **LONG)
    assert short.content == long.content


async def test_moments_of_a_session_with_another_style_are_drfs(written, new_lanes):
    await db.execute("SET LOCAL DateStyle TO German")
    for _ in range(2):
        short, long = await ask("/started/"), await ask("/started/", **LONG)
        assert short.content == long.content
    assert len(written) == 1  # from the second time on the driver reads them


async def test_hook_that_is_patched_later_gets_the_data(monkeypatch):
    assert "results" in (await ask("/paged/")).json()

    def wrap(self, data):
        return Response({"patched": len(data)})

    with monkeypatch.context() as patch:
        patch.setattr(PagedViewSet, "get_paginated_response", wrap, raising=False)
        assert (await ask("/paged/")).json() == {"patched": 2}
    monkeypatch.setattr(Paged, "get_paginated_response", wrap, raising=False)
    assert (await ask("/paged/")).json() == {"patched": 2}


async def test_page_that_is_gone_is_drfs():
    short, long = await ask("/paged/?page=9"), await ask("/paged/?page=9", **LONG)
    assert short.status_code == 404
    assert short.content == long.content


async def test_no_row_is_written_as_drf_does(written):
    await Container.objects.all().adelete()
    for name in WRITTEN:
        short, long = await ask(f"/{name}/"), await ask(f"/{name}/", **LONG)
        assert short.content == long.content
    assert len(written) == len(WRITTEN)
