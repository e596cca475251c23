"""Plans whose every step can be made: nothing overfilled, no constraint broken, bounds kept."""

import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fleet.packing import fits
from app.fleet.packing_anew import carry_out, find_targets
from app.fleet.placements import Berth, Cargo, Constraint, parse_constraint
from app.fleet.repacking import Plan, hosts_min, repack
from load.repack import loaded
from tests.fleet.test_packing import INSTANCES

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


SOME = ("u120-0", "u250-1", "t60-0", "t120-1", "t249-2", "scholl1-100-100-20", "scholl2-50-3-0.2")


def assert_close_to_the_bound(berths: list[Berth]) -> None:
    found = plan(berths, max_moves=10**6)
    assert found.hosts_used_after <= 1.1 * found.hosts_min


@pytest.mark.parametrize("second", ["none", "little"])
@pytest.mark.parametrize("start", ["one each", "next-fit"])
@pytest.mark.parametrize("name", SOME)
def test_instances_are_repacked_within_a_tenth_of_the_bound(
    name: str, start: str, second: str
) -> None:
    """Also where there is plenty of a second resource, and from a fleet that has grown."""
    assert_close_to_the_bound(loaded(INSTANCES[name], start, second))


@pytest.mark.programs
@pytest.mark.timeout(60)  # 91 instances
@pytest.mark.parametrize("start", ["one each", "next-fit"])
def test_every_instance_is_repacked_within_a_tenth_of_the_bound(start: str) -> None:
    for instance in INSTANCES.values():
        assert_close_to_the_bound(loaded(instance, start))


def test_those_that_wait_for_each_other_step_aside() -> None:
    """Two containers have to change places, and only the third host has room meanwhile."""
    berths = [berth(1, (60, 1), (30, 1)), berth(2, (70, 1), (25, 1)), berth(3, (15, 1))]
    made = Plan({one.id: one for one in berths}, {one.id: one.copy() for one in berths})
    targets = {100: 2, 200: 1, 101: 1, 201: 2, 300: 3}
    for _ in carry_out(made, targets, 10):
        pass
    where = {pk: one.id for one in made.after.values() for pk in one.cargo}
    assert where == targets
    assert len(made.moves) == 3


def test_contents_go_where_most_of_them_is() -> None:
    berths = [berth(n) for n in (1, 3)]
    cargo = [Cargo(n, str(n), (10, 10)) for n in range(4)]
    for one in cargo[:3]:
        berths[1].put(one)
    berths[0].put(cargo[3])
    computed: dict[int, int] = {}

    def compute() -> Iterator[None]:
        computed.update((yield from find_targets({1: cargo[:3], 3: cargo[3:]}, berths)))

    list(compute())
    assert computed == {0: 3, 1: 3, 2: 3, 3: 1}


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


@settings(max_examples=150, deadline=None)  # a busy machine is no fault
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
    assert found.hosts_min <= found.hosts_used_after


@settings(max_examples=200, deadline=None)  # a busy machine is no fault
@given(
    loads=st.lists(st.lists(st.integers(1, 90), max_size=4), min_size=1, max_size=6),
    pinned=st.integers(0, 5),
)
def test_bound_is_kept_where_hosts_hold_more_than_they_have(
    loads: list[list[int]], pinned: int
) -> None:
    """Nothing need be moved off an overfull host, so the fleet as it is is a plan."""
    berths = [berth(n, *((load, 1) for load in several)) for n, several in enumerate(loads)]
    if pinned < len(berths):
        berths[pinned].put(Cargo(999, "pinned", (1, 1), is_pinned=True))
    used = sum(bool(one.cargo) for one in berths)
    assert hosts_min(berths) <= used
    assert hosts_min(berths) <= plan(berths).hosts_used_after
