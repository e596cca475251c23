"""Bulk create, update and delete: all or none, errors by item, a constant number of statements."""

import pytest
from django.urls import include, path

from app.db.testing import assert_num_queries
from app.fleet.models import Container, Host, Image
from app.rest import bulk, serializers, viewsets
from app.rest.permissions import AllowAny, BasePermission
from app.rest.routers import SimpleRouter
from app.rest.schemas import SchemaGenerator
from app.rest.validators import UniqueTogetherValidator
from tests.rest.test_models import host, make

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.urls("tests.rest.test_bulk"),
    pytest.mark.usefixtures("transaction"),
]


class HostSerializer(serializers.ModelSerializer):
    class Meta:
        model = Host
        fields = ["id", "name", "cpus", "memory_bytes", "labels"]


class ImageSerializer(serializers.ModelSerializer):
    class Meta:
        model = Image
        fields = ["id", "reference", "digest"]
        validators = [UniqueTogetherValidator(Image.objects.all(), ["reference", "digest"])]


class ContainerSerializer(serializers.ModelSerializer):
    class Meta:
        model = Container
        fields = ["id", "host", "image", "engine_id", "name"]


class NotLocked(BasePermission):
    message = "This host is locked."

    async def has_object_permission(self, request, view, obj):
        return obj.labels != {"locked": "yes"}


class Open:
    authentication_classes = []
    permission_classes = [AllowAny]


class HostViewSet(bulk.BulkModelMixin, viewsets.ModelViewSet):
    authentication_classes = []
    permission_classes = [NotLocked]
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    filterset_fields = {"name": ["exact", "startswith"], "last_seen_at": ["isnull"]}
    bulk_max_items = 1000
    search_fields = ["name"]


class ImageViewSet(Open, bulk.BulkModelMixin, viewsets.ModelViewSet):
    queryset = Image.objects.order_by("id")
    serializer_class = ImageSerializer


class ContainerViewSet(Open, bulk.BulkCreateModelMixin, viewsets.ModelViewSet):
    queryset = Container.objects.order_by("id")
    serializer_class = ContainerSerializer
    bulk_max_items = 5


class NotBulkViewSet(Open, viewsets.ModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer


router = SimpleRouter()
router.register("hosts", HostViewSet)
router.register("images", ImageViewSet)
router.register("containers", ContainerViewSet)
router.register("plain", NotBulkViewSet, basename="plain")
urlpatterns = [path("", include(router.urls))]

HOSTS = "/hosts/"


async def names():
    return [one.name async for one in Host.objects.order_by("id")]


class TestCreate:
    async def test_list_creates_all_in_their_order(self, client, hops):
        response = await client.post(HOSTS, [host(name) for name in "cab"])
        assert response.status_code == 201, response.text
        assert [one["name"] for one in response.json()] == ["c", "a", "b"] == await names()
        assert all(one["id"] for one in response.json())
        assert not hops

    async def test_object_is_created_as_ever(self, client):
        response = await client.post(HOSTS, host())
        assert (response.status_code, response.json()["name"]) == (201, "a")

    async def test_one_wrong_item_creates_none_and_is_named_by_its_place(self, client):
        items = [host("a"), host("b", cpus="many"), host("c"), "text"]
        response = await client.post(HOSTS, items)
        assert response.status_code == 400
        assert response.json() == {
            "1": {"cpus": ["A valid number is required."]},
            "3": {"non_field_errors": ["Invalid data. Expected a dictionary, but got str."]},
        }
        assert await names() == []

    @pytest.mark.parametrize("count", [1, 20, 200])
    async def test_number_of_statements_does_not_grow_with_the_items(self, client, count):
        with assert_num_queries(2):  # which names are taken, and the insert
            response = await client.post(HOSTS, [host(f"h{n}") for n in range(count)])
        assert response.status_code == 201, response.text

    @pytest.mark.parametrize("count", [1, 5])
    async def test_relations_cost_one_statement_a_model(self, client, count):
        hosts = [await make(name) for name in "ab"]
        items = [
            {"host": hosts[n % 2].pk, "image": None, "engine_id": str(n), "name": "n"}
            for n in range(count)
        ]
        with assert_num_queries(3):  # hosts, engine ids that are taken, the insert
            response = await client.post("/containers/", items)
        assert response.status_code == 201, response.text

    async def test_value_that_is_taken_is_refused_as_for_one_object(self, client):
        await make("b")
        response = await client.post(HOSTS, [host("a"), host("b")])
        assert response.json() == {"1": {"name": ["host with this name already exists."]}}
        assert await names() == ["b"]

    async def test_value_that_two_items_take_is_found_before_the_database_is_asked(self, client):
        response = await client.post(HOSTS, [host("a"), host("b"), host("a")])
        message = "Item 0 of this list has the same name. Give each its own."
        assert (response.status_code, response.json()) == (400, {"2": {"name": [message]}})
        assert await names() == []

    @pytest.mark.parametrize("count", [2, 60])
    async def test_values_unique_together_are_asked_for_at_once(self, client, count):
        await Image.objects.acreate(reference="r0", digest="d")
        items = [{"reference": f"r{n}", "digest": "d"} for n in range(count)]
        with assert_num_queries(1):
            response = await client.post("/images/", items)
        message = "The fields reference, digest must make a unique set."
        assert response.json() == {"0": {"non_field_errors": [message]}}
        with assert_num_queries(2):
            response = await client.post("/images/", items[1:])
        assert response.status_code == 201, response.text
        twice = [{"reference": "x", "digest": "1"}] * 2
        response = await client.post("/images/", twice)
        assert list(response.json()) == ["1"]

    async def test_more_items_than_allowed_are_refused_with_the_limit(self, client):
        response = await client.post("/containers/", [{}] * 6)
        message = "At most 5 items at a time; got 6. Send or name fewer."
        assert (response.status_code, response.json()) == (413, {"detail": message})

    async def test_empty_list_is_refused(self, client):
        response = await client.post(HOSTS, [])
        assert (response.status_code, list(response.json())) == (400, ["non_field_errors"])

    async def test_viewset_without_the_mixin_takes_no_list(self, client):
        assert (await client.post("/plain/", [host()])).status_code == 400
        for method in (client.put, client.patch, client.delete):
            assert (await method("/plain/", [])).status_code == 405


class TestUpdate:
    async def test_patch_changes_what_each_item_says(self, client, hops):
        a, b = await make("a"), await make("b")
        items = [{"id": b.pk, "cpus": 8}, {"id": a.pk, "name": "x"}]
        response = await client.patch(HOSTS, items)
        assert response.status_code == 200, response.text
        assert [(one["id"], one["name"], one["cpus"]) for one in response.json()] == [
            (b.pk, "b", 8.0),
            (a.pk, "x", 4.0),
        ]
        assert await names() == ["x", "b"]
        assert not hops

    async def test_put_asks_for_whole_objects(self, client):
        a = await make("a")
        response = await client.put(HOSTS, [{"id": a.pk, "name": "x"}])
        required = ["This field is required."]
        assert response.json() == {"0": {"cpus": required, "memory_bytes": required}}
        response = await client.put(HOSTS, [{"id": a.pk, **host("x")}])
        assert (response.status_code, await names()) == (200, ["x"])

    @pytest.mark.parametrize("count", [1, 20, 100])
    async def test_number_of_statements_does_not_grow_with_the_items(self, client, count):
        rows = [Host(name=f"h{n}", cpus=1, memory_bytes=1) for n in range(count)]
        made = await Host.objects.abulk_create(rows)
        items = [{"id": one.pk, "name": f"x{one.pk}", "cpus": 2} for one in made]
        with assert_num_queries(3):  # the objects, the names that are taken, the update
            response = await client.patch(HOSTS, items)
        assert response.status_code == 200, response.text

    async def test_ids_that_do_not_serve_are_named_by_item_and_nothing_changes(self, client):
        a = await make("a")
        items = [
            {"id": a.pk, "cpus": 8},
            {"cpus": 8},
            {"id": a.pk, "cpus": 9},
            {"id": 0, "cpus": 8},
            {"id": "x"},
            {"id": 2**70},
            {"id": None},
            7,
        ]
        response = await client.patch(HOSTS, items)
        assert response.status_code == 400
        assert response.json() == {
            "1": {"id": ["This field is required."]},
            "2": {"id": ["Item 0 of this list has the same id. Name each object once."]},
            "4": {"id": ["A valid integer is required."]},
            "5": {"id": ["There is no object with this id here."]},
            "6": {"id": ["This field may not be null."]},
            "7": {"id": ["This field is required."]},
            "3": {"id": ["There is no object 0 here."]},
        }
        assert (await Host.objects.aget()).cpus == 4

    async def test_object_keeps_its_own_name_and_takes_no_other(self, client):
        a, b = await make("a"), await make("b")
        keeping = [{"id": a.pk, "name": "a"}, {"id": b.pk, "name": "b"}]
        assert (await client.patch(HOSTS, keeping)).status_code == 200
        response = await client.patch(HOSTS, [{"id": a.pk, "name": "b"}])
        assert response.json() == {"0": {"name": ["host with this name already exists."]}}
        both = [{"id": a.pk, "name": "x"}, {"id": b.pk, "name": "x"}]
        assert list((await client.patch(HOSTS, both)).json()) == ["1"]

    async def test_object_permission_is_asked_for_each(self, client):
        a, b = await make("a"), await make("b")
        b.labels = {"locked": "yes"}
        await b.asave()
        response = await client.patch(HOSTS, [{"id": one.pk, "cpus": 9} for one in (a, b)])
        assert response.status_code == 403
        assert response.json() == {"1": {"detail": "This host is locked."}}
        assert (await Host.objects.aget(pk=a.pk)).cpus == 4

    async def test_what_is_no_list_is_refused(self, client):
        for body in ({"id": 1}, "text", 7):
            response = await client.patch(HOSTS, body)
            assert (response.status_code, list(response.json())) == (400, ["non_field_errors"])


class TestDelete:
    async def test_ids_are_deleted_and_counted(self, client, hops):
        a, b, c = [await make(name) for name in "abc"]
        response = await client.delete(f"{HOSTS}?id={a.pk},{b.pk}")
        assert (response.status_code, response.json()) == (200, {"deleted": 2})
        response = await client.delete(HOSTS, [c.pk])
        assert (response.json(), await names()) == ({"deleted": 1}, [])
        assert not hops

    async def test_filter_deletes_what_it_selects(self, client):
        for name in ("a1", "a2", "b"):
            await make(name)
        response = await client.delete(f"{HOSTS}?name__startswith=a")
        assert (response.json(), await names()) == ({"deleted": 2}, ["b"])

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("", "non_field_errors"),
            ("?nmae=a", "nmae"),
            ("?name=", "name"),
            ("?name=a&x=1", "x"),
            ("?ordering=name", "ordering"),
            ("?page=1", "page"),
            ("?last_seen_at__isnull=perhaps", "non_field_errors"),
            ("?id=", "id"),
        ],
    )
    async def test_everything_is_never_deleted_by_accident(self, client, query, field):
        await make("a")
        response = await client.delete(HOSTS + query)
        assert (response.status_code, await names()) == (400, ["a"]), response.text
        assert field in str(response.json())

    async def test_unknown_id_deletes_none(self, client):
        a = await make("a")
        response = await client.delete(f"{HOSTS}?id={a.pk},0,x")
        assert (response.status_code, list(response.json())) == (400, ["1", "2"])
        assert await names() == ["a"]

    async def test_object_permission_is_asked_for_each(self, client):
        await make("a")
        locked = await make("ab")
        locked.labels = {"locked": "yes"}
        await locked.asave()
        response = await client.delete(f"{HOSTS}?name__startswith=a")
        assert (response.status_code, list(response.json())) == (403, ["1"])
        assert len(await names()) == 2

    async def test_filter_of_more_than_allowed_deletes_none(self, client, monkeypatch):
        monkeypatch.setattr(HostViewSet, "bulk_max_items", 2)
        for name in ("a1", "a2", "a3"):
            await make(name)
        response = await client.delete(f"{HOSTS}?name__startswith=a")
        assert response.status_code == 413
        assert "At most 2" in response.json()["detail"]
        assert len(await names()) == 3


class ShoutingSerializer(HostSerializer):
    async def acreate(self, validated_data):
        return await super().acreate({**validated_data, "name": validated_data["name"].upper()})


async def test_serializer_that_creates_in_its_own_way_is_asked_item_by_item():
    child = ShoutingSerializer()
    serializer = bulk.BulkListSerializer(data=[host("a"), host("b")], child=child)
    assert await serializer.ais_valid(), serializer.errors
    await serializer.asave()
    assert await names() == ["A", "B"]


async def test_value_changed_by_a_hook_is_asked_about_as_it_is():
    class Lower(HostSerializer):
        def to_internal_value(self, data):
            return {**super().to_internal_value(data), "name": data["name"].lower()}

    await make("a")
    serializer = bulk.BulkListSerializer(data=[host("A")], child=Lower())
    assert not await serializer.ais_valid()


@pytest.mark.blocks("a schema is made in one go")
async def test_schema_tells_of_lists_ids_and_counts():
    paths = SchemaGenerator(patterns=urlpatterns).get_schema(public=True)["paths"]["/hosts/"]
    bodies = {
        method: operation["requestBody"]["content"]["application/json"]["schema"]
        for method, operation in paths.items()
        if "requestBody" in operation
    }
    assert bodies["post"]["anyOf"][1]["maxItems"] == 1000
    assert bodies["put"]["items"]["required"] == ["id", "cpus", "memory_bytes", "name"]
    assert bodies["patch"]["items"]["required"] == ["id"]
    assert [one["name"] for one in paths["delete"]["parameters"]] == [
        "id", "last_seen_at__isnull", "name", "name__startswith", "search",
    ]  # fmt: skip
    assert len({operation["operationId"] for operation in paths.values()}) == len(paths)
