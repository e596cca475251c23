"""A model's viewset end to end: serializers, relations, uniqueness, pagination, filters."""

import pytest
from django.urls import include, path

from app import db
from app.db.testing import assert_num_queries
from app.fleet.models import Container, Host, Image
from app.rest import serializers, viewsets
from app.rest.permissions import AllowAny
from app.rest.routers import DefaultRouter

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.urls("tests.rest.test_models"),
    pytest.mark.usefixtures("transaction"),
]


class HostSerializer(serializers.ModelSerializer):
    class Meta:
        model = Host
        fields = ["id", "name", "cpus", "memory_bytes", "labels"]


class ImageSerializer(serializers.ModelSerializer):
    hosts = serializers.PrimaryKeyRelatedField(many=True, queryset=Host.objects.all())

    class Meta:
        model = Image
        fields = ["id", "reference", "digest", "hosts"]


class ContainerSerializer(serializers.ModelSerializer):
    host_name = serializers.CharField(source="host.name", read_only=True)

    class Meta:
        model = Container
        fields = ["id", "engine_id", "name", "host", "host_name", "image", "state"]


class Open:
    authentication_classes = []
    permission_classes = [AllowAny]


class HostViewSet(Open, viewsets.ModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    filterset_fields = ["name"]
    search_fields = ["name"]
    ordering_fields = ["name"]


class ImageViewSet(Open, viewsets.ModelViewSet):
    queryset = Image.objects.order_by("id")
    serializer_class = ImageSerializer


class ContainerViewSet(Open, viewsets.ModelViewSet):
    queryset = Container.objects.order_by("id")
    serializer_class = ContainerSerializer
    filterset_fields = ["host", "state"]


router = DefaultRouter()
router.register("hosts", HostViewSet)
router.register("images", ImageViewSet)
router.register("containers", ContainerViewSet)
urlpatterns = [path("", include(router.urls))]


def host(name="a", **values):
    return {"name": name, "cpus": 4, "memory_bytes": 2**30, **values}


async def make(name="a"):
    return await Host.objects.acreate(name=name, cpus=4, memory_bytes=2**30)


async def test_created_object_is_stored_and_returned(client):
    response = await client.post("/hosts/", host())
    assert response.status_code == 201, response.text
    stored = await Host.objects.aget()
    assert response.json() == {"id": stored.pk, **host(cpus=4.0), "labels": {}}


async def test_name_that_is_taken_is_refused_after_one_exists(client):
    await make("a")
    with assert_num_queries(1 + 1):  # the insert that finds it taken; DRF's question
        response = await client.post("/hosts/", host("a"))
    assert response.status_code == 400
    assert response.json() == {"name": ["host with this name already exists."]}


async def test_object_is_retrieved_updated_and_deleted(client):
    pk = (await make()).pk
    assert (await client.get(f"/hosts/{pk}/")).json()["name"] == "a"
    assert (await client.patch(f"/hosts/{pk}/", {"name": "b"})).json()["name"] == "b"
    assert (await client.put(f"/hosts/{pk}/", host("c"))).json()["name"] == "c"
    assert (await client.delete(f"/hosts/{pk}/")).status_code == 204
    assert (await client.get(f"/hosts/{pk}/")).status_code == 404


@pytest.mark.parametrize("pk", ["x", "99999999999999999999999", "%00", "-1", "1" * 5000])
async def test_key_that_no_row_can_have_is_not_found(client, pk):
    assert (await client.get(f"/hosts/{pk}/")).status_code == 404


async def test_list_is_paginated_with_one_query(client):
    for name in "abc":
        await make(name)
    with assert_num_queries(1):  # the rows, with their count
        response = await client.get("/hosts/")
    assert response.json()["count"] == 3
    assert [one["name"] for one in response.json()["results"]] == ["a", "b", "c"]


@pytest.mark.parametrize("page", ["0", "2", "-1", "x", "9" * 30, "1e5"])
async def test_page_that_is_not_there_is_not_found(client, page):
    assert (await client.get(f"/hosts/?page={page}")).status_code == 404


async def test_list_is_filtered_searched_and_ordered(client):
    for name in ("a1", "a2", "b1"):
        await make(name)

    async def names(query):
        return [one["name"] for one in (await client.get(f"/hosts/?{query}")).json()["results"]]

    assert await names("name=a2") == ["a2"]
    assert await names("search=a") == ["a1", "a2"]
    assert await names("ordering=-name") == ["b1", "a2", "a1"]


async def test_related_objects_of_a_payload_are_found_with_one_query(client):
    keys = [(await make(name)).pk for name in "abc"]
    with assert_num_queries(1 + 1):  # the hosts; the uniqueness of (reference, digest)
        serializer = ImageSerializer(data={"reference": "r", "digest": "d", "hosts": keys})
        assert await serializer.ais_valid(), serializer.errors
    assert [one.pk for one in serializer.validated_data["hosts"]] == keys


async def test_missing_related_object_is_named(client):
    for wrong, message in [
        (7, 'Invalid pk "7" - object does not exist.'),
        (10**30, f'Invalid pk "{10**30}" - object does not exist.'),
        ("x", "Incorrect type. Expected pk value, received str."),
        (True, "Incorrect type. Expected pk value, received bool."),
        ({}, "Incorrect type. Expected pk value, received dict."),
    ]:
        response = await client.post("/images/", {"reference": "r", "hosts": [wrong]})
        assert response.status_code == 400
        assert response.json() == {"hosts": [message]}


async def test_object_in_the_place_of_a_list_of_keys_is_read_as_drf_does(client):
    """By its keys: `{"x": 1}` is a list of "x"."""
    response = await client.post("/images/", {"reference": "r", "hosts": {"x": 1}})
    message = "Incorrect type. Expected pk value, received str."
    assert (response.status_code, response.json()) == (400, {"hosts": [message]})


async def test_many_to_many_is_read_with_one_query_for_the_list(client):
    hosts = [await make(name) for name in "abc"]
    for reference in "xyz":
        image = await Image.objects.acreate(reference=reference)
        through = Image.hosts.through
        await db.objects(through).abulk_create([through(image=image, host=one) for one in hosts])
    with assert_num_queries(3):
        response = await client.get("/images/")
    assert response.json()["results"][2]["hosts"] == [one.pk for one in hosts]


async def test_dotted_source_is_read_with_the_list(client):
    for name in "abc":
        owner = await make(name)
        await Container.objects.acreate(
            host=owner, engine_id=name, name=name, last_seen_at=owner.created_at
        )
    with assert_num_queries(1):  # the rows, joined, with their count
        response = await client.get("/containers/")
    assert [one["host_name"] for one in response.json()["results"]] == ["a", "b", "c"]


async def test_relation_is_filtered_by_key(client):
    owner = await make()
    await Container.objects.acreate(
        host=owner, engine_id="1", name="n", last_seen_at=owner.created_at
    )
    assert (await client.get(f"/containers/?host={owner.pk}")).json()["count"] == 1
    assert (await client.get("/containers/?host=0")).status_code == 400
    assert (await client.get("/containers/?host=" + "9" * 40)).status_code == 400
    assert (await client.get("/containers/?host=x")).status_code == 400
