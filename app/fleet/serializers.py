"""What goes in and out over HTTP. What the database would refuse is refused here, with a remedy."""

from typing import Any

from django.apps import apps
from rest_framework import serializers as plain

from app.fleet import validation
from app.fleet.fields import (
    BytesField,
    CheckedField,
    ConstantsField,
    CoresField,
    ImageReferenceField,
    NameField,
    Structure,
    StructureField,
)
from app.fleet.models import (
    Container,
    Event,
    Host,
    Image,
    PolicyOverride,
    Quota,
    Revision,
    Usage,
    Workload,
)
from app.fleet.placement_serializers import PlacementSerializer
from app.rest import serializers
from app.rest.serializers import ValidationError

RESOURCES = ("cpu_reservation", "cpu_limit", "memory_reservation_bytes", "memory_limit_bytes")


def merged(serializer: Any, attrs: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The values that the object will have: those sent, else the stored, else the defaults."""
    return {
        name: attrs[name] if name in attrs else getattr(serializer.instance, name, None)
        for name in names
    }


class HostSerializer(serializers.ModelSerializer):
    name = NameField(max_length=253)
    labels = CheckedField(validation.label_problems, required=False, initial=dict)
    cpus = CoresField(min_value=0.001)
    memory_bytes = BytesField(min_value=1)
    reserved_cpus = CoresField(required=False)
    reserved_memory_bytes = BytesField(required=False)
    allocatable = serializers.JSONField(read_only=True)

    class Meta:
        model = Host
        fields = [
            "id",
            "name",
            "labels",
            "cpus",
            "memory_bytes",
            "reserved_cpus",
            "reserved_memory_bytes",
            "allocatable",
            "engine",
            "engine_version",
            "last_seen_at",
            "clock_skew_seconds",
            "version",
            "created_at",
            "updated_at",
        ]
        reads = {
            "allocatable": ["cpus", "memory_bytes", "reserved_cpus", "reserved_memory_bytes"],
        }

    async def avalidate_name(self, value: str) -> str:
        taken = Host.objects.filter(name=value)
        if self.instance is not None:
            taken = taken.exclude(pk=self.instance.pk)
        if await taken.aexists():
            raise ValidationError("A host with this name exists. Choose another, or update it.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        check_reserved(
            merged(self, attrs, ("cpus", "memory_bytes", "reserved_cpus", "reserved_memory_bytes"))
        )
        return attrs


def check_reserved(values: dict[str, Any]) -> None:
    """A host's system reserves less than the host has. Raises ValidationError."""
    pairs = (("reserved_cpus", "cpus"), ("reserved_memory_bytes", "memory_bytes"))
    errors = {
        reserved: [
            f"Must be below {capacity} ({values[capacity]}). Lower {reserved} or raise {capacity}."
        ]
        for reserved, capacity in pairs
        if (values.get(reserved) or 0) >= values[capacity]
    }
    if errors:
        raise ValidationError(errors)


class ImageSerializer(serializers.ModelSerializer):
    class Meta:
        model = Image
        fields = ["id", "reference", "digest", "size_bytes", "hosts", "created_at"]
        read_only_fields = fields


class PortSerializer(Structure):
    """A port of the container, and the port of the hosts that leads to it."""

    target = plain.IntegerField(min_value=1, max_value=65_535)
    published = plain.IntegerField(min_value=1, max_value=65_535, required=False, allow_null=True)
    protocol = plain.ChoiceField(["tcp", "udp", "sctp"], default="tcp")
    mode = plain.ChoiceField(["ingress", "host"], default="ingress")


class HealthCheckSerializer(Structure):
    """A command that tells whether a container is well: exit status 0."""

    test = CheckedField(validation.command_problems)
    interval_seconds = plain.IntegerField(min_value=1, max_value=86_400, default=30)
    timeout_seconds = plain.IntegerField(min_value=1, max_value=3_600, default=30)
    start_period_seconds = plain.IntegerField(min_value=0, max_value=86_400, default=0)
    retries = plain.IntegerField(min_value=1, max_value=100, default=3)

    def validate_test(self, value: list[str]) -> list[str]:
        if not value:
            raise ValidationError("Empty. Write the command, or set health_check to null.")
        return value


class UpdatePolicySerializer(Structure):
    """How a change is rolled out."""

    parallelism = plain.IntegerField(min_value=0, max_value=10_000, default=1)
    delay_seconds = plain.IntegerField(min_value=0, max_value=86_400, default=0)
    monitor_seconds = plain.IntegerField(min_value=0, max_value=86_400, default=5)
    max_failure_ratio = plain.FloatField(min_value=0, max_value=1, default=0)
    order = plain.ChoiceField(["stop-first", "start-first"], default="stop-first")
    failure_action = plain.ChoiceField(["pause", "continue", "rollback"], default="pause")


class TeamSerializer(serializers.ModelSerializer):
    """A team in place of its key. Teams belong to accounts, which this app does not import."""

    class Meta:
        model = apps.get_model("accounts", "Team")
        fields = ["id", "name", "slug"]
        read_only_fields = fields


class WorkloadSerializer(serializers.ModelSerializer):
    name = NameField(max_length=63)
    image = ImageReferenceField()
    command = CheckedField(validation.command_problems, required=False, initial=list)
    env = CheckedField(validation.env_problems, required=False, initial=dict)
    replicas = serializers.IntegerField(min_value=0, max_value=10_000, required=False)
    cpu_reservation = CoresField(required=False, allow_null=True)
    cpu_limit = CoresField(min_value=0.001, required=False, allow_null=True)
    memory_reservation_bytes = BytesField(required=False, allow_null=True)
    memory_limit_bytes = BytesField(min_value=1, required=False, allow_null=True)
    ports = StructureField(PortSerializer, many=True, required=False, initial=list)
    health_check = StructureField(HealthCheckSerializer, required=False, allow_null=True)
    update_policy = StructureField(UpdatePolicySerializer, required=False, initial=dict)
    placement = StructureField(PlacementSerializer, required=False, initial=dict)
    labels = CheckedField(validation.label_problems, required=False, initial=dict)
    warnings = serializers.JSONField(read_only=True)

    class Meta:
        model = Workload
        fields = [
            "id",
            "team",
            "name",
            "image",
            "command",
            "env",
            "replicas",
            *RESOURCES,
            "ports",
            "health_check",
            "update_policy",
            "placement",
            "labels",
            "generation",
            "observed_generation",
            "conditions",
            "warnings",
            "version",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["generation", "observed_generation", "conditions", "version"]
        # The form asks for the team's id: a list of all teams would be a query more.
        extra_kwargs = {"team": {"style": {"base_template": "input.html"}}}
        expandable_fields = {"team": TeamSerializer}
        validators: list[Any] = []  # see `avalidate`: without a team, names are unique too

    def validate_ports(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        published = [(p["published"], p["protocol"]) for p in value if p.get("published")]
        if twice := {key for key in published if published.count(key) > 1}:
            names = ", ".join(f"{port}/{protocol}" for port, protocol in sorted(twice))
            raise ValidationError(f"Published more than once: {names}. Publish each port once.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        values = merged(self, attrs, RESOURCES)
        errors = validation.resource_problems(values, "cpu")
        errors |= validation.resource_problems(values, "memory", "_bytes")
        if errors:
            raise ValidationError(errors)
        return attrs

    async def avalidate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "name" in attrs or "team" in attrs:
            team, name = merged(self, attrs, ("team_id", "name")).values()
            if "team" in attrs:
                team = attrs["team"] and attrs["team"].pk
            if await Workload.objects.taken(name, team, but=self.instance).aexists():
                raise ValidationError(
                    {"name": ["This team has a workload of this name. Choose another name."]}
                )
        return attrs


class QuotaSerializer(serializers.ModelSerializer):
    """`reserved_*` is what the team's workloads reserve now. A quota stays with its team."""

    cpus = CoresField(required=False, allow_null=True)
    memory_bytes = BytesField(required=False, allow_null=True)
    reserved_cpus = serializers.FloatField(read_only=True)
    reserved_memory_bytes = serializers.IntegerField(read_only=True)

    class Meta:
        model = Quota
        fields = [
            "id",
            "team",
            "cpus",
            "memory_bytes",
            "reserved_cpus",
            "reserved_memory_bytes",
            "version",
        ]
        read_only_fields = ["version"]
        expandable_fields = {"team": TeamSerializer}
        extra_kwargs = {"team": {"style": {"base_template": "input.html"}}}

    def validate_team(self, value: Any) -> Any:
        if self.instance is not None and self.instance.team_id != value.pk:
            raise ValidationError("A quota stays with its team. Make one for the other team.")
        return value


class PolicyOverrideSerializer(serializers.ModelSerializer):
    """The constants of a team or of a workload: they stay with whom they are made for."""

    constants = ConstantsField()

    class Meta:
        model = PolicyOverride
        fields = ["id", "team", "workload", "constants", "version"]
        read_only_fields = ["version"]
        extra_kwargs = {
            "team": {"style": {"base_template": "input.html"}},
            "workload": {"style": {"base_template": "input.html"}},
        }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance is None:
            if bool(attrs.get("team")) == bool(attrs.get("workload")):
                raise ValidationError({"team": ["Name a team or a workload, one of the two."]})
            return attrs
        for name in ("team", "workload"):
            owner = attrs.pop(name, None)
            if owner is not None and owner.pk != getattr(self.instance, f"{name}_id"):
                raise ValidationError(
                    {name: ["Constants stay with whom they are for. Make others for that one."]}
                )
        return attrs


class RollbackSerializer(serializers.Serializer):
    """Which revision's spec a workload gets again."""

    revision = serializers.IntegerField(min_value=1, max_value=2**63 - 1)


class RevisionSerializer(serializers.ModelSerializer):
    class Meta:
        model = Revision
        fields = ["id", "workload", "number", "spec", "created_at", "created_by"]
        read_only_fields = fields
        expandable_fields = {"workload": WorkloadSerializer}


class ContainerSerializer(serializers.ModelSerializer):
    host_name = serializers.CharField(source="host.name", read_only=True)
    image_reference = serializers.CharField(
        source="image.reference", read_only=True, allow_null=True
    )

    class Meta:
        model = Container
        fields = [
            "id",
            "host",
            "host_name",
            "workload",
            "image",
            "image_reference",
            "engine_id",
            "name",
            "labels",
            "state",
            *RESOURCES,
            "started_at",
            "finished_at",
            "exit_code",
            "oom_killed",
            "last_seen_at",
            "version",
        ]
        read_only_fields = fields
        expandable_fields = {
            "host": HostSerializer,
            "workload": WorkloadSerializer,
            "image": ImageSerializer,
        }


class UsageSerializer(serializers.ModelSerializer):
    class Meta:
        model = Usage
        fields = ["container", "at", "cpu_cores", "memory_bytes"]
        read_only_fields = fields


class EventSerializer(serializers.ModelSerializer):
    """`position` is the cursor: what happened later has a greater one."""

    class Meta:
        model = Event
        fields = ["id", "position", "at", "kind", "object_type", "object_id", "data"]
        read_only_fields = fields
