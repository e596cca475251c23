"""What workloads say of their placement, as rules that can be kept. Pure.

A placement is a workload's field of that name, or what a simulation asks for:

    {"constraints": ["node.labels.disk==ssd"], "max_per_host": 2,
     "spread": [{"topology_key": "zone", "max_skew": 1, "when_unsatisfiable": "do_not_schedule"}],
     "anti_affinity": {"required": [{"label_selector": {"match_labels": {"tier": "db"}},
                                     "topology_key": "node.hostname"}],
                       "preferred": []}}
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.fleet.placements import Berth, Constraint, parse_constraint
from app.fleet.topologies import HOSTNAME, Demands, Rules, Spread, Term, Topology, domain_of

REQUIRED = "do_not_schedule"
PREFERRED = "schedule_anyway"
AFFINITIES = ("required", "preferred")


class Spec(NamedTuple):
    """A workload, as far as rules go."""

    name: str
    labels: Mapping[str, str]
    placement: Mapping[str, Any]


@dataclass(slots=True)
class Rulebook:
    """The rules of workloads by their ids; none for those that nothing holds for."""

    specs: Mapping[int, Spec]
    rules: dict[int, Rules] = field(default_factory=dict)
    constraints: dict[int, tuple[Constraint, ...]] = field(default_factory=dict)

    def compile(self) -> Iterator[None]:
        terms = _Terms()
        carried = {}
        for pk, spec in self.specs.items():
            carried[pk] = terms.carried_by(spec.placement)
            yield None
        for pk, spec in self.specs.items():
            selecting = terms.selecting(spec.labels)
            several = [
                Demands(carried[pk][kind], selecting[kind], _spreads(spec, kind))
                for kind in AFFINITIES
            ]
            if texts := spec.placement.get("constraints"):
                self.constraints[pk] = tuple(map(parse_constraint, texts))
            if any(several):
                self.rules[pk] = Rules(*several)
            yield None

    def start(self, berths: Sequence[Berth]) -> Iterator[Topology | None]:
        """Yields None, then the topology of these hosts, with nothing on them: each spread's
        domains are those of the hosts that are open and that the workload's constraints admit.
        """
        topology = Topology()
        known: dict[tuple[str, tuple[Constraint, ...]], frozenset[str]] = {}
        for pk, rules in self.rules.items():
            constraints = self.constraints.get(pk, ())
            for spread in (*rules.required.spreads, *rules.preferred.spreads):
                key = (spread.topology_key, constraints)
                if key not in known:
                    known[key] = _domains(berths, *key)
                topology.add(spread, known[key])
            yield None
        yield topology


def _domains(
    berths: Iterable[Berth], topology_key: str, constraints: Iterable[Constraint]
) -> frozenset[str]:
    found = (
        domain_of(berth, topology_key)
        for berth in berths
        if berth.is_open and all(one.admits(berth) for one in constraints)
    )
    return frozenset(domain for domain in found if domain is not None)


def _spreads(spec: Spec, kind: str) -> tuple[Spread, ...]:
    wanted = REQUIRED if kind == "required" else PREFERRED
    return tuple(
        Spread(one["topology_key"], one.get("max_skew", 1), spec.name)
        for one in spec.placement.get("spread") or ()
        if one.get("when_unsatisfiable", REQUIRED) == wanted
    )


class _Terms:
    """Terms, one object for all that say the same; found by a label that they ask for."""

    def __init__(self) -> None:
        self._known: dict[object, Term] = {}
        self._asking: dict[str, dict[tuple[str, str], list[Term]]] = {
            kind: defaultdict(list) for kind in AFFINITIES
        }

    def carried_by(self, placement: Mapping[str, Any]) -> dict[str, tuple[Term, ...]]:
        said = placement.get("anti_affinity") or {}
        return {
            kind: tuple(dict.fromkeys(self._term(kind, one) for one in said.get(kind) or ()))
            for kind in AFFINITIES
        }

    def _term(self, kind: str, said: Mapping[str, Any]) -> Term:
        labels, topology_key = said["label_selector"]["match_labels"], said.get("topology_key")
        topology_key = topology_key or HOSTNAME
        key = (kind, topology_key, frozenset(labels.items()))
        if key not in self._known:
            self._known[key] = term = Term(labels, topology_key)
            self._asking[kind][min(labels.items())].append(term)
        return self._known[key]

    def selecting(self, labels: Mapping[str, str]) -> dict[str, tuple[Term, ...]]:
        return {
            kind: tuple(
                term
                for item in labels.items()
                for term in asking.get(item, ())
                if term.selects(labels)
            )
            for kind, asking in self._asking.items()
        }
