"""Stowage and its peers at the same work, in one run on one machine.

    python -m load.bench                all stacks and all work, in 12 minutes
    python -m load.bench --minutes 5    fewer rounds
    python -m load.bench --check        compares the answers, measures nothing
    python -m load.bench --stacks handwritten,stowage --work empty,detail,list

Starts everything that it needs on loopback, and stops it. Keeps what it makes in var/bench/: the
table (benchmark.md), its figures (benchmark.json), and the chart (benchmark.svg). `--out docs`
keeps figures and chart for the documentation. The peers are installed first, once; the minutes are
those of the measuring.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from app.ops import embedded
from load.bench import charts, data, reports
from load.bench.environments import EnvironmentSetupError, install_peers
from load.bench.generators import MISSING, is_installed
from load.bench.measures import Plan, Results, take_turns, visit_each
from load.bench.servers import ServerError
from load.bench.stacks import ROOT, STACKS
from load.bench.works import WORKS


def main() -> int:
    options = read_options()
    if not is_installed():
        print(MISSING, file=sys.stderr)
        return 2
    try:
        return run(options)
    except (ServerError, EnvironmentSetupError, embedded.EmbeddedError, data.BusyError) as error:
        print(error, file=sys.stderr)
        return 1


def run(options: argparse.Namespace) -> int:
    plan = Plan(options.stacks, options.work, options.rounds, options.seconds, options.minutes)
    if any(stack.is_peer for stack in plan.stacks):
        install_peers()
    started_at = time.monotonic()

    def tell(line: str) -> None:
        print(f"[{time.monotonic() - started_at:5.0f} s] {line}", flush=True)

    results = Results()
    with data.prepared(options.var.resolve()) as prepared:
        visit_each(plan, prepared, results, tell, loads=not options.check)
        if not options.check:
            take_turns(plan, prepared, results, tell, started_at + plan.minutes * 60)
            keep(plan, results, options.out.resolve())
    problems = [*results.differences, *find_failures(results)]
    for line in problems:
        print(line, file=sys.stderr)
    return 1 if problems else 0


def keep(plan: Plan, results: Results, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    table = reports.render(plan, results)
    report = reports.write_json(directory / "benchmark.json", plan, results)
    (directory / "benchmark.svg").write_text(charts.draw(report), encoding="utf-8")
    if directory.name != "docs":
        (directory / "benchmark.md").write_text(table + "\n", encoding="utf-8")
    print(f"\n{table}\n\nKept in {directory}.")


def find_failures(results: Results) -> list[str]:
    return [
        f"{stack} {work}: {one.failures} requests failed."
        for stack, works in results.figures.items()
        for work, one in works.items()
        if one.failures
    ]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    parser.add_argument("--check", action="store_true", help="compare the answers, no more")
    parser.add_argument("--stacks", type=_chosen(STACKS), default=list(STACKS.values()))
    parser.add_argument("--work", type=_chosen(WORKS), default=list(WORKS.values()))
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured at most")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long one run lasts")
    parser.add_argument("--minutes", type=float, default=12.0, help="when no further round begins")
    parser.add_argument("--var", type=Path, default=ROOT / "var" / "bench", help="its database")
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "bench", help="what it makes")
    options = parser.parse_args()
    if options.rounds < 1 or not 1 <= options.seconds <= 60 or not 0 < options.minutes <= 120:
        parser.error("--rounds: 1 or more; --seconds: 1 to 60; --minutes: up to 120")
    return options


def _chosen(known: dict[str, Any]) -> Any:
    def read(text: str) -> list[Any]:
        unknown = set(text.split(",")) - set(known)
        if unknown:
            raise argparse.ArgumentTypeError(
                f"{', '.join(sorted(unknown))} is unknown. Known are: {', '.join(known)}."
            )
        return [known[name] for name in text.split(",")]

    return read


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    sys.exit(main())
