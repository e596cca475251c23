"""`/placements/`: what would fit, and how to pack it tighter. Nothing here changes anything."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from django.utils import timezone

from app.fleet import placement_queries as queries
from app.fleet.density import Report, Resource, assess_host
from app.fleet.packing import Size
from app.fleet.placement_pictures import draw_both
from app.fleet.placement_queries import NAMELESS, Asked, Choice, Harbour
from app.fleet.placement_rules import Rulebook, Spec
from app.fleet.placement_serializers import (
    PLACEMENT_FIELDS,
    RepackSerializer,
    SimulationSerializer,
)
from app.fleet.placements import MICRO, Berth
from app.fleet.policies import Asker, Policies, fetch_effective, fetch_policies
from app.fleet.policy import Effective, for_question
from app.fleet.repacking import Plan, repack
from app.fleet.reports import PICTURE_HEADERS, ReportJSONRenderer, SVGRenderer, is_compact
from app.fleet.simulations import Demand, Simulation, simulate
from app.fleet.sizes import fetch_workload_sizes
from app.fleet.topologies import Rules, Spread, Term
from app.fleet.turns import in_turns, last_of
from app.rest.exceptions import ValidationError
from app.rest.renderers import JSONRenderer
from app.rest.request import Request
from app.rest.response import Response
from app.rest.views import APIView

MOVES_AT_ONCE = 200


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

    `workload` takes its shape and its placement from there; what is said here counts instead.
    `constraints`, `max_per_host`, `spread`, `anti_affinity` and `avoid_workloads` narrow the hosts;
    so does the anti-affinity of those that run there. `warnings` tell what is preferred and is
    gone against.
    """

    serializer_class = SimulationSerializer

    async def post(self, request: Request, **kwargs: Any) -> Response:
        asked = self.read(request)
        at = timezone.now()
        workload = await _workload(asked)
        policies = await fetch_policies()
        policy = await _policy(asked, policies)
        size = await _size(asked, workload, policies, at)
        placed = _asked(asked, workload)
        is_recommended = asked["size_by"] == "recommended"
        choice = Choice(asked["labels"], is_recommended, policy=policy.policy)
        harbour = await queries.fetch_harbour(choice, at=at, policies=policies, asked=placed)
        demand = Demand(
            size=size,
            count=asked["count"],
            constraints=harbour.book.constraints.get(placed.workload_id, ()),
            max_per_host=placed.spec.placement.get("max_per_host"),
            avoids=tuple(map(queries.group_of, asked["avoid_workloads"])),
            group=queries.group_of(workload["id"]) if workload else None,
            rules=harbour.book.rules.get(placed.workload_id, Rules()),
            is_packed=asked["strategy"] == "pack",
        )
        found = await last_of(simulate(harbour.berths, demand))
        told = _told_simulation(found, _echo(asked, policy), harbour)
        told["overrides"] = await queries.fetch_overrides(
            harbour, is_recommended=is_recommended, also=placed.workload_id
        )
        return Response(told)


async def _workload(asked: dict[str, Any]) -> Any:
    """The workload that is asked for, if any. Raises ValidationError for one that there isn't."""
    missing = set(asked["avoid_workloads"]) - await queries.fetch_known_workloads(
        asked["avoid_workloads"]
    )
    if missing:
        listed = ", ".join(map(str, sorted(missing)))
        raise ValidationError({"avoid_workloads": [f"There is no workload {listed}."]})
    pk = asked.get("workload")
    if pk is None:
        return None
    workload = await queries.fetch_workload(pk)
    if workload is None:
        raise ValidationError({"workload": [f"There is no workload {pk}. See workloads/."]})
    return workload


async def _policy(asked: dict[str, Any], policies: Policies) -> Effective:
    """The constants of whom it is asked for. Raises ValidationError."""
    kind = "workload" if asked.get("workload") is not None else "team"
    said = asked.get(kind)
    try:
        asker = None if said is None else Asker(kind, str(said))
        effective = await fetch_effective(policies, asker)
    except ValueError as error:
        raise ValidationError({kind: [str(error)]}) from None
    return for_question(effective, placement_buffer=asked.get("buffer"))


def _echo(asked: dict[str, Any], policy: Effective) -> dict[str, Any]:
    return {
        "policy": policy.policy.as_dict() | {"size_by": asked["size_by"]},
        "policy_sources": dict(policy.sources),
    }


async def _size(asked: dict[str, Any], workload: Any, policies: Policies, at: datetime) -> Size:
    """What one container takes: what is asked, else what the workload reserves or should."""
    cpus, memory_bytes = asked.get("cpu_reservation"), asked.get("memory_reservation_bytes")
    if workload is not None:
        pk, size = workload["id"], None
        policy = policies.effective(team_id=workload["team_id"], workload_id=pk).policy
        if asked["size_by"] == "recommended":
            size = (await fetch_workload_sizes(workload_ids=[pk], at=at)).get(pk)
        cpus = cpus or (size.cpus if size else workload["cpu_reservation"])
        cpus = cpus or policy.cpu_floor_cores
        memory_bytes = memory_bytes or (
            size.memory_bytes if size else workload["memory_reservation_bytes"]
        )
        memory_bytes = memory_bytes or policy.memory_floor_bytes
    return queries.as_size(cpus or 0, memory_bytes or 0)


def _asked(asked: dict[str, Any], workload: Any) -> Asked:
    """The workload as it would be: its placement and labels, with what is said here instead."""
    placement = {name: asked[name] for name in PLACEMENT_FIELDS if name in asked}
    if workload is None:
        labels = asked.get("workload_labels", {})
        return Asked(NAMELESS, Spec("", labels, placement))
    labels = asked.get("workload_labels", json.loads(workload["labels"]))
    placement = json.loads(workload["placement"]) | placement
    return Asked(workload["id"], Spec(workload["name"], labels, placement))


def _told_simulation(found: Simulation, echo: dict[str, Any], harbour: Harbour) -> dict[str, Any]:
    ratio = found.fragmentation
    demand = found.demand
    return {
        "at": harbour.at.isoformat(),
        **echo,
        "overrides": [],
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
        "warnings": [
            _warning("preference_not_kept", rule, f"{count} of {demand.count} are placed against")
            for rule, count in found.regrets.items()
        ],
    }


def _warning(code: str, rule: object, message: str) -> dict[str, str]:
    return {"code": code, "message": f"{message}: {rule}."}


class RepackView(PlacementView):
    """
    Moves, in an order in which each can be made, that free the most hosts; nothing is moved.

    No move breaks a constraint or overfills a host. `hosts.minimum` is a lower bound: no plan needs
    fewer. `?format=svg` draws the fleet before and after.
    """

    serializer_class = RepackSerializer
    renderer_classes = [
        ReportJSONRenderer,
        *(one for one in APIView.renderer_classes if not issubclass(one, JSONRenderer)),
        SVGRenderer,
    ]

    async def post(self, request: Request, **kwargs: Any) -> Response:
        asked = self.read(request)
        policies = await fetch_policies()
        policy = await _policy(asked, policies)
        choice = Choice(
            asked["labels"],
            asked["size_by"] == "recommended",
            policy=policy.policy,
            keeps_apart=asked["keep_apart"],
            pins_unmanaged=asked["pin_unmanaged"],
        )
        harbour = await queries.fetch_harbour(choice, at=timezone.now(), policies=policies)
        plan = await last_of(repack(harbour.berths, max_moves=asked["max_moves"]))
        if isinstance(request.accepted_renderer, SVGRenderer):
            drawn = _drawn(plan, harbour, Resource(asked["resource"]))
            parts = [part.encode() async for part in in_turns(drawn)]
            return Response(b"".join(parts), headers=PICTURE_HEADERS)
        echo = _echo(asked, policy)
        echo["policy"]["max_moves"] = asked["max_moves"]
        told = _told_plan(plan, echo, harbour)
        told["overrides"] = await queries.fetch_overrides(
            harbour, is_recommended=choice.is_recommended
        )
        moves, flagged = _told_moves(plan, harbour), map(_flagged, harbour.berths)
        rest = {
            "pinned": sum(one.is_pinned for berth in harbour.berths for one in berth.cargo.values())
        }
        warnings = {"warnings": _plan_warnings(plan, harbour.book)}
        if isinstance(request.accepted_renderer, ReportJSONRenderer) and is_compact(request):
            begin, middle, end = (JSONRenderer().render(one) for one in (told, rest, warnings))
            lists = await _encoded(moves), middle[1:-1], await _encoded(flagged)
            return Response(begin[:-1] + b',"moves":[%b],%b,"flagged":[%b],' % lists + end[1:])
        told["moves"] = [one async for some in in_turns(moves) for one in some]
        listed = [one async for some in in_turns(flagged) for one in some]
        return Response(told | rest | {"flagged": listed} | warnings)


async def _encoded(lists: Iterable[list[dict[str, Any]]]) -> bytes:
    """The items of the lists as JSON."""
    renderer = JSONRenderer()
    return b",".join([renderer.render(some)[1:-1] async for some in in_turns(lists) if some])


def _told_plan(plan: Plan, echo: dict[str, Any], harbour: Harbour) -> dict[str, Any]:
    return {
        "at": harbour.at.isoformat(),
        **echo,
        "overrides": [],
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
    }


def _told_moves(plan: Plan, harbour: Harbour) -> Iterator[list[dict[str, Any]]]:
    """In order, some at a time."""
    names = {berth.id: berth.name for berth in harbour.berths}
    numbered = enumerate(plan.moves, 1)
    while some := list(islice(numbered, MOVES_AT_ONCE)):
        yield [
            {
                "step": number,
                "container": move.cargo.id,
                "name": move.cargo.name,
                "from": {"id": move.source, "name": names[move.source]},
                "to": {"id": move.target, "name": names[move.target]},
                "frees": move.frees,
                **_amounts(move.cargo.size),
            }
            for number, move in some
        ]


def _flagged(berth: Berth) -> list[dict[str, Any]]:
    return [
        {"id": one.id, "name": one.name, "flags": list(one.flags)}
        for one in berth.cargo.values()
        if one.flags
    ]


def _plan_warnings(plan: Plan, book: Rulebook) -> list[dict[str, str]]:
    """What is required and is broken already, and what is preferred and is broken more."""
    before, after = _breaches(plan.before), _breaches(plan.after)
    required = {
        rule
        for rules in book.rules.values()
        for rule in (*rules.required.avoids, *rules.required.spreads)
    }
    broken = [rule for rule in before if rule in required]
    regretted = [rule for rule in after - before if rule not in required]
    return [
        *(_warning("required_is_broken", _named(one), "Broken as things are") for one in broken),
        *(_warning("preference_not_kept", _named(one), "Moves go against") for one in regretted),
    ]


def _breaches(berths: dict[int, Berth]) -> Counter[Term | Spread]:
    topology = next((berth.topology for berth in berths.values()), None)
    return Counter() if topology is None else topology.breaches()


def _named(rule: Term | Spread) -> str:
    return f"{rule} of {rule.workload}" if isinstance(rule, Spread) else str(rule)


def _amounts(size: Any) -> dict[str, Any]:
    return {"cpus": round(size[0] / MICRO, 6), "memory_bytes": size[1]}


def _drawn(plan: Plan, harbour: Harbour, resource: Resource) -> Iterator[str]:
    where = {pk: berth.id for berth in plan.after.values() for pk in berth.cargo}
    after = []
    for host in queries.moved(harbour, where):
        after.append(assess_host(host, at=harbour.at, policy=harbour.policy, own=harbour.own))
        yield ""
    policy = harbour.policy
    hours = policy.window_hours
    before = Report(harbour.at, hours, policy, tuple(harbour.densities))
    yield from draw_both(
        (f"Before: {plan.hosts_used_before} hosts in use", before),
        (
            f"After {len(plan.moves)} moves: {plan.hosts_used_after} hosts in use, at least "
            f"{plan.hosts_min} are needed",
            Report(harbour.at, hours, policy, tuple(after)),
        ),
        resource,
    )
