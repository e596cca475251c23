"""Bin packing on the standard instances of the literature, made by their published recipes.

Falkenauer, "A hybrid grouping genetic algorithm for bin packing", 1996 (OR-Library's binpack1-8):
uniform sizes 20..100 in bins of 150; triplets of which each fills a bin of 1000 exactly.
Scholl, Klein and Juergens, "BISON", 1997: set 1, sizes from 1, 20 or 30 to 100 in bins of 100, 120
or 150; set 2, bins of 1000 with sizes around a third to a ninth; set 3, bins of 100,000 with sizes
20,000..35,000.
"""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.fleet.packing import Size, first_fit_decreasing, fits, lower_bound, pack

Instance = tuple[list[Size], Size]


def falkenauer_uniform(count: int, seed: int) -> Instance:
    chance = random.Random(seed)
    return [(chance.randint(20, 100),) for _ in range(count)], (150,)


def falkenauer_triplets(count: int, seed: int) -> Instance:
    chance = random.Random(seed)
    sizes: list[Size] = []
    for _ in range(count // 3):
        first = chance.randint(380, 490)
        second = chance.randint(250, (1000 - first) // 2)
        sizes += [(first,), (second,), (1000 - first - second,)]
    chance.shuffle(sizes)
    return sizes, (1000,)


def scholl_1(count: int, capacity: int, least: int, seed: int) -> Instance:
    chance = random.Random(seed)
    return [(chance.randint(least, 100),) for _ in range(count)], (capacity,)


def scholl_2(count: int, parts: int, spread: float, seed: int) -> Instance:
    chance, middle = random.Random(seed), 1000 / parts
    least, most = int(middle * (1 - spread)), int(middle * (1 + spread))
    return [(max(1, chance.randint(least, most)),) for _ in range(count)], (1000,)


def scholl_3(count: int, seed: int) -> Instance:
    chance = random.Random(seed)
    return [(chance.randint(20_000, 35_000),) for _ in range(count)], (100_000,)


INSTANCES = {
    **{f"u{n}-{s}": falkenauer_uniform(n, s) for n in (120, 250, 500) for s in range(4)},
    **{f"t{n}-{s}": falkenauer_triplets(n, s) for n in (60, 120, 249) for s in range(4)},
    **{
        f"scholl1-{n}-{c}-{w}": scholl_1(n, c, w, seed=n + c + w)
        for n in (50, 100, 200)
        for c in (100, 120, 150)
        for w in (1, 20, 30)
    },
    **{
        f"scholl2-{n}-{p}-{d}": scholl_2(n, p, d, seed=n + p)
        for n in (50, 100, 200)
        for p in (3, 5, 7, 9)
        for d in (0.2, 0.5, 0.9)
    },
    **{f"scholl3-{s}": scholl_3(200, s) for s in range(4)},
}
LARGEST = {
    "u1000": falkenauer_uniform(1000, 0),
    "t501": falkenauer_triplets(501, 0),
    **{f"scholl1-500-{c}-{w}": scholl_1(500, c, w, c) for c in (100, 150) for w in (1, 30)},
    **{f"scholl2-500-{p}-{d}": scholl_2(500, p, d, p) for p in (3, 9) for d in (0.2, 0.9)},
}
"""The largest of each published set."""


@pytest.mark.parametrize("name", [*INSTANCES, *LARGEST])
def test_packing_is_within_a_tenth_of_the_bound(name: str) -> None:
    sizes, capacity = (INSTANCES | LARGEST)[name]
    bins = pack(sizes, capacity)
    assert sorted(place for one in bins for place in one) == list(range(len(sizes)))
    for one in bins:
        assert sum(sizes[place][0] for place in one) <= capacity[0]
    assert len(bins) <= 1.1 * lower_bound(sizes, capacity)


@pytest.mark.parametrize("name", [name for name in INSTANCES | LARGEST if name.startswith("t")])
def test_triplets_have_their_known_optimum_as_bound(name: str) -> None:
    """Three to a bin, which they fill: the optimum is a third of their number."""
    sizes, capacity = (INSTANCES | LARGEST)[name]
    assert lower_bound(sizes, capacity) == len(sizes) // 3


def test_triplets_are_where_first_fit_fails() -> None:
    sizes, capacity = falkenauer_triplets(249, 1)
    assert len(first_fit_decreasing(sizes, capacity)) > 1.15 * 83
    assert len(pack(sizes, capacity)) <= 1.03 * 83


def test_bound_counts_what_cannot_share_a_bin() -> None:
    assert lower_bound([(51,)] * 10 + [(50,)], (100,)) == 11
    assert lower_bound([(60,)] * 3 + [(40,)] * 3, (100,)) == 3
    assert lower_bound([(34,)] * 3, (100,)) == 2
    assert lower_bound([], (100,)) == 0


def test_larger_of_two_resources_decides_the_bound() -> None:
    assert lower_bound([(10, 60)] * 4, (100, 100)) == 4
    assert lower_bound([(60, 10)] * 4, (100, 100)) == 4


def test_item_larger_than_a_bin_is_named() -> None:
    with pytest.raises(ValueError, match="Item 1 is larger than a bin"):
        pack([(1, 1), (1, 11)], (10, 10))


SIZES = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), max_size=30)


@given(sizes=SIZES)
def test_no_bin_is_overfilled_and_the_bound_holds(sizes: list[Size]) -> None:
    capacity = (20, 20)
    bins = pack(sizes, capacity)
    assert sorted(place for one in bins for place in one) == list(range(len(sizes)))
    for one in bins:
        filled = tuple(sum(sizes[place][r] for place in one) for r in range(2))
        assert fits(filled, capacity)
    assert len(bins) >= lower_bound(sizes, capacity)


@given(st.lists(st.integers(1, 10), max_size=6))
def test_bound_is_never_above_the_optimum(loads: list[int]) -> None:
    """The optimum of few items, by trying all partitions."""
    sizes = [(load,) for load in loads]
    assert lower_bound(sizes, (10,)) <= optimum(loads, [])


def optimum(loads: list[int], rooms: list[int]) -> int:
    if not loads:
        return len(rooms)
    first, *others = loads
    best = optimum(others, [*rooms, 10 - first])
    for number, room in enumerate(rooms):
        if first <= room:
            changed = [*rooms[:number], room - first, *rooms[number + 1 :]]
            best = min(best, optimum(others, changed))
    return best
