"""The measuring: each stack alone for its memory, then all of them in turn for their time.

CPU time is that of all of a stack's processes, divided by the requests that the generator counted.
Stacks take turns within a round, and their order turns too, so that what else happens on the
machine meets all of them; a figure is the median of its rounds.
"""

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from load.bench import checks
from load.bench.data import Data
from load.bench.generators import Outcome, run_wrk, turns, written
from load.bench.servers import Server, move_postgres, serving
from load.bench.stacks import STACKS, Stack
from load.bench.works import Work

WARM_UP_SECONDS = 1.0

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    stacks: Sequence[Stack]
    works: Sequence[Work]
    rounds: int
    seconds: float
    """How long one run of one work on one stack lasts."""


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

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def measure(plan: Plan, data: Data, postgres: Path, tell: Tell) -> Results:
    """All of the plan. Raises ServerError when a stack can't be served."""
    results = Results()
    move_postgres(postgres)
    compare(plan, data, results, tell)
    _visit_each(plan, data, results, tell)
    _take_turns(plan, data, results, tell)
    return results


def compare(plan: Plan, data: Data, results: Results, tell: Tell) -> None:
    """Whether each stack answers with the reference's JSON, and refuses what is wrong."""
    with serving(STACKS["handwritten"], data.url, None) as reference:
        expected = {work.name: checks.expected_answers(reference, work) for work in plan.works}
    data.clean()
    for stack in plan.stacks:
        with serving(stack, data.url, data.tokens[0]) as server:
            found = [
                difference
                for work in plan.works
                for difference in checks.find_differences(server, work, expected[work.name])
            ]
        data.clean()
        results.differences += found
        tell(f"{stack.name}: {len(found) or 'no'} differences in its answers")


def _visit_each(plan: Plan, data: Data, results: Results, tell: Tell) -> None:
    """One stack at a time: how soon does it answer, in what memory."""
    for stack in plan.stacks:
        with serving(stack, data.url, data.tokens[0]) as server:
            memory = [server.pss_bytes()]
            for work in plan.works:
                if _run(server, work, data, WARM_UP_SECONDS, memory.append) is None:
                    results.missing.append((stack.name, work.name))
        one = Footprint(server.first_answer_seconds, memory[0], max(memory))
        results.footprints[stack.name] = one
        tell(
            f"{stack.name}: first answer after {one.first_answer_seconds:.2f} s,"
            f" {one.idle_bytes / 2**20:.0f} MiB idle, {one.loaded_bytes / 2**20:.0f} under load"
        )


def _take_turns(plan: Plan, data: Data, results: Results, tell: Tell) -> None:
    runs: dict[tuple[str, str], list[Run]] = {}
    with ExitStack() as up:
        servers = [
            up.enter_context(serving(stack, data.url, data.tokens[0])) for stack in plan.stacks
        ]
        for number in range(plan.rounds):
            for work in plan.works:
                turned = servers[number % len(servers) :] + servers[: number % len(servers)]
                for server in turned:
                    if (server.stack.name, work.name) in results.missing:
                        continue
                    if number == 0:
                        _run(server, work, data, WARM_UP_SECONDS)
                    run = _run(server, work, data, plan.seconds)
                    assert run is not None
                    runs.setdefault((server.stack.name, work.name), []).append(run)
                    tell(
                        f"{number + 1}/{plan.rounds} {work.name} {server.stack.name}:"
                        f" {run.cpu_microseconds:.0f} µs of CPU, {run.outcome.per_second:.0f}/s"
                    )
    for (stack, name), found in runs.items():
        results.figures.setdefault(stack, {})[name] = _medians(found)


def _run(
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
