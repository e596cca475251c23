"""What a model computes of a few columns is read without the others, and is DRF's."""

from functools import cached_property

import pytest
import pytest_asyncio
from django.conf import settings
from django.test import override_settings
from django.urls import include, path

from app.fleet.models import Container, Host, Image
from app.rest import fields, lanes, serializers, viewsets
from app.rest.filters import FilterSet, passes_over_nothing
from app.rest.records import record_of
from app.rest.routers import SimpleRouter
from tests.rest.test_models import Open
from tests.rest.test_shortcuts import ContainerFilter

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.urls("tests.rest.test_computed_fields"),
    pytest.mark.usefixtures("transaction"),
]

LONG = {**settings.STOWAGE, "SHORTCUTS": False}


def serializer_of(field, *, reads=None, model=Host, **more):
    meta = {"model": model, "fields": ["id", "name", "computed"], "reads": reads or {}}
    attributes = {"computed": field, "Meta": type("Meta", (), meta), **more}
    return type("ComputedSerializer", (serializers.ModelSerializer,), attributes)


READS = {"computed": ["cpus", "reserved_cpus"]}


async def test_property_is_computed_of_the_columns_that_are_told(monkeypatch):
    left = property(lambda host: host.cpus - host.reserved_cpus)
    monkeypatch.setattr(Host, "computed", left, raising=False)
    record = record_of(serializer_of(fields.FloatField(read_only=True), reads=READS))
    assert record.paths == ("id", "name", "cpus", "reserved_cpus")
    row = (1, "a", 4.0, 0.5)
    shown = {"id": 1, "name": "a", "computed": 3.5}
    assert record.represent_one(row) == shown
    assert record.represent([row, row]) == record.written([row, row]) == [shown] * 2


@pytest.mark.parametrize(
    ("attribute", "reads"),
    [
        (property(lambda host: host.cpus), {}),
        (property(lambda host: host.cpus), {"computed": ["nope"]}),
        (property(lambda host: host.labels), {"computed": ["labels"]}),
        (property(lambda host: host.pk), {"computed": ["containers"]}),
        (lambda host: host.cpus, READS),
        ([], {}),
    ],
)
async def test_what_is_not_told_or_is_no_property_is_not_computed(monkeypatch, attribute, reads):
    monkeypatch.setattr(Host, "computed", attribute, raising=False)
    assert record_of(serializer_of(fields.JSONField(read_only=True), reads=reads)) is None


@pytest.mark.parametrize("value", [None, True, 3, "x"])
async def test_constant_of_the_class_is_what_it_is_now(monkeypatch, value):
    monkeypatch.setattr(Host, "computed", "before", raising=False)
    record = record_of(serializer_of(fields.JSONField(read_only=True)))
    monkeypatch.setattr(Host, "computed", value)
    assert record.paths == ("id", "name")
    assert record.represent_one((1, "a"))["computed"] == value
    assert record.represent([(1, "a")]) == record.written([(1, "a")])


@pytest.mark.parametrize("value", [1e-05, float("nan"), object(), {"a": 2**64}])
async def test_odd_computed_value_is_not_left_to_orjson(monkeypatch, value):
    monkeypatch.setattr(Host, "computed", property(lambda host: value), raising=False)
    record = record_of(serializer_of(fields.JSONField(read_only=True), reads=READS))
    with pytest.raises(ValueError, match="otherwise"):
        record.written([(1, "a", 4.0, 0.5)])


class HostViewSet(Open, viewsets.ReadOnlyModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = serializer_of(fields.JSONField(read_only=True), reads=READS)


class PrefetchingViewSet(HostViewSet):
    queryset = Host.objects.order_by("id").prefetch_related("containers")


class ImageNameSerializer(serializers.ModelSerializer):
    image_reference = fields.CharField(source="image.reference", allow_null=True, read_only=True)

    class Meta:
        model = Container
        fields = ["id", "image_reference"]


class ImageNameOrDefaultSerializer(ImageNameSerializer):
    image_reference = fields.CharField(source="image.reference", default="none", read_only=True)


class ImageNameOrNothingSerializer(ImageNameSerializer):
    image_reference = fields.CharField(source="image.reference", read_only=True)


class ContainerViewSet(Open, viewsets.ReadOnlyModelViewSet):
    queryset = Container.objects.order_by("id")
    serializer_class = ImageNameSerializer


class WithDefaultViewSet(ContainerViewSet):
    serializer_class = ImageNameOrDefaultSerializer


class WithNothingViewSet(ContainerViewSet):
    serializer_class = ImageNameOrNothingSerializer


class FirstOnly:
    @lanes.passes_when(lambda view: "HTTP_X_FIRST" not in view.request.META)
    async def filter_queryset(self, queryset):
        queryset = await super().filter_queryset(queryset)
        return queryset.filter(name="a") if "HTTP_X_FIRST" in self.request.META else queryset


class FirstViewSet(FirstOnly, HostViewSet):
    pass


class Marked(ContainerFilter.base_filters["name"].__class__):
    @passes_over_nothing
    def filter(self, qs, value):
        return qs.filter(name=value.lower()) if value else qs


class MarkedFilter(FilterSet):
    name = Marked()

    class Meta:
        model = Host
        fields: list[str] = []


class MarkedViewSet(HostViewSet):
    filterset_class = MarkedFilter


router = SimpleRouter()
for name, viewset in {
    "hosts": HostViewSet, "prefetching": PrefetchingViewSet, "containers": ContainerViewSet,
    "default": WithDefaultViewSet, "nothing": WithNothingViewSet, "first": FirstViewSet,
    "marked": MarkedViewSet,
}.items():  # fmt: skip
    router.register(name, viewset, name)
urlpatterns = [path("", include(router.urls))]


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def hosts(transaction):
    made = [
        await Host.objects.acreate(name=name, cpus=4, reserved_cpus=0.5, memory_bytes=2**30)
        for name in ("a", "b")
    ]
    image = await Image.objects.acreate(reference="r", digest="sha256:" + "0" * 64)
    for number, one in enumerate((image, None)):
        await Container.objects.acreate(
            host=made[0], image=one, engine_id=f"e{number}", name=f"c{number}",
            last_seen_at=made[0].created_at,
        )  # fmt: skip
    return made


@pytest.fixture
def served(monkeypatch):
    """The lanes that answered."""
    answered = []
    answer = lanes.Lane.list_response

    async def note(lane, view):
        response = await answer(lane, view)
        answered.append(lane)
        return response

    monkeypatch.setattr(lanes.Lane, "list_response", note)
    return answered


async def both(client, address, **headers):
    short = await client.get(address, **headers)
    with override_settings(STOWAGE=LONG):
        long = await client.get(address, **headers)
    assert (short.status_code, short.content) == (long.status_code, long.content)
    return short.json()["results"]


@pytest.mark.parametrize(
    ("attribute", "is_served"),
    [
        (property(lambda host: {"cpus": host.cpus - host.reserved_cpus}), True),
        (property(lambda host: [host.pk, host.cpus]), True),
        (cached_property(lambda host: host.cpus), True),
        (property(lambda host: None), True),
        (property(lambda host: host.memory_bytes), False),  # which is not told
        (property(lambda host: host.nope), False),  # DRF leaves the field out
        (property(lambda host: lambda: 1), False),  # DRF calls it
        (property(lambda host: 1e-07), True),
        (7, True),
    ],
)
async def test_list_shows_what_drf_shows(client, served, monkeypatch, attribute, is_served):
    if isinstance(attribute, cached_property):
        attribute.__set_name__(Host, "computed")
    monkeypatch.setattr(Host, "computed", attribute, raising=False)
    monkeypatch.setattr(
        HostViewSet,
        "serializer_class",
        serializer_of(fields.JSONField(read_only=True), reads=READS),
    )
    assert len(await both(client, "/hosts/")) == 2
    assert bool(served) is is_served


async def test_what_may_be_computed_of_prefetched_rows_is_left_to_drf(client, served, monkeypatch):
    count = property(lambda host: len(host.containers.all()))
    monkeypatch.setattr(Host, "computed", count, raising=False)
    first, second = await both(client, "/prefetching/")
    assert (first["computed"], second["computed"]) == (2, 0)
    assert not served


async def test_column_of_an_object_that_may_be_missing_is_drfs(client, served):
    shown = await both(client, "/containers/")
    assert [one["image_reference"] for one in shown] == ["r", None]
    assert len(served) == 1
    assert (await both(client, "/default/"))[1]["image_reference"] == "none"
    assert "image_reference" not in (await both(client, "/nothing/"))[1]
    assert len(served) == 1


async def test_hook_that_is_marked_is_asked_where_it_does_something(client, served, monkeypatch):
    monkeypatch.setattr(Host, "computed", 1, raising=False)
    assert len(await both(client, "/first/")) == 2
    assert len(served) == 1
    assert len(await both(client, "/first/", HTTP_X_FIRST="1")) == 1
    assert len(served) == 1


async def test_hook_over_one_that_is_not_marked_goes_without_a_lane(client, served, monkeypatch):
    monkeypatch.setattr(Host, "computed", 1, raising=False)

    async def only_b(self, queryset):
        return queryset.filter(name="b")

    monkeypatch.setattr(HostViewSet, "filter_queryset", only_b)
    monkeypatch.setattr(FirstViewSet, "ordering", ["id"], raising=False)
    (only,) = await both(client, "/first/")
    assert only["name"] == "b"
    assert not served


async def test_filter_that_is_marked_is_asked_where_it_has_a_value(client, served, monkeypatch):
    monkeypatch.setattr(Host, "computed", 1, raising=False)
    assert len(await both(client, "/marked/?name=")) == 2
    assert len(served) == 1
    assert len(await both(client, "/marked/?name=A")) == 1
    assert len(served) == 1
