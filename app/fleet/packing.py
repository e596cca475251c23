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
from collections.abc import Sequence
from operator import neg

Size = tuple[int, ...]

SEARCH_STEPS = 2_000
"""How many items a bin's search looks at, at the most: some milliseconds."""
THRESHOLDS = 400
"""How many thresholds L2 tries at the most; any few of them give a lower bound, all the best."""
SEARCH_DEPTH = 64
"""Items in a bin from which on the search tries no alternatives: there is one for each choice."""


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
                rooms[number] = _less(room, size)
                break
        else:
            bins.append([place])
            rooms.append(_less(capacity, size))
    return bins


def minimum_bin_slack(sizes: Sequence[Size], capacity: Size) -> list[list[int]]:
    bins = []
    left = _decreasing(sizes, capacity)
    shares = [dominant_share(size, capacity) for size in sizes]
    while left:
        first, *others = left
        chosen = fullest_subset(
            [sizes[place] for place in others],
            [shares[place] for place in others],
            _less(capacity, sizes[first]),
            capacity,
        )
        bins.append([first, *(others[number] for number in chosen)])
        taken = set(bins[-1])
        left = [place for place in left if place not in taken]
    return bins


def fullest_subset(
    sizes: Sequence[Size], shares: Sequence[float], room: Size, whole: Size, *, begin: int = 0
) -> list[int]:
    """Of items in the order of their dominant shares of `whole`, the largest first, those that fill
    `room` best together, as places in `sizes`, from `begin` on.

    Best is the least sum of what is left, as shares of `whole`. The search goes depth first, the
    largest first, and passes over items as large as one that was just tried; it ends after
    `SEARCH_STEPS` items, or when nothing is left over.
    """
    search = _Search(sizes, shares, whole)
    search.descend(begin, room, [])
    return search.best


class _Search:
    def __init__(self, sizes: Sequence[Size], shares: Sequence[float], whole: Size) -> None:
        self.sizes = sizes
        self.shares = shares
        self.whole = whole
        self.steps = SEARCH_STEPS
        self.best: list[int] = []
        self.slack = float("inf")

    def descend(self, begin: int, room: Size, chosen: list[int]) -> None:
        self._note(room, chosen)
        last: Size | None = None
        # Whatever takes more of one resource than there is left of any can't fit.
        bound = dominant_share(room, self.whole) + 1e-12
        start = bisect_left(self.shares, -bound, lo=begin, key=neg)
        for place in range(start, len(self.sizes)):
            if self.steps <= 0 or self.slack == 0:
                return
            self.steps -= 1
            size = self.sizes[place]
            if size == last or not fits(size, room):
                continue
            if len(chosen) < SEARCH_DEPTH:
                last = size
                self.descend(place + 1, _less(room, size), [*chosen, place])
            else:
                room, chosen = _less(room, size), [*chosen, place]
                self._note(room, chosen)

    def _note(self, room: Size, chosen: list[int]) -> None:
        slack = 0.0
        for left, full in zip(room, self.whole, strict=True):
            slack += left / full if full else 0.0
        if slack < self.slack:
            self.best, self.slack = chosen, slack


def _decreasing(sizes: Sequence[Size], capacity: Size) -> list[int]:
    """Places of the items, the largest dominant share first; of equals, the first first."""
    return sorted(
        range(len(sizes)), key=lambda place: (-dominant_share(sizes[place], capacity), place)
    )


def _less(room: Size, size: Size) -> Size:
    return tuple(left - part for left, part in zip(room, size, strict=True))
