"""Fleets with rules of every kind: no step of a plan, and nothing that is simulated, breaks one.

What is kept is counted here anew for each step, from the placements as people write them.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fleet.packing_anew import carry_out, find_contents, find_targets
from app.fleet.placement_rules import PREFERRED, REQUIRED, Rulebook, Spec
from app.fleet.placements import Berth, Cargo
from app.fleet.plans import Move, Plan, copy_into
from app.fleet.repacking import repack
from app.fleet.simulations import Demand, Simulation, simulate
from app.fleet.topologies import HOSTNAME, Topology

TIERS = ("db", "web", "batch")
ASKED = 99

Breach = tuple[int, int, str]


def drain(steps: Iterator[Any]) -> Any:
    """The last of what is yielded."""
    last = None
    for last in steps:  # noqa: B007
        pass
    return last


@dataclass
class Fleet:
    berths: list[Berth]
    book: Rulebook
    owners: dict[int, int]
    """The workload of each container."""

    @classmethod
    def of(cls, berths: list[Berth], specs: Mapping[int, Spec], owners: dict[int, int]) -> "Fleet":
        book = Rulebook(specs)
        drain(book.compile())
        topology = drain(book.start(berths)) or Topology()
        for berth in berths:
            berth.topology = topology
        return cls(berths, book, owners)

    def put(self, number: int, berth: Berth, size: int, *, is_pinned: bool = False) -> None:
        owner = self.owners[number]
        most = self.book.specs[owner].placement.get("max_per_host")
        berth.put(
            Cargo(
                number,
                f"c{number}",
                (size, size),
                group=f"workload {owner}" if most else None,
                most=most or 1,
                constraints=self.book.constraints.get(owner, ()),
                is_pinned=is_pinned,
                rules=self.book.rules.get(owner),
            )
        )


def terms_of(placement: Mapping[str, Any]) -> list[Any]:
    return list(placement.get("anti_affinity", {}).get("required", []))


def domain(berth: Berth, key: str) -> str | None:
    return berth.name if key == HOSTNAME else berth.labels.get(key)


def too_near(fleet: Fleet, where: Mapping[int, Berth]) -> set[Breach]:
    """Each pair of containers that a required term forbids."""
    found = set()
    for one, berth in where.items():
        for term in terms_of(fleet.book.specs[fleet.owners[one]].placement):
            key = term["topology_key"]
            wanted = term["label_selector"]["match_labels"].items()
            for other, its_berth in where.items():
                labels = fleet.book.specs[fleet.owners[other]].labels
                is_near = domain(berth, key) is not None
                is_near &= domain(berth, key) == domain(its_berth, key)
                if other != one and is_near and wanted <= labels.items():
                    found.add((one, other, str(term)))
    return found


def counts_of(fleet: Fleet, where: Mapping[int, Berth], owner: int, key: str) -> Counter[str]:
    """Containers of a workload in each domain that it has any in, or could have."""
    constraints = fleet.book.constraints.get(owner, ())
    counts: Counter[str] = Counter()
    for berth in fleet.berths:
        if berth.is_open and all(one.admits(berth) for one in constraints):
            counts[domain(berth, key) or ""] += 0
    for one, berth in where.items():
        if fleet.owners[one] == owner:
            counts[domain(berth, key) or ""] += 1
    counts.pop("", None)
    return counts


def skews_of(fleet: Fleet, where: Mapping[int, Berth]) -> dict[tuple[int, str], tuple[int, int]]:
    """The skew of each required spread, and what it may be."""
    found = {}
    for owner, spec in fleet.book.specs.items():
        for spread in spec.placement.get("spread", []):
            if spread["when_unsatisfiable"] == REQUIRED:
                counts = counts_of(fleet, where, owner, spread["topology_key"]).values()
                skew = max(counts, default=0) - min(counts, default=0)
                found[owner, spread["topology_key"]] = (skew, spread["max_skew"])
    return found


def draw_placement(chance: random.Random) -> dict[str, Any]:
    placement: dict[str, Any] = {}
    keys = ["zone", "rack", HOSTNAME]
    if chance.random() < 0.5:
        placement["spread"] = [
            {
                "topology_key": key,
                "max_skew": chance.randint(1, 2),
                "when_unsatisfiable": REQUIRED if chance.random() < 0.8 else PREFERRED,
            }
            for key in chance.sample(keys, chance.randint(1, 2))
        ]
    if chance.random() < 0.5:
        kind = "required" if chance.random() < 0.8 else "preferred"
        labels = {"tier": chance.choice(TIERS)}
        term = {"label_selector": {"match_labels": labels}, "topology_key": chance.choice(keys)}
        placement["anti_affinity"] = {kind: [term]}
    if chance.random() < 0.2:
        placement["constraints"] = [f"node.labels.zone!={chance.choice('abc')}"]
    if chance.random() < 0.2:
        placement["max_per_host"] = chance.randint(1, 2)
    return placement


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    chance = random.Random(draw(st.integers(0, 10**9)))
    berths = []
    for pk in range(1, chance.randint(2, 8) + 1):
        labels = {"zone": chance.choice("abc"), "rack": chance.choice("12345")}
        if chance.random() < 0.1:
            del labels["zone"]
        berths.append(Berth(pk, f"h{pk}", labels, (100, 100), is_open=chance.random() > 0.1))
    specs = {
        pk: Spec(f"w{pk}", {"tier": chance.choice(TIERS)}, draw_placement(chance))
        for pk in range(1, chance.randint(1, 6) + 1)
    }
    specs[ASKED] = Spec("asked", {"tier": chance.choice(TIERS)}, draw_placement(chance))
    numbers = range(1, chance.randint(1, 25) + 1)
    owners = {number: chance.choice([pk for pk in specs if pk != ASKED]) for number in numbers}
    fleet = Fleet.of(berths, specs, owners)
    is_lawful = chance.random() < 0.7  # else as a fleet is that had its rules only afterwards
    for number in numbers:
        rules = fleet.book.rules.get(owners[number])
        for berth in chance.sample(berths, len(berths)):
            topology = berth.topology
            assert topology is not None
            if not is_lawful or rules is None or topology.obstacle(rules, berth) is None:
                fleet.put(
                    number,
                    berth,
                    chance.randint(1, chance.choice([15, 60])),
                    is_pinned=chance.random() < 0.1,
                )
                break
        else:
            del owners[number]
    return fleet


def steps_of(fleet: Fleet, plan: Plan) -> Iterator[tuple[Move, dict[int, Berth], dict[int, Berth]]]:
    """Each move, with where all are before and after it."""
    berths = {berth.id: berth for berth in fleet.berths}
    where = {pk: berth for berth in fleet.berths for pk in berth.cargo}
    for move in plan.moves:
        assert where[move.cargo.id].id == move.source
        after = where | {move.cargo.id: berths[move.target]}
        yield move, where, after
        where = after


def packed_anew(berths: Sequence[Berth], *, max_moves: int) -> Iterator[Plan | None]:
    """What `repack` offers only where it frees more than emptying does, which is rare for few."""
    plan = Plan({berth.id: berth for berth in berths}, {})
    yield from copy_into(plan.after, berths)
    contents = yield from find_contents(berths)
    targets = yield from find_targets(contents, list(plan.after.values()))
    yield from carry_out(plan, targets, max_moves)
    yield plan


@pytest.mark.parametrize("make_plan", [repack, packed_anew])
@settings(max_examples=400, deadline=None)  # a busy machine is no fault
@given(fleet=fleets(), max_moves=st.integers(1, 60))
def test_no_step_of_a_plan_breaks_a_rule(make_plan: Any, fleet: Fleet, max_moves: int) -> None:
    plan = drain(make_plan(fleet.berths, max_moves=max_moves))
    for move, before, after in steps_of(fleet, plan):
        assert too_near(fleet, after) <= too_near(fleet, before)
        skews = skews_of(fleet, before)
        for key, (skew, most) in skews_of(fleet, after).items():
            assert skew <= max(most, skews[key][0]), key
        owner, target = fleet.owners[move.cargo.id], after[move.cargo.id]
        spec = fleet.book.specs[owner]
        for spread in spec.placement.get("spread", []):
            if spread["when_unsatisfiable"] == REQUIRED:
                assert domain(target, spread["topology_key"]) is not None
        assert all(one.admits(target) for one in fleet.book.constraints.get(owner, ()))
        there = [one for one, berth in after.items() if berth is target]
        most = spec.placement.get("max_per_host") or len(there)
        assert sum(fleet.owners[one] == owner for one in there) <= most
    end = {pk: berth.id for berth in plan.after.values() for pk in berth.cargo}
    for move in plan.moves:
        assert (
            end[move.cargo.id] == [m for m in plan.moves if m.cargo.id == move.cargo.id][-1].target
        )


@settings(max_examples=300, deadline=None)  # a busy machine is no fault
@given(fleet=fleets(), size=st.integers(1, 30), count=st.integers(1, 15), is_packed=st.booleans())
def test_nothing_is_simulated_against_a_rule(
    fleet: Fleet, size: int, count: int, is_packed: bool
) -> None:
    rules = fleet.book.rules.get(ASKED)
    constraints = fleet.book.constraints.get(ASKED, ())
    more = {"rules": rules} if rules else {}
    found: Simulation = drain(
        simulate(
            fleet.berths,
            Demand((size, size), count, constraints, is_packed=is_packed, **more),
        )
    )
    where = {pk: berth for berth in fleet.berths for pk in berth.cargo}
    before = too_near(fleet, where)
    numbers = iter(range(1_000, 2_000))
    for one in found.verdicts:
        for _ in range(one.placed):
            number = next(numbers)
            fleet.owners[number] = ASKED
            where[number] = one.berth
    assert too_near(fleet, where) == before
    for spread in fleet.book.specs[ASKED].placement.get("spread", []):
        if spread["when_unsatisfiable"] != REQUIRED:
            continue
        key = spread["topology_key"]
        counts = counts_of(fleet, where, ASKED, key)
        for one in found.verdicts:
            if one.placed:
                place = domain(one.berth, key)
                assert place is not None
                assert counts[place] - min(counts.values()) <= spread["max_skew"]


def host(pk: int, **labels: str) -> Berth:
    return Berth(pk, f"h{pk}", labels, (100, 100))


def apart(labels: dict[str, str], key: str = HOSTNAME, kind: str = "required") -> dict[str, Any]:
    term = {"label_selector": {"match_labels": labels}, "topology_key": key}
    return {"anti_affinity": {kind: [term]}}


def placed(fleet: Fleet, count: int) -> Simulation:
    rules = fleet.book.rules[ASKED]
    found: Simulation = drain(simulate(fleet.berths, Demand((1, 1), count, rules=rules)))
    return found


def by_host(found: Simulation) -> dict[int, int]:
    return {one.berth.id: one.placed for one in found.verdicts if one.placed}


@pytest.mark.parametrize("carrier", ["asked", "there"])
def test_anti_affinity_holds_whichever_of_the_two_carries_it(carrier: str) -> None:
    rule = {"asked": apart({"tier": "db"}, "zone"), "there": apart({"tier": "web"}, "zone")}
    specs = {
        1: Spec("w1", {"tier": "db"}, rule["there"] if carrier == "there" else {}),
        ASKED: Spec("asked", {"tier": "web"}, rule["asked"] if carrier == "asked" else {}),
    }
    fleet = Fleet.of(
        [host(1, zone="a"), host(2, zone="a"), host(3, zone="b"), host(4)], specs, {7: 1}
    )
    fleet.put(7, fleet.berths[0], 1)
    found = placed(fleet, 300)
    assert by_host(found) == {3: 100, 4: 100}
    assert all("anti-affinity tier=" in one.stopped_by for one in found.verdicts[:2])


def test_term_that_selects_its_own_workload_keeps_its_containers_apart() -> None:
    specs = {ASKED: Spec("asked", {"tier": "web"}, apart({"tier": "web"}, "zone"))}
    fleet = Fleet.of([host(1, zone="a"), host(2, zone="a"), host(3, zone="b")], specs, {})
    found = placed(fleet, 5)
    assert (sorted(by_host(found)), found.unplaced) == ([1, 3], 3)


def test_several_spreads_hold_at_once() -> None:
    spreads = [
        {"topology_key": key, "max_skew": 1, "when_unsatisfiable": REQUIRED}
        for key in ("zone", HOSTNAME)
    ]
    specs = {ASKED: Spec("asked", {}, {"spread": spreads})}
    fleet = Fleet.of([host(1, zone="a"), host(2, zone="a"), host(3, zone="b")], specs, {})
    found = placed(fleet, 9)
    # One more of zone a would be two ahead of b, one more of b two ahead of the second host.
    assert (by_host(found), found.unplaced) == ({1: 2, 2: 1, 3: 2}, 4)


@pytest.mark.parametrize(
    ("placement", "against"),
    [
        (apart({"tier": "db"}, kind="preferred"), 1),
        ({"spread": [{"topology_key": "zone", "max_skew": 1, "when_unsatisfiable": PREFERRED}]}, 2),
    ],
)
def test_what_is_preferred_is_kept_where_it_can_be_and_told_where_not(
    placement: dict[str, Any], against: int
) -> None:
    berths = [Berth(1, "h1", {"zone": "a"}, (4, 4)), Berth(2, "h2", {"zone": "b"}, (2, 2))]
    specs = {1: Spec("w1", {"tier": "db"}, {}), ASKED: Spec("asked", {}, placement)}
    fleet = Fleet.of(berths, specs, {7: 1})
    fleet.put(7, berths[1], 1)
    found = placed(fleet, 4)
    assert (by_host(found), found.unplaced) == (
        ({1: 4}, 0) if "anti_affinity" in placement else ({1: 3, 2: 1}, 0)
    )
    assert not found.regrets if "anti_affinity" in placement else found.regrets
    everywhere = placed(fleet, 5)
    assert sum(everywhere.regrets.values()) == against


def test_container_is_bound_to_its_zone_only_by_a_spread_that_is_required() -> None:
    for kind, freed in ((PREFERRED, 1), (REQUIRED, 0)):
        spread = [{"topology_key": "zone", "max_skew": 1, "when_unsatisfiable": kind}]
        specs = {1: Spec("w1", {}, {"spread": spread})}
        fleet = Fleet.of([host(1, zone="a"), host(2, zone="b")], specs, {1: 1, 2: 1})
        fleet.put(1, fleet.berths[0], 10)
        fleet.put(2, fleet.berths[1], 10)
        assert len(drain(repack(fleet.berths, max_moves=10)).freed) == freed


def test_container_that_is_kept_from_its_like_may_move_within_its_domain() -> None:
    specs = {1: Spec("w1", {"tier": "db"}, apart({"tier": "db"}, "zone"))}
    fleet = Fleet.of([host(1, zone="a"), host(2, zone="a")], specs, {1: 1})
    fleet.put(1, fleet.berths[0], 10)
    fleet.berths[1].put(Cargo(2, "other", (20, 20), is_pinned=True))
    plan = drain(repack(fleet.berths, max_moves=10))
    assert len(plan.freed) == 1
