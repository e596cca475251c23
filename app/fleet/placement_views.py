"""`/placements/`: what would fit, and how to pack it tighter. Nothing here changes anything."""

from collections.abc import Iterator
from typing import Any

from django.utils import timezone
from rest_framework import serializers as plain

from app.fleet import placement_queries as queries
from app.fleet.density import Report, Resource, assess_host
from app.fleet.fields import BytesField, CoresField, Structure
from app.fleet.placement_pictures import draw_both
from app.fleet.placement_queries import Choice, Harbour
from app.fleet.placements import (
    MICRO,
    Cargo,
    Constraint,
    Demand,
    Simulation,
    parse_constraint,
    simulate,
)
from app.fleet.policy import DEFAULT
from app.fleet.repacking import Plan, repack
from app.fleet.reports import PICTURE_HEADERS, SVGRenderer
from app.fleet.sizes import fetch_workload_sizes
from app.fleet.turns import in_turns, last_of
from app.rest.exceptions import ValidationError
from app.rest.request import Request
from app.rest.response import Response
from app.rest.views import APIView

MAX_COUNT = 1_000
MAX_MOVES = 5_000
MAX_ID = 2**63 - 1
SIZES = ("reservation", "recommended")


class ConstraintField(plain.CharField):
    """`node.labels.zone==a`, as Swarm writes it."""

    def to_internal_value(self, data: Any) -> Constraint:
        text = super().to_internal_value(data)
        try:
            return parse_constraint(text)
        except ValueError as error:
            raise ValidationError([str(error)]) from None


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
    buffer = plain.FloatField(min_value=0, max_value=0.9, default=DEFAULT.placement_buffer)


class SpreadSerializer(Structure):
    label = plain.CharField(max_length=253)
    max_skew = plain.IntegerField(min_value=1, max_value=MAX_COUNT, default=1)


class SimulationSerializer(ChoiceSerializer):
    workload = plain.IntegerField(min_value=1, max_value=MAX_ID, required=False, allow_null=True)
    cpu_reservation = CoresField(required=False, allow_null=True)
    memory_reservation_bytes = BytesField(required=False, allow_null=True)
    count = plain.IntegerField(min_value=1, max_value=MAX_COUNT, default=1)
    constraints = plain.ListField(
        child=ConstraintField(max_length=512), max_length=20, required=False, default=list
    )
    max_per_host = plain.IntegerField(
        min_value=1, max_value=MAX_COUNT, required=False, allow_null=True
    )
    spread = SpreadSerializer(required=False, allow_null=True)
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
        return attrs


class RepackSerializer(ChoiceSerializer):
    max_moves = plain.IntegerField(min_value=1, max_value=MAX_MOVES, default=100)
    keep_apart = plain.BooleanField(default=True)
    pin_unmanaged = plain.BooleanField(default=False)
    resource = plain.ChoiceField(["memory", "cpu"], default="memory")


class PlacementView(APIView):
    """A question about placement: it needs to read, though it is sent with POST."""

    required_scopes = {"POST": "read"}
    serializer_class: Any = None

    def read(self, request: Request) -> dict[str, Any]:
        asked = self.serializer_class(data=request.data)
        asked.is_valid(raise_exception=True)
        return dict(asked.validated_data)

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        """For the forms of the browsable API."""
        return self.serializer_class(*args, **kwargs)


class SimulateView(PlacementView):
    """
    Does a workload of this shape and count fit, where, and what stops it on each host?

    `workload` takes its shape from there; `cpu_reservation` and `memory_reservation_bytes` say it
    otherwise. `constraints`, `max_per_host`, `spread` and `avoid_workloads` narrow the hosts.
    """

    serializer_class = SimulationSerializer

    async def post(self, request: Request, **kwargs: Any) -> Response:
        asked = self.read(request)
        at = timezone.now()
        demand = await _demand(asked, at)
        choice = Choice(asked["labels"], asked["buffer"], asked["size_by"] == "recommended")
        harbour = await queries.fetch_harbour(choice, at=at)
        found = await last_of(simulate(harbour.berths, demand))
        return Response(_told_simulation(found, asked, harbour))


async def _demand(asked: dict[str, Any], at: Any) -> Demand:
    """Raises ValidationError for a workload that there isn't."""
    cpus, memory_bytes = asked.get("cpu_reservation"), asked.get("memory_reservation_bytes")
    group = None
    if (pk := asked.get("workload")) is not None:
        workload = await queries.fetch_workload(pk)
        if workload is None:
            raise ValidationError({"workload": [f"There is no workload {pk}. See workloads/."]})
        group = queries.group_of(pk)
        size = None
        if asked["size_by"] == "recommended":
            size = (await fetch_workload_sizes(workload_ids=[pk], at=at)).get(pk)
        cpus = cpus or (size.cpus if size else workload["cpu_reservation"])
        cpus = cpus or DEFAULT.cpu_floor_cores
        memory_bytes = memory_bytes or (
            size.memory_bytes if size else workload["memory_reservation_bytes"]
        )
        memory_bytes = memory_bytes or DEFAULT.memory_floor_bytes
    missing = set(asked["avoid_workloads"]) - await queries.fetch_known_workloads(
        asked["avoid_workloads"]
    )
    if missing:
        listed = ", ".join(map(str, sorted(missing)))
        raise ValidationError({"avoid_workloads": [f"There is no workload {listed}."]})
    spread = asked.get("spread") or {}
    return Demand(
        size=queries.as_size(cpus or 0, memory_bytes or 0),
        count=asked["count"],
        constraints=tuple(asked["constraints"]),
        max_per_host=asked.get("max_per_host"),
        spread_label=spread.get("label"),
        max_skew=spread.get("max_skew", 1),
        avoids=tuple(map(queries.group_of, asked["avoid_workloads"])),
        group=group,
        is_packed=asked["strategy"] == "pack",
    )


def _told_simulation(found: Simulation, asked: dict[str, Any], harbour: Harbour) -> dict[str, Any]:
    ratio = found.fragmentation
    demand = found.demand
    return {
        "at": harbour.at.isoformat(),
        "policy": _policy(asked),
        "shape": _amounts(demand.size),
        "count": demand.count,
        "fits": not found.unplaced,
        "placed": demand.count - found.unplaced,
        "headroom": found.headroom,
        "pooled": found.pooled,
        "fragmentation": None if ratio is None else round(ratio, 4),
        "hosts": [
            {
                "id": one.berth.id,
                "name": one.berth.name,
                "placed": one.placed,
                "headroom": one.headroom,
                "stopped_by": one.stopped_by,
                "free": _amounts(one.berth.room),
            }
            for one in found.verdicts
        ],
    }


class RepackView(PlacementView):
    """
    Moves, in an order in which each can be made, that free the most hosts; nothing is moved.

    No move breaks a constraint or overfills a host. `hosts.minimum` is a lower bound: no plan needs
    fewer. `?format=svg` draws the fleet before and after.
    """

    serializer_class = RepackSerializer
    renderer_classes = [*APIView.renderer_classes, SVGRenderer]

    async def post(self, request: Request, **kwargs: Any) -> Response:
        asked = self.read(request)
        choice = Choice(
            asked["labels"],
            asked["buffer"],
            asked["size_by"] == "recommended",
            keeps_apart=asked["keep_apart"],
            pins_unmanaged=asked["pin_unmanaged"],
        )
        harbour = await queries.fetch_harbour(choice, at=timezone.now())
        plan = await last_of(repack(harbour.berths, max_moves=asked["max_moves"]))
        if isinstance(request.accepted_renderer, SVGRenderer):
            drawn = _drawn(plan, harbour, Resource(asked["resource"]))
            parts = [part.encode() async for part in in_turns(drawn)]
            return Response(b"".join(parts), headers=PICTURE_HEADERS)
        return Response(_told_plan(plan, asked, harbour))


def _told_plan(plan: Plan, asked: dict[str, Any], harbour: Harbour) -> dict[str, Any]:
    names = {berth.id: berth.name for berth in harbour.berths}
    cargo = [one for berth in harbour.berths for one in berth.cargo.values()]
    return {
        "at": harbour.at.isoformat(),
        "policy": _policy(asked) | {"max_moves": asked["max_moves"]},
        "method": plan.method,
        "hosts": {
            "before": plan.hosts_used_before,
            "after": plan.hosts_used_after,
            "minimum": plan.hosts_min,
            "freed": [{"id": one.id, "name": one.name} for one in plan.freed],
            "closed": [
                {"id": one.id, "name": one.name, "reason": one.why_closed}
                for one in harbour.berths
                if not one.is_open
            ],
        },
        "moves": [
            {
                "step": number,
                "container": move.cargo.id,
                "name": move.cargo.name,
                "from": {"id": move.source, "name": names[move.source]},
                "to": {"id": move.target, "name": names[move.target]},
                "frees": move.frees,
                **_amounts(move.cargo.size),
            }
            for number, move in enumerate(plan.moves, 1)
        ],
        "pinned": sum(one.is_pinned for one in cargo),
        "flagged": [_flagged(one) for one in cargo if one.flags],
    }


def _flagged(one: Cargo) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "flags": list(one.flags)}


def _policy(asked: dict[str, Any]) -> dict[str, Any]:
    return DEFAULT.as_dict() | {"placement_buffer": asked["buffer"], "size_by": asked["size_by"]}


def _amounts(size: Any) -> dict[str, Any]:
    return {"cpus": round(size[0] / MICRO, 6), "memory_bytes": size[1]}


def _drawn(plan: Plan, harbour: Harbour, resource: Resource) -> Iterator[str]:
    where = {pk: berth.id for berth in plan.after.values() for pk in berth.cargo}
    after = [assess_host(host, at=harbour.at) for host in queries.moved(harbour, where)]
    hours = DEFAULT.window_hours
    before = Report(harbour.at, hours, DEFAULT, tuple(harbour.densities))
    yield from draw_both(
        (f"Before: {plan.hosts_used_before} hosts in use", before),
        (
            f"After {len(plan.moves)} moves: {plan.hosts_used_after} hosts in use, at least "
            f"{plan.hosts_min} are needed",
            Report(harbour.at, hours, DEFAULT, tuple(after)),
        ),
        resource,
    )
