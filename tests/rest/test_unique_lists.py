"""A plain list (`many=True`) asks one query for each uniqueness validator; its errors are DRF's."""

import datetime
from itertools import count
from typing import Any

import hypothesis
import pytest
from django.db import models
from hypothesis import given
from hypothesis import strategies as st
from rest_framework import serializers as drf
from rest_framework import validators as drf_validators

from app.db.testing import assert_num_queries
from app.fleet.models import Host
from app.rest import serializers as ours
from tests.conformance.db.conftest import in_thread, library
from tests.conformance.db.models import Author, Berth
from tests.rest.test_generated import as_drf, generated, told

__all__ = ["as_drf", "library"]

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

FIELDS = ["quay", "number", "kind", "vessel", "taken", "day", "pilot", "depth", "owner", "mark"]


def berths(kit: Any) -> Any:
    class ManyList(kit.ListSerializer):
        """As DRF's guide has it: each item's instance is set before it is validated."""

        def run_child_validation(self, data: Any) -> Any:
            found = self.instance and self.instance.get(data.get("id"))
            self.child.instance = found or None
            self.child.initial_data = data
            return super().run_child_validation(data)

    class BerthSerializer(kit.ModelSerializer):
        class Meta:
            model = Berth
            fields = ["id", *FIELDS]

        mark = kit.UUIDField(
            required=False, validators=[drf_validators.UniqueValidator(Berth.objects.all())]
        )

    class ManyBerthsSerializer(BerthSerializer):
        id = kit.IntegerField(required=False)

        class Meta(BerthSerializer.Meta):
            list_serializer_class = ManyList

    return BerthSerializer, ManyBerthsSerializer


def berth(n: int, **changes: Any) -> dict[str, Any]:
    """Of its own in every rule, whatever the number."""
    day = datetime.date(1000, 1, 1) + datetime.timedelta(days=n)
    mark = f"{n:032x}"
    return {
        "quay": f"Q{n}", "number": n, "kind": "ro", "vessel": f"new{n}", "taken": True,
        "day": day.isoformat(), "pilot": f"p-{n}", "depth": 9, "mark": mark, **changes,
    }  # fmt: skip


@pytest.mark.parametrize("size", [1, 1000])
async def test_thousand_items_take_one_query_for_each_validator(transaction: None, size: int):
    serializer, _ = berths(ours)
    asked = serializer(data=[berth(n) for n in range(size)], many=True)
    # quay and number; vessel, where taken; quay and depth, where deep; pilot by day, by month; mark
    with assert_num_queries(6):
        assert await asked.ais_valid(), asked.errors
    assert len(asked.validated_data) == size


@pytest.mark.parametrize("taken", [1, 30])
async def test_items_that_are_taken_are_told_by_the_same_queries(transaction: None, taken: int):
    for n in range(taken):
        await Berth.objects.acreate(**berth(n))
    asked = berths(ours)[0](data=[berth(n, vessel="", depth=1) for n in range(40)], many=True)
    with assert_num_queries(6):
        assert not await asked.ais_valid()
    assert list(asked.errors) == list(range(taken))
    assert {error.code for error in asked.errors[0]["mark"]} == {"unique"}


values = {
    "id": st.sampled_from([1, 2, 3, None, "x"]),
    "quay": st.sampled_from(["N", "N", "S", "E", " N ", "\ud800", "\0", 5]),
    "number": st.sampled_from([1, 1, 2, 3, "1", 2**70, None]),
    "kind": st.sampled_from(["ro", "co"]),
    "vessel": st.sampled_from(["v2", "v3", "v4", "new", ""]),
    "taken": st.booleans(),
    "day": st.sampled_from(["2024-01-01", "2024-01-02", "2024-02-01", "2025-01-01", "x", None]),
    "pilot": st.sampled_from(["p1", "p2", "new", None, "a b"]),
    "depth": st.sampled_from(["4.00", "6", "6.00", 6, 8, None, "1000", "NaN"]),
    "owner": st.sampled_from([1, 2, None, 99]),
    "mark": st.sampled_from([None, "00000000-0000-0000-0000-000000000001", "x", "0" * 31 + "1"]),
}
fitting = {
    "id": st.sampled_from([1, 2, 3]),
    "quay": st.sampled_from(["N", "S"]),
    "number": st.sampled_from([1, 2, "3", 99]),
    "kind": st.just("ro"),
    "vessel": st.sampled_from(["v2", "v4", "new"]),
    "taken": st.booleans(),
    "day": st.sampled_from(["2024-01-01", "2024-01-02", "2024-02-01", "2025-01-01"]),
    "pilot": st.sampled_from(["p1", "p2", "new"]),
    "depth": st.sampled_from(["4.00", "6", "8.0", None]),
}
usual = st.fixed_dictionaries(fitting)
items = st.one_of(
    usual, usual, usual,
    st.fixed_dictionaries(fitting, optional={"mark": values["mark"], "owner": values["owner"]}),
    st.fixed_dictionaries({}, optional=values),
    st.sampled_from([None, "x", []]),
)  # fmt: skip


async def validated(serializer: Any) -> Any:
    try:
        return (
            await serializer.ais_valid(),
            told(serializer.errors),
            told(serializer.validated_data),
        )
    except Exception as exc:  # noqa: BLE001 - compared with the other's
        return type(exc).__name__


def validated_by_drf(payload: Any, partial: bool, updates: bool) -> Any:
    serializer = made(drf, payload, partial, dict(Berth.objects.in_bulk()) if updates else None)
    try:
        return serializer.is_valid(), told(serializer.errors), told(serializer.validated_data)
    except Exception as exc:  # noqa: BLE001 - compared with the other's
        return type(exc).__name__


def made(kit: Any, payload: Any, partial: bool, instances: Any) -> Any:
    kind = berths(kit)[0 if instances is None else 1]
    return kind(instances, data=payload, many=True, partial=partial)


@hypothesis.settings(generated, max_examples=80)
@given(st.lists(items, max_size=5), st.booleans(), st.booleans())
async def test_any_list_is_validated_as_by_drf(
    library: None, database: None, payload: Any, partial: bool, updates: bool
):
    expected = await in_thread(validated_by_drf, payload, partial, updates)
    instances = {one.pk: one async for one in Berth.objects.all()} if updates else None
    assert await validated(made(ours, payload, partial, instances)) == expected


async def test_validator_that_two_fields_share_looks_at_the_column_of_each(transaction: None):
    shared = drf_validators.UniqueValidator(Author.objects.all())

    class TwoSerializer(ours.Serializer):
        name = ours.CharField(validators=[shared])
        email = ours.CharField(validators=[shared])

    await Author.objects.acreate(name="a", email="b")
    asked = TwoSerializer(
        data=[{"name": "b", "email": "a"}, {"name": "a", "email": "b"}], many=True
    )
    with assert_num_queries(2):
        assert not await asked.ais_valid()
    assert {index: list(one) for index, one in asked.errors.items()} == {1: ["name", "email"]}


async def test_default_that_counts_is_asked_as_often_as_by_drf(transaction: None):
    numbers = count(1)

    class NumberedSerializer(ours.ModelSerializer):
        number = ours.IntegerField(default=lambda: next(numbers))

        class Meta:
            model = Berth
            fields = ["quay", "number"]

    asked = NumberedSerializer(data=[{"quay": "Z"}, {"quay": "Z"}], many=True)
    assert await asked.ais_valid()
    assert [one["number"] for one in asked.validated_data] == [1, 2]


async def test_field_of_another_kind_than_its_column_is_found_too(transaction: None):
    class LooseSerializer(ours.Serializer):
        number = ours.CharField(validators=[drf_validators.UniqueValidator(Berth.objects.all())])

    await Berth.objects.acreate(**berth(7))
    numbers = ["8", "7", "x", str(2**31 - 1), str(2**40)]
    asked = LooseSerializer(data=[{"number": one} for one in numbers], many=True)
    with assert_num_queries(1):
        assert not await asked.ais_valid()
    assert list(asked.errors) == [1]


async def test_column_that_compares_in_its_own_way_is_asked_item_by_item(
    transaction: None, monkeypatch: Any
):
    class Folding(models.CharField):
        pass

    monkeypatch.setattr(Host._meta.get_field("name"), "__class__", Folding)

    class NameSerializer(ours.Serializer):
        name = ours.CharField(validators=[drf_validators.UniqueValidator(Host.objects.all())])

    asked = NameSerializer(data=[{"name": "a"}, {"name": "b"}], many=True)
    with assert_num_queries(2):
        assert await asked.ais_valid()
