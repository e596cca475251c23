"""The input of `POST hosts/observe/`: what an agent says of its host, in one document.

Engines allow more than people may write: labels of any text, names of any characters.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any

from rest_framework import serializers as plain

from app.fleet import validation
from app.fleet.fields import BytesField, CheckedField, CoresField, PastField, Structure
from app.fleet.models import Engine, State
from app.fleet.serializers import check_reserved
from app.rest.serializers import ValidationError

MAX_ITEMS = 5_000


class ObservedHostSerializer(Structure):
    name = plain.CharField(max_length=253)
    labels = CheckedField(validation.observed_label_problems, required=False)
    cpus = CoresField(min_value=0.001)
    memory_bytes = BytesField(min_value=1)
    reserved_cpus = CoresField(required=False)
    reserved_memory_bytes = BytesField(required=False)
    engine = plain.ChoiceField(Engine.choices)
    engine_version = plain.CharField(max_length=64, required=False, allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        check_reserved(attrs)
        return attrs


class ObservedImageSerializer(Structure):
    reference = plain.CharField(max_length=512)
    digest = plain.CharField(max_length=128, required=False, allow_null=True, allow_blank=True)
    size_bytes = BytesField(required=False, allow_null=True)


class ObservedContainerSerializer(Structure):
    engine_id = plain.CharField(max_length=255)
    name = plain.CharField(max_length=255)
    image = plain.CharField(max_length=512, required=False, allow_null=True, allow_blank=True)
    image_digest = plain.CharField(
        max_length=128, required=False, allow_null=True, allow_blank=True
    )
    state = plain.ChoiceField(State.choices)
    labels = CheckedField(validation.observed_label_problems, required=False)
    cpu_reservation = CoresField(required=False, allow_null=True)
    cpu_limit = CoresField(required=False, allow_null=True)
    memory_reservation_bytes = BytesField(required=False, allow_null=True)
    memory_limit_bytes = BytesField(required=False, allow_null=True)
    started_at = PastField(required=False, allow_null=True)
    finished_at = PastField(required=False, allow_null=True)
    exit_code = plain.IntegerField(
        min_value=-(2**31), max_value=2**31 - 1, required=False, allow_null=True
    )
    oom_killed = plain.BooleanField(required=False, default=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        for name in ("cpu_limit", "memory_limit_bytes"):
            if attrs.get(name) == 0:
                attrs[name] = None  # engines write 0 for "no limit"
        errors = validation.resource_problems(attrs, "cpu")
        errors |= validation.resource_problems(attrs, "memory", "_bytes")
        if errors:
            raise ValidationError(errors)
        return attrs


class HeadSerializer(Structure):
    """The document without its items, which `read_relist` reads a few at a time."""

    host = ObservedHostSerializer()
    observed_at = PastField()
    images = plain.ListField(max_length=MAX_ITEMS, required=False, default=list)
    containers = plain.ListField(max_length=MAX_ITEMS, required=False, default=list)


class RelistSerializer(HeadSerializer):
    """The whole document, for whoever describes it: forms and schemas."""

    images = plain.ListField(child=ObservedImageSerializer(), required=False, default=list)
    containers = plain.ListField(child=ObservedContainerSerializer(), required=False, default=list)


async def read_relist(data: Any) -> dict[str, Any]:
    """The arguments of `services.observe_host`. Raises ValidationError, errors by field and place.

    Gives the event loop a turn every few items: a host may list thousands.
    """
    head = HeadSerializer(data=data)
    head.is_valid(raise_exception=True)
    relist = dict(head.validated_data)
    errors: dict[str, Any] = {}
    for name, item_serializer in ITEMS.items():
        relist[name], errors_of_items = await _read_items(relist[name], item_serializer())
        if errors_of_items:
            errors[name] = errors_of_items
    if twice := _twice(container.get("engine_id") for container in relist["containers"]):
        errors.setdefault("containers", {})["non_field_errors"] = [
            f"engine_id given more than once: {', '.join(twice[:5])}. List each container once."
        ]
    if errors:
        raise ValidationError(errors)
    return relist


ITEMS: dict[str, type[Structure]] = {
    "images": ObservedImageSerializer,
    "containers": ObservedContainerSerializer,
}


async def _read_items(items: list[Any], serializer: Structure) -> tuple[list[Any], dict[str, Any]]:
    read: list[Any] = []
    errors: dict[str, Any] = {}
    for place, item in enumerate(items):
        if place % 50 == 49:
            await asyncio.sleep(0)
        try:
            read.append(serializer.run_validation(item))
        except ValidationError as error:
            errors[str(place)] = error.detail
    return read, errors


def _twice(keys: Iterable[str | None]) -> list[str]:
    return sorted(key for key, times in Counter(keys).items() if key and times > 1)
