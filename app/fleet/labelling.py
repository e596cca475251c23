"""PATCH on a list: the labels of many objects, all or none. The writing is `services.labels`."""

from collections.abc import Sequence
from typing import Any

from app.fleet import validation
from app.fleet.fields import CheckedField
from app.fleet.services.labels import LabelChange, StaleItemsError
from app.fleet.writes import trial
from app.rest import serializers
from app.rest.bulk import BulkMixin
from app.rest.request import Request
from app.rest.response import Response
from app.rest.serializers import ValidationError


class LabelChangeSerializer(serializers.Serializer):
    """`labels` are all that the object has then; `add_labels` and `remove_labels` change some.
    `version`: only if the object has that version still, as If-Match asks for one.
    """

    id = serializers.IntegerField(min_value=1, max_value=2**63 - 1)
    version = serializers.IntegerField(min_value=1, max_value=2**63 - 1, required=False)
    labels = CheckedField(validation.label_problems, required=False)
    add_labels = CheckedField(validation.label_problems, required=False)
    remove_labels = serializers.ListField(
        child=serializers.CharField(max_length=128),
        max_length=validation.MAX_LABELS,
        required=False,
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        changes = attrs.keys() & {"labels", "add_labels", "remove_labels"}
        if not changes:
            raise ValidationError("Nothing to change. Write labels, add_labels or remove_labels.")
        if "labels" in changes and len(changes) > 1:
            raise ValidationError("Write either labels, which are all, or add and remove some.")
        return attrs


class BulkLabelsMixin(BulkMixin):
    """Put before a viewset's mixins; `change_labels` calls the service."""

    bulk_actions = {"patch": "partial_bulk_update"}
    request: Request
    serializer_class: Any

    async def change_labels(self, changes: Sequence[LabelChange]) -> list[Any]:
        raise NotImplementedError

    async def partial_bulk_update(self, request: Request) -> Response:
        """Change the labels of many, all or none. 412 names those that somebody changed before."""
        if not isinstance(request.data, list):
            message = "Expected a list of objects, each with an id."
            raise ValidationError({"non_field_errors": [message]})
        self.check_bulk_size(request.data)
        asked = LabelChangeSerializer(data=request.data, many=True)
        await asked.ais_valid(raise_exception=True)
        await self.find_bulk_objects([item["id"] for item in asked.validated_data])
        changes = [_change(item) for item in asked.validated_data]
        try:
            async with trial(request):
                objects = await self.change_labels(changes)
                data = await self.serializer_class(objects, many=True).adata
        except StaleItemsError as error:
            return Response(_stale(error), status=412)
        return Response(data)


def _change(item: dict[str, Any]) -> LabelChange:
    return LabelChange(
        item["id"],
        version=item.get("version"),
        labels=item.get("labels"),
        add=item.get("add_labels") or {},
        remove=item.get("remove_labels") or (),
    )


def _stale(error: StaleItemsError) -> dict[int, Any]:
    return {
        place: {"version": [f"The current version is {version}. Read the object again."]}
        for place, version in error.versions.items()
    }
