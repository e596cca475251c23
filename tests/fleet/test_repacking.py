"""Plans whose every step can be made: nothing overfilled, no constraint broken, bounds kept."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fleet.packing import fits
from app.fleet.placements import Berth, Cargo, Constraint, parse_constraint
from app.fleet.repacking import Plan, hosts_min, repack
from tests.fleet.test_packing import Instance, falkenauer_triplets, falkenauer_uniform

ZONES = ("a", "b")


def plan(berths: Sequence[Berth], max_moves: int = 10_000) -> Plan:
    found = [one for one in repack(berths, max_moves=max_moves) if one is not None]
    assert len(found) == 1
    return found[0]


def berth(pk: int, *sizes: tuple[int, int], capacity: tuple[int, int] = (100, 100)) -> Berth:
    made = Berth(pk, f"host-{pk}", {"zone": ZONES[pk % 2]}, capacity)
    for number, size in enumerate(sizes):
        made.put(Cargo(pk * 100 + number, f"c{pk}-{number}", size))
    return made


def one_each(instance: Instance) -> list[Berth]:
    """Every item on a host of its own."""
    sizes, capacity = instance
    berths = []
    for number, size in enumerate(sizes):
        made = Berth(number, str(number), {}, capacity)
        made.put(Cargo(number, str(number), size))
        berths.append(made)
    return berths


def test_least_loaded_host_is_emptied_onto_the_others() -> None:
    found = plan([berth(1, (50, 50)), berth(2, (60, 10)), berth(3, (10, 20), (10, 20))])
    assert [(move.cargo.name, move.source, move.target) for move in found.moves] == [
        ("c3-0", 3, 1),
        ("c3-1", 3, 1),
    ] or len(found.freed) == 1
    assert (found.hosts_used_after, found.hosts_min) == (2, 2)


def test_moves_are_bounded_and_only_whole_hosts_are_emptied() -> None:
    berths = [berth(n, (10, 10), (10, 10)) for n in range(1, 6)]
    for most in range(1, 12):
        found = plan(berths, max_moves=most)
        assert len(found.moves) <= most
        if found.method == "emptying":
            assert sum(move.frees for move in found.moves) == len(found.freed)
    assert plan(berths, max_moves=1).moves == []
    assert len(plan(berths, max_moves=2).freed) == 1


def test_pinned_container_keeps_its_host() -> None:
    pinned = berth(1)
    pinned.put(Cargo(7, "pinned", (5, 5), is_pinned=True))
    found = plan([pinned, berth(2, (5, 5))])
    assert [one.id for one in found.freed] == [2]


def test_closed_host_takes_nothing_and_is_left_alone() -> None:
    closed = berth(1, (5, 5))
    closed.is_open = False
    assert plan([closed, berth(2, (5, 5))]).moves == []


def test_constraint_is_kept_even_where_it_costs_a_host() -> None:
    bound = Berth(1, "host-1", {"zone": "a"}, (100, 100))
    bound.put(Cargo(1, "bound", (5, 5), constraints=(parse_constraint("node.labels.zone==a"),)))
    other = Berth(2, "host-2", {"zone": "b"}, (100, 100))
    other.put(Cargo(2, "free", (5, 5)))
    found = plan([bound, other])
    assert [(move.cargo.id, move.target) for move in found.moves] == [(2, 1)]


@pytest.mark.parametrize(
    ("instance", "most"),
    [
        (falkenauer_uniform(120, 1), 1.04),
        (falkenauer_uniform(250, 2), 1.04),
        (falkenauer_triplets(60, 1), 1.05),
        (falkenauer_triplets(120, 2), 1.05),
    ],
)
def test_items_on_a_host_each_are_packed_close_to_the_bound(
    instance: Instance, most: float
) -> None:
    found = plan(one_each(instance))
    assert found.hosts_used_after <= most * found.hosts_min


def test_hosts_that_differ_are_bounded_by_the_largest() -> None:
    berths = [berth(1, (90, 10), capacity=(200, 200)), berth(2, (90, 10)), berth(3, (20, 10))]
    assert hosts_min(berths) == 1
    assert hosts_min([]) == 0


@st.composite
def fleets(draw: st.DrawFn) -> list[Berth]:
    """Some hosts, not all alike, some overfull, with containers of every kind."""
    chance = random.Random(draw(st.integers(0, 10**6)))
    berths = []
    number = 0
    for pk in range(1, draw(st.integers(1, 7)) + 1):
        size = chance.choice([60, 100])
        made = Berth(pk, f"h{pk}", {"zone": chance.choice(ZONES)}, (size, size))
        made.is_open = chance.random() > 0.1
        for _ in range(chance.randint(0, 6)):
            number += 1
            demanded: tuple[Constraint, ...] = ()
            if chance.random() < 0.2:
                demanded = (parse_constraint(f"node.labels.zone=={made.labels['zone']}"),)
            made.put(
                Cargo(
                    number,
                    f"c{number}",
                    (chance.randint(1, 40), chance.randint(1, 40)),
                    group=f"workload {chance.randint(1, 5)}" if chance.random() < 0.4 else None,
                    constraints=demanded,
                    is_pinned=chance.random() < 0.1,
                )
            )
        berths.append(made)
    return berths


@settings(max_examples=150)
@given(berths=fleets(), max_moves=st.integers(1, 40))
def test_every_step_can_be_made(berths: list[Berth], max_moves: int) -> None:
    before = {one.id: (dict(one.cargo), one.room) for one in berths}
    found = plan(berths, max_moves=max_moves)
    assert {one.id: (one.cargo, one.room) for one in berths} == before, "a plan changes nothing"
    assert len(found.moves) <= max_moves
    state = {one.id: one.copy() for one in berths}
    for move in found.moves:
        source, target = state[move.source], state[move.target]
        assert target.is_open
        assert source.is_open
        assert not move.cargo.is_pinned
        assert fits(move.cargo.size, target.room), "the target is overfilled"
        assert all(each.admits(target) for each in move.cargo.constraints)
        assert move.cargo.group is None or not target.groups[move.cargo.group]
        source.take(move.cargo)
        target.put(move.cargo)
        assert move.frees is (not source.cargo)
    assert {pk: one.cargo for pk, one in state.items()} == {
        pk: one.cargo for pk, one in found.after.items()
    }
    assert found.hosts_used_after <= found.hosts_used_before
    if all(part >= 0 for one in found.after.values() for part in one.room):
        assert found.hosts_min <= found.hosts_used_after, "unless one holds more than it has"
