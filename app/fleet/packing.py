"""Bin packing: a lower bound on the bins that items need, and a packing into few. Pure.

Sizes and capacities are tuples of whole numbers, one for each resource, so that no rounding decides
whether something fits.

`lower_bound` is, over the resources, the larger of the continuous bound ceil(sum / capacity) and
L2 of Martello and Toth (Knapsack Problems, 1990, section 8.3), which also counts the items that
can't share a bin. `pack` takes the better of

- first-fit decreasing on the dominant resource: each item, the largest first, into the first bin
  with room (Johnson 1974: at most 11/9 of the optimum, and more than that is rare);
- minimum bin slack (Gupta and Ho 1999, as MBS' of Fleszar and Hindi 2002): bin by bin, the largest
  item that is left and then the subset of the others that leaves the least room, found by a search
  of bounded length. It finds the exact fits that first-fit can't, such as Falkenauer's triplets.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import neg

Size = tuple[int, ...]

SEARCH_STEPS = 2_000
"""How many items a bin's search looks at, at the most: some milliseconds."""
THRESHOLDS = 400
"""How many thresholds L2 tries at the most; any few of them give a lower bound, all the best."""
FULL = 1e-4
"""The part of a bin that may be left over where a search is content with what it found."""
SCARCITY = 6
"""The power of a resource's load that says what is left of it is worth: see `worth_of`."""
SEARCH_DEPTH = 64
"""Items in a bin from which on the search tries no alternatives."""


def lower_bound(sizes: Sequence[Size], capacity: Size) -> int:
    """Bins that are needed at the least; 0 without items. Every size fits a bin by itself."""
    if not sizes:
        return 0
    return max(
        _lower_bound_of_one([size[place] for size in sizes], limit)
        for place, limit in enumerate(capacity)
    )


def _lower_bound_of_one(sizes: list[int], capacity: int) -> int:
    """L2: the best over thresholds of what large, medium and small items need together."""
    if capacity <= 0:
        return 0
    ordered = sorted(sizes)
    sums = [0]
    for size in ordered:
        sums.append(sums[-1] + size)
    half = bisect_left(ordered, capacity // 2 + 1)  # from here on, no two share a bin
    best = -(-sums[-1] // capacity)
    thresholds = sorted({0, *ordered[:half]})
    for threshold in thresholds[:: len(thresholds) // THRESHOLDS + 1]:
        large = bisect_left(ordered, capacity - threshold + 1)  # alone, but for less than threshold
        small = bisect_left(ordered, threshold)
        alone = len(ordered) - large
        medium = max(0, large - half)
        room = medium * capacity - (sums[large] - sums[half])
        rest = sums[half] - sums[small]
        best = max(best, alone + medium + max(0, -(-(rest - room) // capacity)))
    return best


def dominant_share(size: Size, whole: Size) -> float:
    """The share of the resource of which it takes the most (Ghodsi et al., DRF, NSDI 2011)."""
    share = 0.0
    for part, full in zip(size, whole, strict=True):
        if full and part / full > share:
            share = part / full
    return share


def fits(size: Size, room: Size) -> bool:
    for part, left in zip(size, room, strict=True):  # noqa: SIM110 - all() takes thrice as long
        if part > left:
            return False
    return True


def pack(sizes: Sequence[Size], capacity: Size) -> list[list[int]]:
    """Bins as lists of places in `sizes`. Raises ValueError for an item larger than a bin."""
    for place, size in enumerate(sizes):
        if not fits(size, capacity):
            raise ValueError(f"Item {place} is larger than a bin: {size} does not fit {capacity}.")
    first_fit = first_fit_decreasing(sizes, capacity)
    if len(first_fit) == lower_bound(sizes, capacity):
        return first_fit
    return min(first_fit, minimum_bin_slack(sizes, capacity), key=len)


def first_fit_decreasing(sizes: Sequence[Size], capacity: Size) -> list[list[int]]:
    bins: list[list[int]] = []
    rooms: list[Size] = []
    for place in _decreasing(sizes, capacity):
        size = sizes[place]
        for number, room in enumerate(rooms):
            if fits(size, room):
                bins[number].append(place)
                rooms[number] = less(room, size)
                break
        else:
            bins.append([place])
            rooms.append(less(capacity, size))
    return bins


def minimum_bin_slack(sizes: Sequence[Size], capacity: Size) -> list[list[int]]:
    bins = []
    worth = worth_of(sizes, [capacity])
    values = [value_of(size, worth) for size in sizes]
    left = sorted(range(len(sizes)), key=lambda place: (-values[place], place))
    while left:
        first, *others = left
        chosen = fullest_subset(
            [sizes[place] for place in others],
            [values[place] for place in others],
            less(capacity, sizes[first]),
            worth,
        )
        bins.append([first, *(others[number] for number in chosen)])
        taken = set(bins[-1])
        left = [place for place in left if place not in taken]
    return bins


def worth_of(sizes: Sequence[Size], capacities: Sequence[Size]) -> tuple[float, ...]:
    """What a unit of each resource is worth, so that a whole bin of the scarcest is worth 1.

    Of the others less, by a power of how much less of them is asked for: filling bins well with a
    resource of which there is plenty saves none. `capacities` of one or more bins; shares are told
    of the largest.
    """
    places = range(len(capacities[0]))
    whole = [max(1, *(capacity[place] for capacity in capacities)) for place in places]
    loads = [sum(size[place] for size in sizes) / whole[place] for place in places]
    most = max(loads) or 1.0
    return tuple((load / most) ** SCARCITY / full for load, full in zip(loads, whole, strict=True))


def value_of(size: Size, worth: Sequence[float]) -> float:
    value = 0.0
    for part, each in zip(size, worth, strict=True):
        value += part * each
    return value


def fullest_subset(
    sizes: Sequence[Size],
    values: Sequence[float],
    room: Size,
    worth: Sequence[float],
    *,
    begin: int = 0,
    groups: Sequence[str | None] = (),
    first_group: str | None = None,
    admits: Callable[[int], bool] | None = None,
) -> list[int]:
    """Of items in the order of what they are worth, the most first, those that fill `room` best
    together, as places in `sizes`, from `begin` on.

    Best is the least worth of what is left. The search goes depth first, the largest
    first, and passes over items as large as one that was just tried; it ends after `SEARCH_STEPS`
    items, or when next to nothing is left over. No two of a group are chosen, none of
    `first_group`, and none that `admits` is false of.
    """
    taken = {first_group} - {None}
    best: list[int] = []
    chosen: list[int] = []
    levels: list[tuple[int, Size, float]] = []  # no recursion: its calls cost more than its work
    value = slack = value_of(room, worth)
    place = _first_within(values, value, begin)
    last: Size | None = None
    for _ in range(SEARCH_STEPS):
        while place >= len(sizes):  # nothing more goes in beside what was chosen
            if value < slack:
                best, slack = chosen[:], value
            if not levels:
                return best
            place, room, value = levels.pop()
            last = sizes[chosen.pop()]
            taken.discard(groups[place - 1] if groups else None)
            if len(levels) >= SEARCH_DEPTH:
                place = len(sizes)
        size = sizes[place]
        place += 1
        group = groups[place - 1] if groups else None
        if size == last or not fits(size, room) or group in taken:
            continue
        if admits is not None and not admits(place - 1):
            continue
        if group is not None:
            taken.add(group)
        levels.append((place, room, value))
        chosen.append(place - 1)
        room = less(room, size)
        value = value_of(room, worth)
        if value <= FULL:
            return chosen
        place = _first_within(values, value, place)
        last = None
    return chosen if value < slack else best


def _first_within(values: Sequence[float], value: float, begin: int) -> int:
    """Whatever is worth more than the room can't fit."""
    return bisect_left(values, -value - 1e-12, lo=begin, key=neg)


def _decreasing(sizes: Sequence[Size], capacity: Size) -> list[int]:
    """Places of the items, the largest dominant share first; of equals, the first first."""
    return sorted(
        range(len(sizes)), key=lambda place: (-dominant_share(sizes[place], capacity), place)
    )


def less(room: Size, size: Size) -> Size:
    """What is left of `room`."""
    return tuple(left - part for left, part in zip(room, size, strict=True))
