"""`python -m load.repack`: what a repack plan costs for a large fleet, and how good it is.

Makes fleets by a seed, in memory: nothing is started, nothing is asked of a database. For each it
prints the processor time that a plan took, that of the longest step between two turns of the event
loop, and how far the plan is from the bound. Then Falkenauer's and Scholl's instances through
`repack()`: an item a host, and packed as they come (next-fit, first-fit) as a fleet that has grown.
"""

import argparse
import gc
import random
import sys
import time
from collections.abc import Sequence
from itertools import product

from app.fleet.placement_rules import REQUIRED, Rulebook, Spec
from app.fleet.placements import MICRO, Berth, Cargo
from app.fleet.repacking import Plan, repack
from app.fleet.topologies import HOSTNAME, Topology
from tests.fleet.test_packing import INSTANCES, Instance

GIB = 2**30
MIB = 2**20
MOVES = (100, 1_000, 5_000, 20_000)
WORKLOADS = 4_000
STARTS = ("one each", "next-fit", "first-fit")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m load.repack", description=__doc__)
    parser.add_argument("--hosts", type=int, choices=range(1, 1001), default=300, metavar="N")
    parser.add_argument("--containers", type=int, choices=range(1, 201), default=50, metavar="N")
    parser.add_argument("--quick", action="store_true", help="no instances of the literature")
    options = parser.parse_args()
    for fill, is_ruled in product((0.3, 0.6, 0.93), (False, True)):
        berths = fleet(options.hosts, options.containers, fill, is_ruled=is_ruled)
        gc.freeze()  # as a worker does with what it has when it starts
        overfull = sum(min(one.room) < 0 for one in berths)
        print(
            f"{fill:.0%} reserved on average, {overfull} of {len(berths)} hosts overfull"
            + (", with rules" if is_ruled else "")
        )
        for max_moves in MOVES:
            print(f"  at most {max_moves:6,} moves: {measure(berths, max_moves)}")
    for start in () if options.quick else STARTS:
        print(f"Instances of the literature, {start}: hosts in use before and after, x the bound")
        for kind, (before, after) in worst_of(start).items():
            print(f"  {kind:8} {before:.3f} -> {after:.3f} at worst")
    return 0


def worst_of(start: str) -> dict[str, tuple[float, float]]:
    """By kind of instance, the worst that `repack` was given and the worst that it made of it."""
    worst: dict[str, tuple[float, float]] = {}
    for name, instance in INSTANCES.items():
        found, _, _ = plan(loaded(instance, start), 10**6)
        kind = name.split("-", maxsplit=1)[0]
        before, after = worst.get(kind, (0.0, 0.0))
        worst[kind] = (
            max(before, found.hosts_used_before / found.hosts_min),
            max(after, found.hosts_used_after / found.hosts_min),
        )
    return worst


def fleet(hosts: int, containers: int, fill: float, *, is_ruled: bool = False) -> list[Berth]:
    """Hosts of 16 cores and 64 GiB; heavy-tailed containers that reserve `fill` of them."""
    book = Rulebook(specs() if is_ruled else {})
    for _ in book.compile():
        pass
    chance = random.Random(1)
    shapes = [min(64.0, chance.paretovariate(1.2)) for _ in range(hosts * containers)]
    unit = fill * hosts / sum(shapes)
    berths = []
    for host in range(hosts):
        labels = {"zone": "abc"[host % 3], "rack": str(host // 10)}
        berth = Berth(host, f"host-{host:03d}", labels, (int(15.5 * MICRO), 62 * GIB))
        for place in range(containers):
            number = host * containers + place
            share = min(0.5, shapes[number] * unit)
            size = (int(share * 15.5 * MICRO * chance.uniform(0.5, 1.0)), int(share * 62 * GIB))
            owner = number % WORKLOADS if number % 3 == 0 else None
            group = f"workload {owner}" if owner is not None else None
            rules = book.rules.get(owner) if owner is not None else None
            berth.put(Cargo(number, f"container-{number}", size, group=group, rules=rules))
        berths.append(berth)
    if is_ruled:
        for topology in book.start(berths):
            if topology is not None:
                account(berths, topology)
    return berths


def account(berths: Sequence[Berth], topology: Topology) -> None:
    for berth in berths:
        berth.topology = topology
        for one in berth.cargo.values():
            if one.rules is not None:
                topology.change(one.rules, berth, 1)


def specs() -> dict[int, Spec]:
    """Of every second workload: spread over zones, over hosts too, or apart from a tenth of all."""
    spread = {"topology_key": "zone", "max_skew": 1, "when_unsatisfiable": REQUIRED}
    over_hosts = spread | {"topology_key": HOSTNAME}
    found = {}
    for number in range(WORKLOADS):
        tier = {"tier": str(number % 10)}
        term = {"label_selector": {"match_labels": tier}, "topology_key": "rack"}
        placement = {
            0: {"spread": [spread]},
            2: {"spread": [spread, over_hosts]},
            4: {"anti_affinity": {"required": [term | {"topology_key": HOSTNAME}]}},
            6: {"anti_affinity": {"preferred": [term]}},
        }.get(number // 10 % 8, {})
        found[number] = Spec(f"workload-{number}", tier, placement)
    return found


def loaded(instance: Instance, start: str, second: str = "none") -> list[Berth]:
    """An instance's items on hosts, as they come. `second` is what they take of a second resource:
    nothing is said of one, or a thousandth each, or anything up to what they take of the first.
    """
    sizes, capacity = instance
    chance = random.Random(1)
    if second != "none":
        drawn = [1 if second == "little" else chance.randint(1, size[0]) for size in sizes]
        sizes = [(size[0], other) for size, other in zip(sizes, drawn, strict=True)]
        capacity = (capacity[0], capacity[0])
    berths: list[Berth] = []
    for number, size in enumerate(sizes):
        one = Cargo(number, str(number), size)
        reachable = {"one each": [], "next-fit": berths[-1:], "first-fit": berths}[start]
        berth = next((berth for berth in reachable if berth.takes(one)), None)
        if berth is None:
            berth = Berth(len(berths), str(len(berths)), {}, capacity)
            berths.append(berth)
        berth.put(one)
    return berths


def plan(berths: Sequence[Berth], max_moves: int) -> tuple[Plan, float, float]:
    """The plan, the processor seconds it took, and those of the longest step."""
    found, longest = None, 0.0
    started = last = time.thread_time()
    for found in repack(berths, max_moves=max_moves):  # noqa: B007 - the last one is the plan
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    assert found is not None
    return found, last - started, longest


def measure(berths: Sequence[Berth], max_moves: int) -> str:
    found, seconds, longest = plan(berths, max_moves)
    return (
        f"{seconds:5.2f} s, longest step {longest * 1000:3.0f} ms; {len(found.moves):6,} moves "
        f"free {len(found.freed):3} hosts, {found.hosts_used_after} in use, "
        f"at least {found.hosts_min}"
    )


if __name__ == "__main__":
    sys.exit(main())
