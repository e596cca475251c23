"""Serializers: hooks of every colour, lists, nested input, unknown fields, saving."""

import asyncio

import pytest
from django.core.exceptions import SynchronousOnlyOperation

from app.db.testing import assert_num_queries
from app.fleet.models import Container, Host, Image
from app.rest import serializers
from app.rest.validators import UniqueTogetherValidator, UniqueValidator
from tests import guards
from tests.rest.test_models import HostSerializer, make

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]


class ContainerSerializer(serializers.ModelSerializer):
    class Meta:
        model = Container
        fields = ["id", "host", "image", "engine_id", "name", "last_seen_at"]


def container(host, number, **values):
    return {"host": host.pk, "engine_id": str(number), "name": "n", **values}


class PlainSerializer(serializers.Serializer):
    name = serializers.CharField(max_length=5)
    seen: list

    def validate_name(self, value):
        return value.upper()

    async def avalidate(self, attrs):
        await asyncio.sleep(0)
        return {**attrs, "awaited": True}

    def validate(self, attrs):
        return {**attrs, "plain": True}


async def test_hooks_of_both_colours_run():
    serializer = PlainSerializer(data={"name": "ab"})
    assert await serializer.ais_valid()
    assert serializer.validated_data == {"name": "AB", "awaited": True, "plain": True}
    assert not await PlainSerializer(data={"name": "abcdef"}).ais_valid()


async def test_relations_of_a_whole_list_are_found_with_one_query_a_model():
    hosts = [await make(name) for name in "abc"]
    image = await Image.objects.acreate(reference="r")
    data = [container(host, n, image=image.pk) for n, host in enumerate(hosts * 10)]

    class Unchecked(ContainerSerializer):
        class Meta(ContainerSerializer.Meta):
            extra_kwargs = {"engine_id": {"validators": []}}

    serializer = Unchecked(data=data, many=True)
    with assert_num_queries(2):
        assert await serializer.ais_valid(), serializer.errors
    assert [one["host"] for one in serializer.validated_data] == hosts * 10


async def test_errors_of_a_list_stand_at_their_items():
    host = await make()
    data = [container(host, 1), container(host, 2) | {"host": 0}, "text"]
    serializer = ContainerSerializer(data=data, many=True)
    assert not await serializer.ais_valid()
    errors = serializer.errors
    assert list(errors) == [1, 2]  # LIST_SERIALIZER_ERRORS_AS_DICT
    assert errors[1] == {"host": ['Invalid pk "0" - object does not exist.']}
    assert "Expected a dictionary" in errors[2]["non_field_errors"][0]


async def test_validation_of_a_thousand_items_does_not_hold_the_loop():
    host = await make()

    class Unchecked(ContainerSerializer):
        class Meta(ContainerSerializer.Meta):
            extra_kwargs = {"engine_id": {"validators": []}}

    serializer = Unchecked(data=[container(host, n) for n in range(1000)], many=True)
    with guards.no_stalls(0.02):
        # A task of its own, for its steps to be measured from the first.
        assert await asyncio.create_task(serializer.ais_valid()), serializer.errors


async def test_unique_together_asks_once_and_names_the_fields():
    await Image.objects.acreate(reference="r", digest="d")

    class ImageSerializer(serializers.ModelSerializer):
        class Meta:
            model = Image
            fields = ["reference", "digest"]
            validators = [
                UniqueTogetherValidator(Image.objects.all(), ["reference", "digest"]),
            ]

    serializer = ImageSerializer(data={"reference": "r", "digest": "d"})
    with assert_num_queries(1):
        assert not await serializer.ais_valid()
    assert serializer.errors == {
        "non_field_errors": ["The fields reference, digest must make a unique set."]
    }
    assert await ImageSerializer(data={"reference": "r", "digest": "e"}).ais_valid()


async def test_object_does_not_clash_with_itself():
    host = await make("a")
    serializer = HostSerializer(host, data={"name": "a"}, partial=True)
    assert await serializer.ais_valid()


async def test_overridden_to_internal_value_keeps_uniqueness_awaited():
    await make("a")

    class Wrapped(serializers.ModelSerializer):
        class Meta:
            model = Host
            fields = ["name", "cpus", "memory_bytes"]

        def to_internal_value(self, data):
            return super().to_internal_value(data["host"])

    serializer = Wrapped(data={"host": {"name": "a", "cpus": 1, "memory_bytes": 1}})
    assert not await serializer.ais_valid()
    assert serializer.errors == {"name": ["host with this name already exists."]}


async def test_plain_create_of_drf_still_saves(caplog):
    class Plain(serializers.Serializer):
        name = serializers.CharField()

        def create(self, validated_data):
            return dict(validated_data, saved=True)

    serializer = Plain(data={"name": "a"})
    await serializer.ais_valid(raise_exception=True)
    assert (await serializer.asave(by="me")) == {"name": "a", "by": "me", "saved": True}


async def test_hook_that_turns_out_to_ask_the_database_is_refused_or_run_in_a_thread(caplog):
    class Asking(serializers.Serializer):
        name = serializers.CharField()

        def validate_name(self, value):
            if _on_loop():
                raise SynchronousOnlyOperation("asked on the loop")
            return f"{value} from a thread"

    for _ in range(2):
        serializer = Asking(data={"name": "a"})
        assert await serializer.ais_valid(), serializer.errors
        assert serializer.validated_data["name"] == "a from a thread"
    assert caplog.text.count("asks the database") == 1


def _on_loop():
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def test_nested_serializer_reads_reverse_relations_with_one_query_each():
    class Inner(serializers.ModelSerializer):
        class Meta:
            model = Container
            fields = ["name"]

    class Outer(serializers.ModelSerializer):
        containers = Inner(many=True, read_only=True)

        class Meta:
            model = Host
            fields = ["name", "containers"]

    for name in "ab":
        host = await make(name)
        await Container.objects.acreate(
            host=host, engine_id=name, name=f"in {name}", last_seen_at=host.created_at
        )
    with assert_num_queries(2):
        data = await Outer(Host.objects.order_by("name"), many=True).adata
    assert data == [{"name": name, "containers": [{"name": f"in {name}"}]} for name in "ab"]


async def test_unique_validator_of_a_plain_serializer_is_awaited():
    await make("a")

    class Named(serializers.Serializer):
        name = serializers.CharField(validators=[UniqueValidator(Host.objects.all())])

    serializer = Named(data={"name": "a"})
    with assert_num_queries(1):
        assert not await serializer.ais_valid()
    assert serializer.errors["name"][0].code == "unique"
