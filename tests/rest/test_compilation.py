"""Compiled reading gives what DRF gives, by value and type, for whatever the columns hold."""

import datetime

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fleet.models import Container, Host, Image, State
from app.rest import serializers
from app.rest.compilation import read_rows, row_function
from app.rest.representation import plan_of


class HostSerializer(serializers.ModelSerializer):
    spare = serializers.FloatField(source="cpus")

    class Meta:
        model = Host
        fields = "__all__"


class NestedSerializer(serializers.ModelSerializer):
    host = HostSerializer()
    host_name = serializers.CharField(source="host.name")
    host_id = serializers.PrimaryKeyRelatedField(source="host", read_only=True)

    class Meta:
        model = Container
        fields = [
            "id", "name", "state", "labels", "host", "host_name", "host_id", "image", "exit_code",
            "oom_killed", "started_at", "cpu_limit", "memory_limit_bytes",
        ]  # fmt: skip


class DynamicSerializer(HostSerializer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields.pop("name")


class OverridingSerializer(HostSerializer):
    def to_representation(self, instance):
        return {"only": instance.name}


zones = st.sampled_from([datetime.UTC, datetime.timezone(datetime.timedelta(hours=5, minutes=30))])
moments = st.datetimes(
    datetime.datetime(1900, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
    datetime.datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=zones,
)
hosts = st.builds(
    Host,
    id=st.integers(1),
    name=st.text(),
    labels=st.dictionaries(st.text(), st.text() | st.integers()),
    cpus=st.floats(allow_nan=False) | st.integers(),
    memory_bytes=st.integers(),
    engine=st.sampled_from(["docker", "swarm", "unknown", ""]),
    last_seen_at=st.none() | moments,
    created_at=moments,
    updated_at=moments,
)
containers = st.builds(
    Container,
    id=st.integers(1),
    host=hosts,
    image_id=st.none() | st.integers(),
    name=st.text(),
    state=st.sampled_from(State),
    labels=st.none() | st.lists(st.integers()),
    exit_code=st.none() | st.integers(),
    oom_killed=st.booleans() | st.sampled_from(["yes", 0, 1]),
    started_at=st.none() | moments,
    cpu_limit=st.none() | st.floats(),
    memory_limit_bytes=st.none() | st.integers(),
)


def typed(value):
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    return (type(value), repr(value))


@settings(max_examples=150, deadline=None)
@given(hosts | containers, st.sampled_from(["UTC", "Asia/Kolkata", "America/New_York"]))
def test_compiled_row_is_drfs(instance, zone):
    serializer_class = HostSerializer if isinstance(instance, Host) else NestedSerializer
    with timezone.override(zone):
        compiled = plan_of(serializer_class(instance)).row
        assert compiled is not None
        expected = serializer_class(instance).to_representation(instance)
        (row,) = read_rows(compiled, [instance])
        assert typed(row) == typed(expected)
        assert list(row) == list(expected)


@pytest.mark.parametrize("serializer_class", [DynamicSerializer, OverridingSerializer])
@pytest.mark.asyncio
async def test_class_that_decides_about_its_fields_is_not_compiled(serializer_class):
    host = Host(id=1, name="a", cpus=1, memory_bytes=1, created_at=timezone.now())
    assert row_function(serializer_class()) is None
    data = await serializer_class(host).adata
    assert data == serializer_class(host).data
    assert "name" not in data


@pytest.mark.asyncio
async def test_fields_that_one_object_changed_are_its_own():
    host = Host(id=1, name="a", cpus=1, memory_bytes=1, created_at=timezone.now())
    serializer = HostSerializer(host)
    del serializer.fields["name"]
    assert "name" not in await serializer.adata
    assert "name" in await HostSerializer(host).adata


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
async def test_hundred_rows_of_ten_fields_cost_no_hop_and_one_query_a_relation(client, hops):
    host = await Host.objects.acreate(name="a", cpus=1, memory_bytes=1)
    rows = [Container(host=host, engine_id=str(n), name="n", last_seen_at=host.created_at)
            for n in range(100)]  # fmt: skip
    await Container.objects.abulk_create(rows)
    loaded = [row async for row in Container.objects.order_by("id")]
    data = await NestedSerializer(loaded, many=True).adata
    assert len(data) == 100
    assert data[0]["host"]["name"] == "a"
    assert not hops


class ImageSerializer(serializers.ModelSerializer):
    class Meta:
        model = Image
        fields = ["id", "reference", "hosts"]


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
async def test_many_to_many_is_compiled_too():
    host = await Host.objects.acreate(name="a", cpus=1, memory_bytes=1)
    image = await Image.objects.acreate(reference="r")
    await image.hosts.aadd(host)
    assert plan_of(ImageSerializer()).row is not None
    assert (await ImageSerializer(image).adata)["hosts"] == [host.pk]
