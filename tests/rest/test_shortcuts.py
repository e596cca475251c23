"""With and without shortcuts the same answer: status, every header, every byte."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import django_filters
import pytest
import pytest_asyncio
from django.conf import settings
from django.test import override_settings
from django.urls import include, path
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from app.fleet.models import Container, Host, Image
from app.rest import lanes, serializers, viewsets
from app.rest.conditional import ConditionalMixin
from app.rest.filters import FilterSet
from app.rest.handlers import ASGIHandler
from app.rest.pagination import CursorPagination, LimitOffsetPagination, SizedMixin
from app.rest.routers import DefaultRouter
from app.rest.test import APIClient
from tests.rest.test_models import HostSerializer, Open

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.urls("tests.rest.test_shortcuts"),
    pytest.mark.usefixtures("transaction"),
]

CSRF_TOKEN = re.compile(rb"\b[A-Za-z0-9]{64}\b")
START = datetime(2026, 1, 1, tzinfo=UTC)


class NestedSerializer(serializers.ModelSerializer):
    host = HostSerializer(read_only=True)
    image_digest = serializers.CharField(source="image.digest", read_only=True)

    class Meta:
        model = Container
        fields = ["id", "engine_id", "host", "image", "image_digest", "state", "last_seen_at"]


class PlainSerializer(serializers.ModelSerializer):
    host = HostSerializer(read_only=True)

    class Meta:
        model = Container
        fields = ["id", "name", "host", "image", "state", "labels", "cpu_limit", "last_seen_at"]


class ContainerFilter(FilterSet):
    host = django_filters.NumberFilter("host_id")
    memory = django_filters.NumberFilter("memory_limit_bytes", lookup_expr="gte")
    small = django_filters.NumberFilter("exit_code", max_value=5, decimal_places=0)
    cpus = django_filters.NumberFilter("cpu_limit", lookup_expr="lt")
    name = django_filters.CharFilter()
    seen = django_filters.IsoDateTimeFilter("last_seen_at", lookup_expr="lt")
    named = django_filters.CharFilter("name", lookup_expr="icontains")
    odd = django_filters.CharFilter(method="keep_odd")

    def keep_odd(self, queryset, name, value):
        return queryset.filter(pk__in=[])

    class Meta:
        model = Container
        fields: list[str] = []


class HostViewSet(Open, viewsets.ModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    filterset_fields = ["name"]
    search_fields = ["name"]
    ordering_fields = ["name", "id"]


class ContainerViewSet(Open, viewsets.ReadOnlyModelViewSet):
    queryset = Container.objects.order_by("id")
    serializer_class = PlainSerializer
    filterset_class = ContainerFilter
    ordering_fields = ["id", "name", "last_seen_at"]


class NestedViewSet(ContainerViewSet):
    serializer_class = NestedSerializer


class Cursor(SizedMixin, CursorPagination):
    page_size = 3
    ordering = "-last_seen_at"


class CursorViewSet(ContainerViewSet):
    pagination_class = Cursor


class ConditionalViewSet(ConditionalMixin, ContainerViewSet):
    etag_fields = ("state", "cpu_limit")
    last_modified_fields = ("last_seen_at",)


class LimitViewSet(ContainerViewSet):
    pagination_class = LimitOffsetPagination


router = DefaultRouter()
router.register("hosts", HostViewSet)
router.register("containers", ContainerViewSet)
router.register("nested", NestedViewSet, "nested")
router.register("cursor", CursorViewSet, "cursor")
router.register("conditional", ConditionalViewSet, "conditional")
router.register("limit", LimitViewSet, "limit")
LONG = {**settings.STOWAGE, "SHORTCUTS": False}


class Pair:
    """The same request, the short way and the long one."""

    def __init__(self) -> None:
        self.short = APIClient(app=ASGIHandler())
        with override_settings(STOWAGE=LONG):
            self.long = APIClient(app=ASGIHandler())

    async def get(self, address, method="get", **headers):
        short = await getattr(self.short, method)(address, **headers)
        with override_settings(STOWAGE=LONG):
            long = await getattr(self.long, method)(address, **headers)
        assert shown(short) == shown(long), address
        return short


def shown(response):
    content = CSRF_TOKEN.sub(b"", response.content)  # another one in each page
    return response.status_code, content, list(response.headers.items())


@pytest_asyncio.fixture(loop_scope="session")
async def pair(transaction):
    image = await Image.objects.acreate(reference="r", digest="sha256:" + "0" * 64)
    for number in range(7):
        host = await Host.objects.acreate(
            name=f"h{number}", cpus=number + 0.5, memory_bytes=2**30, labels={"a": ['"', 10**20]}
        )
        await Container.objects.acreate(
            host=host,
            image=image if number % 2 else None,
            engine_id=f"e{number}",
            name=f"c{number // 2}",
            labels={"é": "\u2028", "n": "1"},
            cpu_limit=None if number % 3 else 1e-05,
            last_seen_at=START + timedelta(seconds=number // 2, microseconds=number % 2),
        )
    return Pair()


ADDRESSES = ("/conditional/", "/hosts/", "/containers/", "/nested/", "/cursor/", "/limit/")


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("method", ["get", "head", "options", "post", "delete"])
async def test_collection_answers_alike(pair, address, method):
    await pair.get(address, method)


@pytest.mark.parametrize("address", ADDRESSES)
async def test_object_answers_alike(pair, address):
    model = Host if address == "/hosts/" else Container
    async for pk in model.objects.values_list("pk", flat=True):
        assert (await pair.get(f"{address}{pk}/")).status_code == 200
    for pk in ("0", "x", "-1", "99999999999999999999", "%00", "1?ordering=name", "1?search=x"):
        await pair.get(f"{address}{pk}/")


@pytest.mark.parametrize("accept", ["text/html", "application/json; indent=4", "image/png", "*/*"])
async def test_every_renderer_answers_alike(pair, accept):
    for address in ("/containers/", "/hosts/", "/nope/", "/containers"):
        await pair.get(address, HTTP_ACCEPT=accept)


@pytest.mark.parametrize("letter", ["f", "%66", "%6F%66"])
async def test_a_format_in_the_query_is_found_however_it_is_written(pair, letter):
    rest = "ormat" if letter != "%6F%66" else "rmat"
    for name in (f"{letter}{rest}", f"f%6{letter[-1]}{rest}", f"x=%3D&{letter}{rest}", "x%3Df"):
        for wanted in ("json", "nope", "%6Ason"):
            await pair.get(f"/hosts/?{name}={wanted}")
    assert (await pair.get("/hosts/?%66ormat=nope")).status_code == 404


async def test_what_a_client_has_is_told_alike(pair):
    async for pk in Container.objects.values_list("pk", flat=True):
        whole = await pair.get(f"/conditional/{pk}/")
        tag, date = whole.headers["ETag"], whole.headers["Last-Modified"]
        same = await pair.get(f"/conditional/{pk}/", HTTP_IF_NONE_MATCH=tag)
        assert same.status_code == 304
        await pair.get(f"/conditional/{pk}/", HTTP_IF_NONE_MATCH='"other"')
        await pair.get(f"/conditional/{pk}/", HTTP_IF_MODIFIED_SINCE=date)
        await pair.get(f"/conditional/{pk}/", HTTP_IF_MATCH='"other"')


async def test_pages_are_alike_to_the_last(pair):
    for address in ADDRESSES:
        size = "limit" if address == "/limit/" else "page_size"
        while address is not None:
            response = await pair.get(f"{address}{'&' if '?' in address else '?'}{size}=2")
            address = response.json()["next"]  # noqa: PLW2901 - the next page of the same list
            address = address and address.removeprefix("http://testserver")  # noqa: PLW2901


@pytest.mark.parametrize("number", ["0", "1", "9" * 18, "9" * 19, "9" * 30])
async def test_pages_beyond_all_rows_are_alike(pair, number):
    for name in ("limit", "offset", "page", "page_size"):
        for address in ADDRESSES:
            await pair.get(f"{address}?{name}={number}")
            await pair.get(f"{address}?{name}={number}&limit=2")


NUMBERS = ("0", "1", "007", "5", "6", "1.5", " 1", "1e1", "-0", "٣", "1" * 18, "1" * 19, "nan", "x")


@pytest.mark.parametrize("name", ["host", "memory", "small", "cpus"])
async def test_numbers_are_read_alike(pair, name):
    for number in NUMBERS:
        await pair.get(f"/containers/?{urlencode({name: number})}")


async def test_headers_of_middleware_are_alike(pair):
    for headers in (
        {"HTTP_COOKIE": "sessionid=short"},
        {"HTTP_COOKIE": "sessionid=" + "a" * 32 + "; csrftoken=" + "b" * 32},
        {"HTTP_HOST": "evil.example"},
        {"HTTP_HOST": "localhost:8000"},
        {"HTTP_X_FORWARDED_PROTO": "https"},
    ):
        await pair.get("/hosts/", **headers)
    with override_settings(SECURE_HSTS_SECONDS=60, SECURE_SSL_REDIRECT=True):
        secured = Pair()
        await secured.get("/hosts/")
        await secured.get("/hosts/", HTTP_X_FORWARDED_PROTO="https")


@pytest.mark.parametrize(
    "options",
    [
        {
            "SECURE_HSTS_SECONDS": 60, "SECURE_HSTS_PRELOAD": True, "SECURE_SSL_REDIRECT": True,
            "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
        },
        {"X_FRAME_OPTIONS": "sameorigin", "SECURE_REFERRER_POLICY": "origin, no-referrer"},
        {"CSRF_USE_SESSIONS": True, "SECURE_CONTENT_TYPE_NOSNIFF": False},
        {"USE_X_FORWARDED_HOST": True, "ALLOWED_HOSTS": ["proxied"]},
        {"PREPEND_WWW": True, "APPEND_SLASH": True},
        {"DISALLOWED_USER_AGENTS": [re.compile("robot")]},
    ],
)  # fmt: skip
async def test_middleware_does_what_its_settings_say(options):
    with override_settings(**options):
        pair = Pair()
        for address in ("/hosts/", "/hosts", "/nowhere/"):
            for headers in (
                {},
                {"HTTP_X_FORWARDED_PROTO": "https"},
                {"HTTP_X_FORWARDED_HOST": "proxied"},
                {"HTTP_USER_AGENT": "robot"},
                {"HTTP_COOKIE": "sessionid=" + "a" * 32},
            ):
                await pair.get(address, **headers)


WORDS = st.sampled_from(
    ["1", "2", "0", "-1", "", "c1", "h3", "x", "é", "\x00", "1e3", "2147483648"]
)
VALUES = st.one_of(
    WORDS,
    st.sampled_from(["id", "-id", "name", "last_seen_at", "-last_seen_at,id", "nope"]),
    st.sampled_from(
        ["2026-01-01T00:00:02Z", "2026-01-01", "cD0x", "r=1", "bz0xJnA9Yw==", "9" * 30]
    ),
)
NAMES = st.sampled_from(
    ["page", "page_size", "limit", "offset", "cursor", "ordering", "search", "host", "memory",
     "name", "seen", "named", "odd", "format", "other"]
)  # fmt: skip


@pytest.mark.timeout(60)  # a hundred requests, twice
@hypothesis(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(ADDRESSES), st.lists(st.tuples(NAMES, VALUES), max_size=3))
async def test_any_query_answers_alike(pair, address, query):
    await pair.get(f"{address}?{urlencode(query)}")


@pytest.mark.parametrize("address", ["/hosts/", "/containers/", "/cursor/", "/limit/"])
async def test_plain_reads_take_the_lane(pair, address, monkeypatch):
    taken = []
    answer = lanes.Lane.list_response

    async def note(lane, view):
        response = await answer(lane, view)
        taken.append(lane)
        return response

    monkeypatch.setattr(lanes.Lane, "list_response", note)
    await pair.short.get(address)
    await pair.short.get(f"{address}?ordering=name&host=1")
    assert len(taken) == 2


class OneHostViewSet(HostViewSet):
    def get_queryset(self):
        return super().get_queryset().filter(name="h1")


router.register("one", OneHostViewSet, "one")


async def test_view_that_overrides_a_step_is_asked(pair):
    assert (await pair.get("/one/")).json()["count"] == 1


urlpatterns = [path("", include(router.urls))]
