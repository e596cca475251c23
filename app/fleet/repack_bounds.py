"""How many hosts are needed at the least, whatever the plan. Pure."""

from collections.abc import Iterator, Sequence

from app.fleet.packing import lower_bound
from app.fleet.placements import Berth
from app.fleet.plans import is_movable


def hosts_min(berths: Sequence[Berth]) -> int:
    """The hosts that are needed at the least, those that can't be emptied included.

    For each resource, so many of the largest as hold all of it; of hosts that are alike also
    Martello and Toth's L2 (`packing.lower_bound`).
    """
    return max(bounds(berths), default=0)


def bounds(berths: Sequence[Berth]) -> Iterator[int]:
    """`hosts_min` in steps: bounds, each at least the one before."""
    fixed = [one for one in berths if one.cargo and not is_movable(one)]
    kept = {one.id for one in fixed}
    free = [one for one in berths if one.is_open and one.id not in kept]
    best = len(fixed)
    yield best
    sizes = [one.size for berth in free for one in berth.cargo.values()]
    capacities = {berth.capacity for berth in free}
    for resource in range(len(berths[0].capacity) if berths else 0):
        spare = sum(max(0, berth.room[resource]) for berth in fixed if berth.is_open)
        loads = [size[resource] for size in sizes]
        yield best
        best = max(best, len(fixed) + _hosts_for(free, sum(loads) - spare, resource))
        if len(capacities) == 1 and not fixed and loads:
            capacity = max(_most(berth, resource) for berth in free)
            if capacity < 2 * max(loads) <= 2 * capacity:  # else L2 is the continuous bound
                yield best
                best = max(best, lower_bound([(load,) for load in loads], (capacity,)))
        yield best


def _hosts_for(free: list[Berth], load: int, resource: int) -> int:
    """So many of the largest as hold the load."""
    count = 0
    for capacity in sorted((_most(berth, resource) for berth in free), reverse=True):
        if load <= 0:
            break
        load -= capacity
        count += 1
    return count


def _most(berth: Berth, resource: int) -> int:
    """What the host may go on to hold: what it holds now, where that is more than its capacity."""
    return berth.capacity[resource] - min(0, berth.room[resource])
