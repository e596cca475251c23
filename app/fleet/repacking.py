"""Moves that free hosts, in an order in which each can be made. Pure.

Two plans are made, and the one that frees more hosts is taken, of equals the one with fewer moves:

- *emptying*: the hosts with the least to move first, each emptied if all that it holds fits on the
  others: best-fit decreasing on the dominant resource. Every move counts towards a freed host.
- *packing anew*: hosts are filled one by one by minimum bin slack (`packing`), and the moves from
  here to there are put in an order; it begins with the fleet as it is, and with what emptying made
  of it, which leaves hosts to step aside to. It finds what emptying can't, and costs many moves.

A move is made only onto a host that admits the container and has room for it at that moment, while
the container still counts on the host that it leaves: both run for a while. So no constraint is
broken and no host overfilled at any step.
"""

from collections.abc import Generator, Iterator, Sequence

from app.fleet.emptying import empty
from app.fleet.packing_anew import Contents, carry_out, find_contents, find_targets
from app.fleet.placements import Berth
from app.fleet.plans import Move, Plan, copy_into, is_movable
from app.fleet.repack_bounds import bounds, hosts_min

__all__ = ["Move", "Plan", "hosts_min", "repack"]


def repack(berths: Sequence[Berth], *, max_moves: int) -> Iterator[Plan | None]:
    """Yields None while it computes, each time after some milliseconds at most, then the Plan."""
    before = {berth.id: berth for berth in berths}
    asis, best = Plan(before, {}), Plan(before, {})
    for best.hosts_min in bounds(berths):
        yield None
    yield from copy_into(asis.after, berths)
    yield from copy_into(best.after, berths)
    yield from empty(best, max_moves)
    if _may_be_bettered(best, max_moves):
        contents = yield from find_contents(berths)
        for start in [asis, best] if best.moves else [asis]:
            packed = yield from _packed_anew(start, contents, max_moves, best.hosts_min)
            if len(packed.freed) > len(best.freed):
                best = packed
    yield best


def _may_be_bettered(plan: Plan, max_moves: int) -> bool:
    """Whether one host more could be freed: by the bound, and by the moves that are left."""
    movable = [one for one in plan.before.values() if one.cargo and is_movable(one)]
    counts = sorted(len(one.cargo) for one in movable)
    takes = sum(counts[: len(plan.freed) + 1])
    return plan.hosts_used_after > plan.hosts_min and takes <= max_moves


def _packed_anew(
    start: Plan, contents: Contents, max_moves: int, least: int
) -> Generator[None, None, Plan]:
    plan = Plan(start.before, {}, list(start.moves), "packing anew", least)
    yield from copy_into(plan.after, list(start.after.values()))
    yield None
    targets = yield from find_targets(contents, list(plan.after.values()))
    yield None
    yield from carry_out(plan, targets, max_moves)
    yield from empty(plan, max_moves)
    return plan
