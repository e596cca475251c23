"""A list validated by its child's intake, and DRF's way: the same values, the same errors."""

from datetime import UTC, datetime

import pytest
import pytest_asyncio
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from rest_framework import serializers as drf

from app.db.testing import assert_num_queries
from app.fleet.models import Container, Host, Image
from app.rest import list_intakes, serializers
from tests.rest.test_shortcuts import LONG

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("rows")]


class ItemSerializer(serializers.ModelSerializer):
    labels = serializers.DictField(child=serializers.CharField(max_length=5), required=False)
    mode = serializers.ChoiceField([1, 2], source="exit_code", default=2)

    class Meta:
        model = Container
        fields = [
            *("name", "host", "image", "labels", "mode", "cpu_limit", "memory_limit_bytes"),
            *("started_at", "oom_killed"),
        ]
        extra_kwargs = {"cpu_limit": {"min_value": 0}}


class HookedSerializer(ItemSerializer):
    def validate(self, attrs):
        return {**attrs, "hooked": True}


@pytest_asyncio.fixture(loop_scope="session")
async def rows(transaction):
    for pk in (1, 2):
        await Host.objects.acreate(id=pk, name=f"h{pk}", cpus=1, memory_bytes=1)
        await Image.objects.acreate(id=pk, reference=f"r{pk}")


def item(**changes):
    return {"name": "n", "host": 1, "started_at": "2026-01-02T03:04:05+05:30", **changes}


async def outcome(items, **kwargs):
    serializer = kwargs.pop("cls", ItemSerializer)(data=items, many=True, **kwargs)
    await serializer.ais_valid()
    values = [[(name, value, type(value)) for name, value in one.items()]
              for one in serializer.validated_data or []]  # fmt: skip
    return values, serializer.errors


async def compare(items, **kwargs):
    short = await outcome(items, **kwargs)
    with override_settings(STOWAGE=LONG):
        assert short == await outcome(items, **kwargs)
    return short


@pytest.fixture
def taken(monkeypatch):
    """What came of each list."""
    found, validated = [], list_intakes.validated

    async def noting(serializer):
        found.append(await validated(serializer))
        return found[-1]

    monkeypatch.setattr(list_intakes, "validated", noting)
    return found


async def test_list_takes_one_query_for_each_model(taken):
    items = [item(host=1 + n % 2, image=2 if n % 3 else None, cpu_limit=n) for n in range(200)]
    with assert_num_queries(2):
        values, errors = await outcome(items)
    assert not errors
    assert len(values) == len(taken[0]) == 200
    await compare(items)


@pytest.mark.parametrize(
    "items",
    [
        [item(), item(host=9)],
        [item(), item(host=None)],
        [item(), 5],
        [item(), item(cpu_limit=-1), item(name="")],
        [item(labels={"a": "longer"})],
        [item(labels={"a": 1, "b": True})],
        [item(mode=3), item(started_at="2026-01-02")],
        [item(host="1", mode="1", started_at="2026-01-02 03:04")],
        [],
        {},
        "text",
        None,
    ],
)
async def test_any_list_is_refused_alike(items):
    await compare(items)


async def test_list_that_is_out_of_the_ordinary_goes_the_long_way(taken):
    await compare([item()], cls=HookedSerializer)
    await compare([item()], max_length=1)
    await compare([item()], partial=True)
    assert taken == [None] * 6
    with override_settings(STOWAGE={**LONG, "SHORTCUTS": True, "REJECT_UNKNOWN_FIELDS": True}):
        _, errors = await outcome([item(), item(more=1)])
    assert "more" in errors[1]


@pytest.mark.parametrize("items", [[], [5, None], None, {}, [{}]])
@pytest.mark.parametrize("kit", [drf, serializers])
async def test_ill_made_class_is_found_where_drf_finds_it(kit, items):
    class IllMadeSerializer(kit.ModelSerializer):
        class Meta:
            model = Container
            fields = ["nothing"]

    serializer = IllMadeSerializer(data=items, many=True)
    try:
        is_valid = await serializer.ais_valid() if kit is serializers else serializer.is_valid()
    except ImproperlyConfigured:
        assert items == [{}]
    else:
        assert items != [{}]
        assert is_valid is (items == [])


async def test_moments_are_in_the_current_time_zone():
    with timezone.override("Asia/Kolkata"):
        await compare([item(), item(started_at="2026-01-02T03:04:05Z")])


VALUES = st.one_of(
    st.sampled_from(
        [None, True, "", " x ", "1", "é", "\x00", 1, 2, -1, 1.5, 2**63, [], {"a": "b"}]
    ),
    st.datetimes(timezones=st.sampled_from([UTC, None])).map(datetime.isoformat),
)
ITEMS = st.dictionaries(st.sampled_from(ItemSerializer.Meta.fields), VALUES, max_size=3)


@pytest.mark.timeout(60)  # forty lists
@hypothesis(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(ITEMS, max_size=3))
async def test_any_items_come_out_alike(changes):
    await compare([item(**one) for one in changes])
