"""Would it fit, where, and what stops it: against formulas, and against trying everything."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fleet.placements import Berth, Cargo, parse_constraint
from app.fleet.simulations import Demand, Simulation, simulate
from app.fleet.topologies import Demands, Levels, Rules, Spread, Topology, domain_of


def asked(berths: Sequence[Berth], demand: Demand) -> Simulation:
    (found,) = [one for one in simulate(berths, demand) if one is not None]
    return found


def spread_over(berths: Sequence[Berth], *spreads: Spread) -> Rules:
    """Rules of one workload, with a topology for them."""
    topology = Topology()
    for each in spreads:
        domains = {domain_of(berth, each.topology_key) for berth in berths}
        topology.add(each, frozenset(domains - {None}))
    for berth in berths:
        berth.topology = topology
    return Rules(required=Demands(spreads=spreads))


def host(pk: int, cpus: int = 10, memory: int = 10, **labels: str) -> Berth:
    return Berth(pk, f"host-{pk}", labels, (cpus, memory))


def placed(found: Simulation) -> dict[int, int]:
    return {one.berth.id: one.placed for one in found.verdicts if one.placed}


def stops(found: Simulation) -> dict[int, str]:
    return {one.berth.id: one.stopped_by for one in found.verdicts}


def test_headroom_is_the_sum_over_hosts_of_the_scarcest_resource() -> None:
    found = asked([host(1, 10, 7), host(2, 3, 10)], Demand((2, 2), count=4))
    assert [one.headroom for one in found.verdicts] == [3, 1]
    assert stops(found) == {1: "memory", 2: "cpu"}
    assert (found.headroom, found.pooled, found.unplaced) == (4, 6, 0)
    assert found.fragmentation == pytest.approx(1 - 4 / 6)


def test_what_does_not_fit_is_told_and_the_rest_is_placed() -> None:
    found = asked([host(1), host(2)], Demand((6, 6), count=5))
    assert (placed(found), found.unplaced) == ({1: 1, 2: 1}, 3)


def test_packing_fills_one_host_before_the_next_and_spreading_takes_turns() -> None:
    hosts = [host(1), host(2), host(3)]
    assert sorted(placed(asked(hosts, Demand((2, 2), count=5))).values()) == [5]
    even = asked(hosts, Demand((2, 2), count=6, is_packed=False))
    assert placed(even) == {1: 2, 2: 2, 3: 2}


@pytest.mark.parametrize(
    ("expression", "hosts"),
    [
        ("node.labels.zone==a", {1}),
        ("node.labels.zone!=a", {2, 3}),
        ("node.hostname == host-3", {3}),
        ("node.hostname!=host-3", {1, 2}),
    ],
)
def test_constraints_are_swarms(expression: str, hosts: set[int]) -> None:
    all_hosts = [host(1, zone="a"), host(2, zone="b"), host(3)]
    demand = Demand((1, 1), 30, constraints=(parse_constraint(expression),))
    found = asked(all_hosts, demand)
    assert set(placed(found)) == hosts
    assert all(stops(found)[pk].startswith("constraint") for pk in {1, 2, 3} - hosts)


@pytest.mark.parametrize(
    "text", ["", "zone==a", "node.labels.zone=a", "node.labels.==a", "node.x==1"]
)
def test_what_is_no_constraint_is_refused_with_what_is_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"node\.labels\.key==value"):
        parse_constraint(text)


def test_at_most_so_many_on_a_host_those_there_already_included() -> None:
    first = host(1)
    first.put(Cargo(1, "replica", (1, 1), group="workload 1"))
    found = asked([first, host(2)], Demand((1, 1), 9, max_per_host=2, group="workload 1"))
    assert (placed(found), found.unplaced) == ({1: 1, 2: 2}, 6)
    assert stops(found) == {1: "max_per_host", 2: "max_per_host"}


def test_other_workloads_are_avoided() -> None:
    first = host(1)
    first.put(Cargo(1, "noisy", (1, 1), group="workload 9"))
    found = asked([first, host(2)], Demand((1, 1), 1, avoids=("workload 9",)))
    assert placed(found) == {2: 1}
    assert stops(found)[1] == "anti-affinity workload 9"


def test_spread_lets_no_zone_get_ahead_by_more_than_its_skew() -> None:
    hosts = [host(1, zone="a"), host(2, 2, 2, zone="b"), host(3)]
    rules = spread_over(hosts, Spread("zone"))
    found = asked(hosts, Demand((1, 1), 9, rules=rules))
    assert (placed(found), found.unplaced) == ({1: 3, 2: 2}, 4)
    assert stops(found)[3] == "no label zone"
    assert stops(found)[1] == "spread over zone by 1"
    rules = spread_over(hosts, Spread("zone", 4))
    assert placed(asked(hosts, Demand((1, 1), 9, rules=rules))) == {1: 6, 2: 2}


def test_closed_host_says_why() -> None:
    closed = host(1)
    closed.is_open, closed.why_closed = False, "stale"
    found = asked([closed], Demand((1, 1), 1))
    assert (found.unplaced, stops(found)) == (1, {1: "stale"})


HOSTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5)


@settings(max_examples=200)
@given(rooms=HOSTS, size=st.tuples(st.integers(0, 4), st.integers(1, 4)), count=st.integers(1, 12))
def test_as_many_are_placed_as_fit_at_all(
    rooms: list[tuple[int, int]], size: tuple[int, int], count: int
) -> None:
    hosts = [host(pk, *room) for pk, room in enumerate(rooms)]
    fit = sum(
        min(have // part for have, part in zip(room, size, strict=True) if part) for room in rooms
    )
    for is_packed in (True, False):
        found = asked(hosts, Demand(size, count, is_packed=is_packed))
        assert found.unplaced == max(0, count - fit)
        assert found.headroom == fit
        for one in found.verdicts:
            used = tuple(part * one.placed for part in size)
            assert all(part <= have for part, have in zip(used, one.berth.room, strict=True))


@settings(max_examples=100)
@given(
    caps=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    count=st.integers(1, 12),
    skew=st.integers(1, 3),
)
def test_spread_places_as_many_as_any_order_could(caps: list[int], count: int, skew: int) -> None:
    hosts = [host(pk, cap, cap, zone=str(pk)) for pk, cap in enumerate(caps)]
    rules = spread_over(hosts, Spread("zone", skew))
    found = asked(hosts, Demand((1, 1), count, rules=rules))
    most = sum(min(cap, min(caps) + skew) for cap in caps)
    assert found.unplaced == max(0, count - most)
    counts = [one.placed for one in found.verdicts]
    assert max(counts) - min(counts) <= skew


@settings(max_examples=300)
@given(
    lasting=st.frozensets(st.sampled_from("abc")),
    steps=st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=40),
    skew=st.integers(1, 3),
)
def test_levels_are_those_of_a_recount(
    lasting: frozenset[str], steps: list[tuple[str, bool]], skew: int
) -> None:
    levels, counts = Levels(lasting), dict.fromkeys(lasting, 0)

    def spans(counts: dict[str, int]) -> int:
        there = [count for key, count in counts.items() if count or key in lasting]
        return max(there, default=0) - min(there, default=0)

    for domain, comes in steps:
        if not comes and not counts.get(domain):
            continue
        counts[domain] = counts.get(domain, 0) + (1 if comes else -1)
        levels.change(domain, 1 if comes else -1)
        assert levels.skew == spans(counts)
        for source in [None, *(key for key, count in counts.items() if count)]:
            for target in lasting:
                after = {**counts, target: counts[target] + 1}
                if source is not None:
                    after[source] -= 1
                allowed = source == target or spans(after) <= max(skew, spans(counts))
                assert levels.lets_over(source, target, skew) is allowed
        assert levels.skew == spans(counts)


def placed_by_looking_at_every_host(berths: Sequence[Berth], demand: Demand) -> dict[int, int]:
    """How many containers each host gets, one by one, by what the strategies say."""
    headroom = {one.berth.id: one.headroom for one in asked(berths, demand).verdicts}
    placed = dict.fromkeys(headroom, 0)

    def preference(one: Berth) -> tuple[float, ...]:
        number = placed[one.id]
        room = [have - number * part for have, part in zip(one.room, demand.size, strict=True)]
        left = max(0.0, *(a / b if b else 0.0 for a, b in zip(room, one.capacity, strict=True)))
        present = one.groups[demand.group] if demand.group else 0
        return (-number, left, one.id) if demand.is_packed else (number + present, -left, one.id)

    for _ in range(demand.count):
        free = [one for one in berths if placed[one.id] < headroom[one.id]]
        if free:
            placed[min(free, key=preference).id] += 1
    return {pk: number for pk, number in placed.items() if number}


DRAWN = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.integers(0, 12),
        st.lists(st.sampled_from(["mine", "other", None]), max_size=3),
    ),
    min_size=1,
    max_size=8,
)
DEMANDS = st.builds(
    Demand,
    size=st.tuples(st.integers(0, 3), st.integers(1, 3)),
    count=st.integers(1, 15),
    max_per_host=st.sampled_from([None, 2]),
    group=st.sampled_from([None, "mine"]),
    is_packed=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(drawn=DRAWN, demand=DEMANDS)
def test_hosts_are_chosen_as_by_looking_at_every_one(
    drawn: list[tuple[int, int, list[str | None]]], demand: Demand
) -> None:
    berths = [host(pk, cpus, memory) for pk, (cpus, memory, _) in enumerate(drawn)]
    for berth, (_, _, groups) in zip(berths, drawn, strict=True):
        one_by_one = berth.copy()
        cargo = [Cargo(berth.id * 10 + n, "c", (1, 0), each) for n, each in enumerate(groups)]
        berth.load(cargo)
        for one in cargo:
            one_by_one.put(one)
        assert berth == one_by_one
    assert placed(asked(berths, demand)) == placed_by_looking_at_every_host(berths, demand)


@pytest.mark.parametrize("is_packed", [True, False])
def test_loading_tells_the_topology_of_each(is_packed: bool) -> None:
    hosts = [host(1, zone="a"), host(2, zone="b")]
    rules = spread_over(hosts, Spread("zone"))
    hosts[0].load([Cargo(n, "c", (1, 1), rules=rules) for n in range(2)])
    assert placed(asked(hosts, Demand((1, 1), 2, rules=rules, is_packed=is_packed))) == {2: 2}
