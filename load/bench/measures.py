"""The measuring: each stack alone for its answers and memory, then all in turn for their time.

CPU time is that of all of a stack's processes, divided by the requests that the generator counted.
Stacks take turns within a round, and their order turns too, so that what else happens on the
machine meets all of them; a figure is the median of its rounds.

The time is bounded. Each wait has a limit of its own, and a round is begun only while the time left
of the plan's minutes holds one as long as the longest so far; the first is measured in any case.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field

from load.bench import checks
from load.bench.data import Data
from load.bench.generators import Outcome, run_wrk, turns, written
from load.bench.servers import Server, serving
from load.bench.stacks import STACKS, Stack
from load.bench.works import WORKS, Work

LOAD_SECONDS = 1.0
"""How long each work loads a stack before its memory is read."""
WARM_UP_REQUESTS, WARM_UP_BATCHES = 64, 2

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    stacks: Sequence[Stack]
    works: Sequence[Work]
    rounds: int
    seconds: float
    """How long one run of one work on one stack lasts."""
    minutes: float
    """When no further round begins."""


@dataclass
class Footprint:
    """What a stack costs before it does anything, and under load."""

    first_answer_seconds: float
    idle_bytes: int
    loaded_bytes: int


@dataclass(frozen=True)
class Run:
    cpu_microseconds: float
    outcome: Outcome


@dataclass
class Figures:
    """The medians of a stack's rounds of one work."""

    cpu_microseconds: float
    per_second: float
    p50_ms: float
    p99_ms: float
    failures: int
    rounds: list[float] = field(default_factory=list)
    """CPU microseconds of each round."""


@dataclass
class Results:
    footprints: dict[str, Footprint] = field(default_factory=dict)
    figures: dict[str, dict[str, Figures]] = field(default_factory=dict)
    """By stack, then work."""
    missing: list[tuple[str, str]] = field(default_factory=list)
    """Stack and work: what it does not do."""
    differences: list[str] = field(default_factory=list)
    rounds: int = 0
    """Those that were measured."""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def visit_each(plan: Plan, data: Data, results: Results, tell: Tell, *, loads: bool = True) -> None:
    """One stack at a time: does it answer with the reference's JSON and refuse what is wrong, how
    soon does it answer, and in what memory. All work is compared, whatever is measured.
    """
    with serving(STACKS["handwritten"], data.url, None) as reference:
        expected = {name: checks.expected_answers(reference, work) for name, work in WORKS.items()}
    data.clean()
    for stack in plan.stacks:
        with serving(stack, data.url, data.tokens[0]) as server:
            memory = [server.pss_bytes()]
            found = [
                difference
                for work in WORKS.values()
                for difference in checks.find_differences(server, work, expected[work.name])
            ]
            data.clean()
            results.differences += found
            tell(f"{stack.name}: {len(found) or 'no'} differences in its answers")
            if not loads:
                continue
            for work in plan.works:
                if run_work(server, work, data, LOAD_SECONDS, memory.append) is None:
                    results.missing.append((stack.name, work.name))
        one = Footprint(server.first_answer_seconds, memory[0], max(memory))
        results.footprints[stack.name] = one
        tell(
            f"{stack.name}: first answer after {one.first_answer_seconds:.2f} s,"
            f" {one.idle_bytes / 2**20:.0f} MiB idle, {one.loaded_bytes / 2**20:.0f} under load"
        )


def take_turns(plan: Plan, data: Data, results: Results, tell: Tell, until: float) -> None:
    """All stacks are up, and measured in turn, in rounds that end before `until` (monotonic)."""
    runs: dict[tuple[str, str], list[Run]] = {}
    longest = 0.0
    with ExitStack() as up:
        servers = [
            up.enter_context(serving(stack, data.url, data.tokens[0])) for stack in plan.stacks
        ]
        while results.rounds < plan.rounds:
            began_at = time.monotonic()
            if results.rounds and began_at + longest > until:
                tell(f"{plan.minutes:g} minutes hold {results.rounds} rounds of {plan.rounds}")
                break
            turn = results.rounds % len(servers)
            for work in plan.works:
                for server in servers[turn:] + servers[:turn]:
                    if (server.stack.name, work.name) in results.missing:
                        continue
                    try:
                        if not results.rounds:
                            _warm_up(server, work, data)
                        run = run_work(server, work, data, plan.seconds)
                    except OSError as error:  # the others go on
                        results.differences.append(
                            f"{server.stack.name} {work.name}: no answer in time ({error})."
                        )
                        continue
                    assert run is not None
                    runs.setdefault((server.stack.name, work.name), []).append(run)
                    tell(
                        f"{results.rounds + 1}/{plan.rounds} {work.name} {server.stack.name}:"
                        f" {run.cpu_microseconds:.0f} µs of CPU, {run.outcome.per_second:.0f}/s"
                    )
            results.rounds += 1
            longest = max(longest, time.monotonic() - began_at)
    for (stack, name), found in runs.items():
        results.figures.setdefault(stack, {})[name] = _medians(found)


def _warm_up(server: Server, work: Work, data: Data) -> None:
    """A few requests, several at once: pools are filled, and what is made once is made."""
    asks = checks.with_etags(server, work, work.asks()[:2]) or []
    count = WARM_UP_BATCHES if work.name == "ingest" else WARM_UP_REQUESTS
    with ThreadPoolExecutor(work.connections) as threads:
        numbered = [checks.number(asks[n % len(asks)], n) for n in range(count)]
        list(threads.map(server.ask, numbered))
    if work.writes:
        data.clean()


def run_work(
    server: Server,
    work: Work,
    data: Data,
    seconds: float,
    note_memory: Callable[[int], object] | None = None,
) -> Run | None:
    """Load the server with one work; None when it has no ETag where the work needs one."""
    asks = checks.with_etags(server, work, work.asks())
    if asks is None:
        return None
    with written(turns(asks, data.tokens if server.stack.has_auth else None)) as requests:
        before = server.cpu_seconds()
        outcome = run_wrk(server.port, requests, seconds=seconds, connections=work.connections)
        spent = server.cpu_seconds() - before
    if note_memory is not None:
        note_memory(server.pss_bytes())
    if work.writes:
        data.clean()
    # When the time is up, as many requests as connections have begun; half of that work, as a rule.
    done = outcome.requests + work.connections / 2
    return Run(spent / done * 1e6, outcome)


def _medians(runs: Sequence[Run]) -> Figures:
    outcomes = [run.outcome for run in runs]
    times = [run.cpu_microseconds for run in runs]
    return Figures(
        cpu_microseconds=statistics.median(times),
        per_second=statistics.median(one.per_second for one in outcomes),
        p50_ms=statistics.median(one.p50_ms for one in outcomes),
        p99_ms=statistics.median(one.p99_ms for one in outcomes),
        failures=sum(one.refused + one.broken for one in outcomes),
        rounds=times,
    )
