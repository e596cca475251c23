"""`?fields=`, `?omit=`, `?expand=`: answers, queries and their width, refusals."""

import asyncio

import pytest
from django.urls import include, path
from django.utils import timezone

from app.db.testing import assert_num_queries
from app.fleet.models import Container, Host, Image
from app.rest import fieldsets, serializers, viewsets
from app.rest.fieldsets import Expandable, FieldsetsMixin, Shape, shaped
from app.rest.narrowing import narrowed, reads_of
from app.rest.pagination import CursorPagination
from app.rest.permissions import AllowAny, BasePermission
from app.rest.representation import plan_of
from app.rest.routers import SimpleRouter
from app.rest.schemas import SchemaGenerator
from tests.rest.test_models import make

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.urls("tests.rest.test_fieldsets"),
    pytest.mark.usefixtures("transaction"),
]


class HostSerializer(serializers.ModelSerializer):
    allocatable = serializers.JSONField(read_only=True)
    shout = serializers.SerializerMethodField()

    class Meta:
        model = Host
        fields = ["id", "name", "cpus", "memory_bytes", "labels", "allocatable", "shout"]
        reads = {"allocatable": ["cpus", "memory_bytes", "reserved_cpus", "reserved_memory_bytes"]}
        expandable_fields = {
            "containers": Expandable("tests.rest.test_fieldsets.ContainerSerializer", many=True)
        }

    def get_shout(self, host):
        return host.name.upper()


class NotSecret(BasePermission):
    async def has_object_permission(self, request, view, obj):
        return obj.reference != "secret"


class NotToday(BasePermission):
    async def has_permission(self, request, view):
        return False


class ImageSerializer(serializers.ModelSerializer):
    class Meta:
        model = Image
        fields = ["id", "reference", "digest", "hosts"]
        expandable_fields = {"hosts": Expandable(HostSerializer, many=True)}


class ContainerSerializer(serializers.ModelSerializer):
    host_name = serializers.CharField(source="host.name", read_only=True)

    class Meta:
        model = Container
        fields = ["id", "name", "state", "host", "host_name", "image", "labels"]
        expandable_fields = {
            "host": HostSerializer,
            "image": Expandable(ImageSerializer, permission_classes=[NotSecret]),
            "workload": Expandable(HostSerializer, permission_classes=[NotToday]),
        }


class NestedSerializer(serializers.ModelSerializer):
    host = HostSerializer(read_only=True)

    class Meta:
        model = Container
        fields = ["id", "name", "host"]


class Open:
    authentication_classes = []
    permission_classes = [AllowAny]


class HostViewSet(Open, FieldsetsMixin, viewsets.ModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    filterset_fields = ["name"]


class ImageViewSet(Open, FieldsetsMixin, viewsets.ModelViewSet):
    queryset = Image.objects.order_by("id").prefetch_related("hosts")
    serializer_class = ImageSerializer


class ByName(CursorPagination):
    ordering = "-state"


class ContainerViewSet(Open, FieldsetsMixin, viewsets.ModelViewSet):
    queryset = Container.objects.select_related("host", "image").order_by("id")
    serializer_class = ContainerSerializer


class CursorViewSet(ContainerViewSet):
    pagination_class = ByName


class NestedViewSet(ContainerViewSet):
    serializer_class = NestedSerializer


class NoSecretViewSet(ContainerViewSet):
    class ReadsLabels(BasePermission):
        async def has_object_permission(self, request, view, obj):
            return not obj.labels

    permission_classes = [ReadsLabels]


router = SimpleRouter()
for prefix, viewset in {
    "hosts": HostViewSet,
    "images": ImageViewSet,
    "containers": ContainerViewSet,
    "cursor": CursorViewSet,
    "nested": NestedViewSet,
    "guarded": NoSecretViewSet,
}.items():
    router.register(prefix, viewset, basename=prefix)
urlpatterns = [path("", include(router.urls))]


async def fleet(count=1):
    image = await Image.objects.acreate(reference="r", digest="d")
    made = []
    for n in range(count):
        host = await make(f"h{n}")
        await image.hosts.aadd(host)
        made.append(
            await Container.objects.acreate(
                host=host, image=image, engine_id=str(n), name=f"c{n}", last_seen_at=timezone.now()
            )
        )
    return made


async def results(client, url):
    response = await client.get(url)
    assert response.status_code == 200, response.text
    return response.json()["results"]


async def test_fields_are_the_only_ones_in_the_serializers_order(client, hops):
    (made,) = await fleet()
    assert await results(client, "/containers/?fields=name,id") == [{"id": made.pk, "name": "c0"}]
    one = await client.get(f"/containers/{made.pk}/?fields=name&fields=state")
    assert one.json() == {"name": "c0", "state": "created"}
    assert not hops


async def test_omitted_fields_are_left_out(client):
    await fleet()
    (row,) = await results(client, "/containers/?omit=labels,host,image")
    assert list(row) == ["id", "name", "state", "host_name"]


async def test_expanded_relation_is_the_object(client, hops):
    (made,) = await fleet()
    (row,) = await results(client, "/containers/?expand=host")
    assert (row["host"]["id"], row["host"]["shout"]) == (made.host_id, "H0")
    assert row["image"] == made.image_id
    assert not hops


async def test_paths_choose_of_the_expanded_object(client, hops):
    await fleet()
    (row,) = await results(client, "/containers/?fields=name,host.name")
    assert row == {"name": "c0", "host": {"name": "h0"}}
    (row,) = await results(client, "/containers/?expand=host&fields=name&omit=host.labels,host.id")
    assert list(row["host"]) == ["name", "cpus", "memory_bytes", "allocatable", "shout"]
    (row,) = await results(client, "/containers/?fields=image.hosts.name")
    assert row == {"image": {"hosts": [{"name": "h0"}]}}
    assert not hops


async def test_nested_serializers_are_narrowed_too(client):
    await fleet()
    (row,) = await results(client, "/nested/?fields=host.name")
    assert row == {"host": {"name": "h0"}}
    (row,) = await results(client, "/nested/?omit=host.labels,host.shout")
    assert list(row["host"]) == ["id", "name", "cpus", "memory_bytes", "allocatable"]


@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize(
    ("url", "queries"),
    [
        ("/containers/?fields=id,name", 2),
        ("/containers/?expand=host", 2),
        ("/containers/?expand=host,image", 3),  # the hosts of the images, by their keys
        ("/containers/?expand=image.hosts", 3),
        ("/images/?fields=id", 2),
        ("/images/?fields=hosts.name", 3),
        ("/hosts/?expand=containers", 3),
        ("/hosts/?expand=containers.image&omit=containers.image.hosts", 3),
    ],
)
async def test_number_of_queries_is_that_of_what_is_asked_for(client, count, url, queries):
    await fleet(count)
    with assert_num_queries(queries):  # the count, the page, and relations to many
        await results(client, url)


@pytest.mark.parametrize(
    ("cls", "shape", "columns", "joins"),
    [
        (ContainerSerializer, Shape(("name",)), {"id", "name"}, set()),
        (ContainerSerializer, Shape(("host",)), {"id", "host"}, set()),
        (
            ContainerSerializer,
            Shape(("host_name",)),
            {"id", "host", "host__name"},
            {"host"},
        ),
        (
            ContainerSerializer,
            Shape(("host",), (("host", Shape(("cpus",))),), frozenset({"host"})),
            {"id", "host", "host__id", "host__cpus"},
            {"host"},
        ),
        (
            HostSerializer,
            Shape(("allocatable",)),
            {"id", "cpus", "memory_bytes", "reserved_cpus", "reserved_memory_bytes"},
            set(),
        ),
    ],
)
async def test_columns_and_joins_are_those_that_are_read(cls, shape, columns, joins):
    narrow = shaped(cls, shape)
    assert (reads_of(narrow).columns, reads_of(narrow).joins) == (columns, joins)
    is_compiled = plan_of(narrow()).row is not None
    assert is_compiled == ("allocatable" not in shape.names)  # a property, which is not


async def test_query_selects_no_column_more():
    cls = shaped(ContainerSerializer, Shape(("name",)))
    narrow = narrowed(ContainerViewSet.queryset, cls, set())
    sql = str(narrow.query)
    assert "labels" not in sql
    assert "JOIN" not in sql


async def test_unread_prefetches_are_not_made(client):
    await fleet(3)
    with assert_num_queries(2):
        assert len(await results(client, "/images/?fields=id,reference")) == 1


async def test_cursor_reads_the_column_that_it_orders_by(client, hops):
    await fleet(3)
    response = await client.get("/cursor/?fields=id&page_size=1")
    assert response.status_code == 200, response.text
    assert not hops


async def test_permission_that_looks_at_the_object_sees_all_of_it(client, hops):
    (made,) = await fleet()
    assert (await client.get(f"/guarded/{made.pk}/?fields=id")).json() == {"id": made.pk}
    await Container.objects.aupdate(labels={"a": "b"})
    assert (await client.get(f"/guarded/{made.pk}/?fields=id")).status_code == 403
    assert not hops


async def test_expansion_that_the_caller_may_not_have_is_refused(client):
    await fleet()
    response = await client.get("/containers/?expand=workload")
    message = "You may not expand 'workload'. Leave it out."
    assert (response.status_code, response.json()) == (403, {"detail": message})


async def test_object_that_its_permission_refuses_stays_a_key(client):
    first, second = await fleet(2)
    secret = await Image.objects.acreate(reference="secret")
    second.image = secret
    await second.asave()
    rows = await results(client, "/containers/?fields=image.reference")
    assert rows == [{"image": {"reference": "r"}}, {"image": secret.pk}]
    assert first.image_id != secret.pk


@pytest.mark.parametrize(
    ("query", "parameter", "message"),
    [
        ("fields=nmae", "fields", "'nmae' is unknown. Known are: id, name, state, host, "),
        ("omit=x", "omit", "'x' is unknown. Known are: "),
        ("expand=name", "expand", "'name' is unknown. Known are: host, image, workload."),
        ("expand=host.x", "expand", "'host.x' is unknown. Known are: host.containers."),
        ("fields=host.x", "fields", "'host.x' is unknown. Known are: host.id, host.name,"),
        ("fields=name.x", "fields", "'name' has no parts to choose from."),
        ("fields= name", "fields", "' name' is unknown."),
        ("expand=host..name", "expand", "'host.' is unknown."),
        (
            "expand=host.containers.host.containers",
            "expand",
            "'host.containers.host.containers' is deeper than 3 levels.",
        ),
        ("fields=" + ",".join(["name"] * 201), "fields", "At most 200 names; got 201."),
    ],
)
async def test_what_cannot_be_given_is_refused_with_what_can(client, query, parameter, message):
    response = await client.get(f"/containers/?{query}")
    assert response.status_code == 400
    assert list(response.json()) == [parameter]
    assert message in response.json()[parameter][0]


async def test_parameters_without_a_name_ask_for_nothing(client):
    await fleet()
    plain = await results(client, "/containers/")
    assert await results(client, "/containers/?fields=&omit=&expand=,") == plain


async def test_writes_answer_in_full(client):
    response = await client.post(
        "/hosts/?fields=id", {"name": "a", "cpus": 1, "memory_bytes": 2**30}
    )
    assert (response.status_code, response.json()["name"]) == (201, "a")


async def test_kept_classes_are_bounded():
    shaped.cache_clear()
    names = fieldsets.names_of(HostSerializer)
    for number in range(fieldsets.KEPT_CLASSES + 10):
        chosen = tuple(name for place, name in enumerate(names) if number >> place & 1)
        shaped(HostSerializer, Shape(chosen, (), frozenset({str(number)})))
        await asyncio.sleep(0)  # as requests would make them, one in a step
    assert shaped.cache_info().currsize == fieldsets.KEPT_CLASSES


async def test_same_shape_is_made_once():
    shape = Shape(("id", "name"))
    assert shaped(HostSerializer, shape) is shaped(HostSerializer, Shape(("id", "name")))


@pytest.mark.blocks("a schema is made in one go")
async def test_schema_names_what_may_be_asked_for():
    schema = SchemaGenerator(patterns=urlpatterns).get_schema(public=True)
    operation = schema["paths"]["/containers/"]["get"]
    known = {
        one["name"]: one["schema"]["items"]["enum"]
        for one in operation["parameters"]
        if one["name"] in fieldsets.PARAMETERS
    }
    assert known["expand"][:2] == ["host", "host.containers"]
    assert "host.name" in known["fields"]
    assert max(name.count(".") for name in known["expand"]) == 2
    sparse = schema["components"]["schemas"]["SparseContainer"]
    assert "required" not in sparse
    assert {"$ref": "#/components/schemas/SparseHost"} in sparse["properties"]["host"]["anyOf"]
