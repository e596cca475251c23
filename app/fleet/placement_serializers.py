"""What may be said of placement, by a workload and by a question. The names are Kubernetes'."""

from typing import Any

from rest_framework import serializers as plain

from app.fleet import validation
from app.fleet.fields import BytesField, CheckedField, CoresField, Structure
from app.fleet.placement_rules import PREFERRED, REQUIRED
from app.fleet.placements import parse_constraint
from app.fleet.topologies import HOSTNAME
from app.rest.exceptions import ValidationError

MAX_COUNT = 1_000
MAX_MOVES = 5_000
MAX_ID = 2**63 - 1
MAX_RULES = 10
SIZES = ("reservation", "recommended")


class ConstraintField(plain.CharField):
    """`node.labels.zone==a`, as Swarm writes it."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            return str(parse_constraint(text))
        except ValueError as error:
            raise ValidationError([str(error)]) from None


class TopologyKeyField(plain.CharField):
    """A label of hosts; `node.hostname` is the host itself."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=128, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        text: str = super().to_internal_value(data)
        if not validation.LABEL_KEY.match(text):
            raise ValidationError(
                [f"Not a label's key. Write one that hosts have, such as zone, or {HOSTNAME}."]
            )
        return text


class LabelSelectorSerializer(Structure):
    """Workloads that carry all of these labels."""

    match_labels = CheckedField(validation.label_problems)

    def validate_match_labels(self, value: dict[str, str]) -> dict[str, str]:
        if not value:
            raise ValidationError("Empty: it would select every workload. Name a label.")
        return value


class AffinityTermSerializer(Structure):
    """Workloads by their labels, and the domain that is not shared with them."""

    label_selector = LabelSelectorSerializer()
    topology_key = TopologyKeyField(default=HOSTNAME)


class AntiAffinitySerializer(Structure):
    """Not in one domain with workloads that a term selects."""

    required = AffinityTermSerializer(many=True, required=False, max_length=MAX_RULES)
    preferred = AffinityTermSerializer(many=True, required=False, max_length=MAX_RULES)


class SpreadSerializer(Structure):
    """No domain has over `max_skew` containers more than another."""

    topology_key = TopologyKeyField()
    max_skew = plain.IntegerField(min_value=1, max_value=MAX_COUNT, default=1)
    when_unsatisfiable = plain.ChoiceField([REQUIRED, PREFERRED], default=REQUIRED)


class PlacementSerializer(Structure):
    """Which hosts take a workload, and what its containers may be near."""

    constraints = plain.ListField(
        child=ConstraintField(max_length=512), max_length=20, required=False
    )
    max_per_host = plain.IntegerField(
        min_value=1, max_value=MAX_COUNT, required=False, allow_null=True
    )
    spread = SpreadSerializer(many=True, required=False, max_length=MAX_RULES)
    anti_affinity = AntiAffinitySerializer(required=False)

    def validate_spread(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        keys = [one["topology_key"] for one in value]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValidationError(f"Said more than once: {', '.join(twice)}. Keep one of each.")
        return value


class LabelsField(plain.DictField):
    """Hosts that carry all of these labels."""

    child = plain.CharField(max_length=253, allow_blank=True)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        value: dict[str, str] = super().to_internal_value(data)
        if len(value) > 20:
            raise ValidationError(["At most 20 labels."])
        return value


class ChoiceSerializer(Structure):
    """What both questions share: which hosts, and how containers are counted."""

    labels = LabelsField(required=False, default=dict)
    size_by = plain.ChoiceField(SIZES, default="reservation")
    buffer = plain.FloatField(min_value=0, max_value=0.9, required=False, allow_null=True)
    team = plain.IntegerField(min_value=1, max_value=MAX_ID, required=False, allow_null=True)


class SimulationSerializer(ChoiceSerializer, PlacementSerializer):
    workload = plain.IntegerField(min_value=1, max_value=MAX_ID, required=False, allow_null=True)
    workload_labels = CheckedField(validation.label_problems, required=False)
    cpu_reservation = CoresField(required=False, allow_null=True)
    memory_reservation_bytes = BytesField(required=False, allow_null=True)
    count = plain.IntegerField(min_value=1, max_value=MAX_COUNT, default=1)
    avoid_workloads = plain.ListField(
        child=plain.IntegerField(min_value=1, max_value=MAX_ID),
        max_length=100,
        required=False,
        default=list,
    )
    strategy = plain.ChoiceField(["pack", "spread"], default="pack")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = [attrs.get("cpu_reservation"), attrs.get("memory_reservation_bytes")]
        if attrs.get("workload") is None and not any(given):
            text = "Say what one container reserves, above 0, or name a workload."
            raise ValidationError({"memory_reservation_bytes": [text]})
        if attrs.get("workload") is not None and attrs.get("team") is not None:
            text = "The workload has its own constants, or its team's. Leave the team out."
            raise ValidationError({"team": [text]})
        return attrs


class RepackSerializer(ChoiceSerializer):
    max_moves = plain.IntegerField(min_value=1, max_value=MAX_MOVES, default=100)
    keep_apart = plain.BooleanField(default=True)
    pin_unmanaged = plain.BooleanField(default=False)
    resource = plain.ChoiceField(["memory", "cpu"], default="memory")


PLACEMENT_FIELDS = ("constraints", "max_per_host", "spread", "anti_affinity")
