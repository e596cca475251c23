"""Which containers may be near which: anti-affinity, and the spread over domains. Pure.

The terms are Kubernetes'. The hosts that have the same value of a topology key, which is a label of
hosts, are a domain; of `node.hostname` each host is one by itself.

- *Anti-affinity*: in a domain with a container that the term selects, none of a workload that
  carries the term. It holds both ways: where one that carries it is, none that it selects may go.
  A term that selects its own workload keeps its containers apart. On a host without the label
  nothing is broken.
- *Spread*: no domain has over `max_skew` containers of the workload more than another. A domain
  counts where containers of it are or could be; a host without the label takes none.

What is not required is preferred: it forbids nothing, and is told where it is gone against.
Containers that are near each other already stay: only where one goes to is judged.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

HOSTNAME = "node.hostname"


class Place(Protocol):
    """A host, as far as it belongs to domains."""

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> Mapping[str, str]: ...


def domain_of(place: Place, topology_key: str) -> str | None:
    return place.name if topology_key == HOSTNAME else place.labels.get(topology_key)


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """Of anti-affinity. One object for all that carry it: it is compared by identity."""

    match_labels: Mapping[str, str]
    topology_key: str = HOSTNAME

    def selects(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.match_labels.items())

    def __str__(self) -> str:
        selector = ",".join(f"{key}={value}" for key, value in sorted(self.match_labels.items()))
        return f"anti-affinity {selector} over {self.topology_key}"


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Of one workload."""

    topology_key: str
    max_skew: int = 1
    workload: str = ""

    def __str__(self) -> str:
        return f"spread over {self.topology_key} by {self.max_skew}"


class Demands(NamedTuple):
    avoids: tuple[Term, ...] = ()
    """The terms that the workload carries."""
    avoided: tuple[Term, ...] = ()
    """The terms, of whomever, that select it."""
    spreads: tuple[Spread, ...] = ()

    def __bool__(self) -> bool:
        return any(self)

    @property
    def apart(self) -> list[Term]:
        """Those that keep its own containers apart."""
        return [term for term in self.avoids if term in self.avoided]


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """What holds for all containers of a workload."""

    required: Demands = field(default_factory=Demands)
    preferred: Demands = field(default_factory=Demands)

    @property
    def topology_keys(self) -> set[str]:
        several = (self.required.avoids, self.required.avoided, self.required.spreads)
        return {one.topology_key for kind in several for one in kind}


class Levels:
    """How many are in each domain; the lowest and the highest count are at hand."""

    def __init__(self, lasting: Collection[str] = ()) -> None:
        self.lasting = lasting
        """The domains that count though they hold none."""
        self.counts = dict.fromkeys(lasting, 0)
        self.lowest = self.highest = 0
        self._heights = Counter({0: len(self.counts)})

    def copy(self) -> "Levels":
        copied = Levels()
        copied.lasting, copied.counts = self.lasting, dict(self.counts)
        copied.lowest, copied.highest = self.lowest, self.highest
        copied._heights = Counter(self._heights)
        return copied

    @property
    def skew(self) -> int:
        return self.highest - self.lowest

    def change(self, domain: str, by: int) -> None:
        """`by` is 1 or -1."""
        before = self.counts.get(domain)
        if before is not None:
            self._heights[before] -= 1
        after = (before or 0) + by
        if after or domain in self.lasting:
            self.counts[domain] = after
            self._heights[after] += 1
            self.lowest, self.highest = min(self.lowest, after), max(self.highest, after)
        else:
            del self.counts[domain]
        while self.lowest < self.highest and not self._heights[self.lowest]:
            self.lowest += 1
        while self.lowest < self.highest and not self._heights[self.highest]:
            self.highest -= 1

    def lets_in(self, domain: str, max_skew: int) -> bool:
        """Whether one more may go there, as Kubernetes decides it."""
        return self.counts.get(domain, 0) + 1 - self.lowest <= max_skew

    def lets_over(self, source: str | None, target: str, max_skew: int) -> bool:
        """Whether one may go from here to there: it is no more skewed than it may be, or was."""
        if source == target:
            return True
        before = self.skew
        if source is not None:
            self.change(source, -1)
        self.change(target, 1)
        after = self.skew
        self.change(target, -1)
        if source is not None:
            self.change(source, 1)
        return after <= max(max_skew, before)


Table = dict[Term, Counter[str]]


@dataclass(slots=True)
class Topology:
    """What is in each domain, of all that rules speak of."""

    levels: dict[Spread, Levels] = field(default_factory=dict)
    carriers: Table = field(default_factory=dict)
    """Containers that carry the term, by domain."""
    selected: Table = field(default_factory=dict)
    """Containers that the term selects."""
    both: Table = field(default_factory=dict)

    def copy(self) -> "Topology":
        tables = (self.carriers, self.selected, self.both)
        return Topology(
            {spread: levels.copy() for spread, levels in self.levels.items()},
            *({term: Counter(counts) for term, counts in table.items()} for table in tables),
        )

    def add(self, spread: Spread, domains: Collection[str]) -> None:
        """A spread, and the domains that count for it whether or not they hold any."""
        self.levels[spread] = Levels(domains)

    def change(self, rules: Rules, place: Place, by: int) -> None:
        """A container of this workload comes (1) or goes (-1)."""
        for demands in (rules.required, rules.preferred):
            for terms, table in (
                (demands.avoids, self.carriers),
                (demands.avoided, self.selected),
                (demands.apart, self.both),
            ):
                for term in terms:
                    domain = domain_of(place, term.topology_key)
                    if domain is not None:
                        table.setdefault(term, Counter())[domain] += by
            for spread in demands.spreads:
                domain = domain_of(place, spread.topology_key)
                if domain is not None:
                    self.levels.setdefault(spread, Levels()).change(domain, by)

    def obstacle(self, rules: Rules, target: Place, source: Place | None = None) -> str | None:
        """What forbids one of this workload to go there, from `source` or anew; None if nothing."""
        return next(self._broken(rules.required, target, source), None)

    def conflict(self, rules: Rules, target: Place) -> str | None:
        """What forbids it for good, whatever goes elsewhere: the skew apart."""
        demands = rules.required._replace(spreads=())
        missing = (
            f"no label {spread.topology_key}"
            for spread in rules.required.spreads
            if domain_of(target, spread.topology_key) is None
        )
        return next(self._broken(demands, target, None), None) or next(missing, None)

    def regrets(self, rules: Rules, target: Place) -> list[str]:
        """What is preferred, and would be gone against."""
        return list(self._broken(rules.preferred, target, None))

    def crowd(self, rules: Rules, target: Place) -> int:
        """How many of its own are in the domains of its required spreads."""
        return sum(
            self.levels[spread].counts.get(domain_of(target, spread.topology_key) or "", 0)
            for spread in rules.required.spreads
            if spread in self.levels
        )

    def _broken(self, demands: Demands, target: Place, source: Place | None) -> Iterator[str]:
        for term in demands.avoids:
            if self._others(term, self.selected, term in demands.avoided, target, source):
                yield str(term)
        for term in demands.avoided:
            if self._others(term, self.carriers, term in demands.avoids, target, source):
                yield f"{term}, of those there"
        for spread in demands.spreads:
            domain = domain_of(target, spread.topology_key)
            if domain is None:
                yield f"no label {spread.topology_key}"
                continue
            levels = self.levels.setdefault(spread, Levels())
            if source is None:
                is_kept = levels.lets_in(domain, spread.max_skew)
            else:
                came_from = domain_of(source, spread.topology_key)
                is_kept = levels.lets_over(came_from, domain, spread.max_skew)
            if not is_kept:
                yield str(spread)

    @staticmethod
    def _others(
        term: Term, table: Table, is_one_itself: bool, target: Place, source: Place | None
    ) -> int:
        """How many the table counts in the domain of the target, without the one that moves."""
        counts = table.get(term)
        domain = domain_of(target, term.topology_key)
        if counts is None or domain is None:
            return 0
        came_from = None if source is None else domain_of(source, term.topology_key)
        return counts[domain] - (is_one_itself and came_from == domain)

    def breaches(self) -> Counter[Term | Spread]:
        """What is gone against, and how much: pairs that are too near, skew that is too much."""
        found: Counter[Term | Spread] = Counter()
        for term, carriers in self.carriers.items():
            selected, both = (table.get(term, Counter()) for table in (self.selected, self.both))
            for domain, count in carriers.items():
                found[term] += count * selected[domain] - both[domain]
        for spread, levels in self.levels.items():
            found[spread] = max(0, levels.skew - spread.max_skew)
        return +found
