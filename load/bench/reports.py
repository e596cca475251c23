"""The result as a table for people and as JSON for programs."""

import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from load.bench.measures import Plan, Results
from load.bench.stacks import PEERS_PYTHON, ROOT, STACKS

REFERENCE = "handwritten"
OWN = ("django", "djangorestframework", "adrf", "asyncpg", "orjson", "uvicorn", "uvloop")
PEERS = (
    *("fastapi", "pydantic", "sqlalchemy", "litestar", "msgspec", "django-ninja"),
    *("django-modern-rest", "djangorestframework", "adrf", "gunicorn", "uvicorn", "django"),
)


def describe_run(plan: Plan, results: Results) -> dict[str, Any]:
    """The machine, the versions, the commit, and how it was measured."""
    has_peers = any(stack.is_peer for stack in plan.stacks)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": _machine(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in OWN},
        "peers": _peers_versions() if has_peers else {},
        "rounds": results.rounds,
        "seconds": plan.seconds,
    }


def write_json(path: Path, plan: Plan, results: Results) -> dict[str, Any]:
    """The report, as it was written."""
    report = {**describe_run(plan, results), **results.as_dict()}
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def render(plan: Plan, results: Results) -> str:
    """Markdown: CPU time with its ratio to the reference, then the rest."""
    about = describe_run(plan, results)
    lines = [
        f"{about['machine']}; Python {about['python']}; commit {about['commit']};"
        f" {results.rounds} rounds of {plan.seconds:g} s.",
        "",
        "CPU time of the server per request in µs, and as a multiple of the handler by hand:",
        "",
        *_cpu_table(plan, results),
        "",
        "Requests per second, and the 50th and 99th percentile of their latency in ms:",
        "",
        *_speed_table(plan, results),
        "",
        "Memory (PSS of all processes) in MiB, and seconds from start to the first answer:",
        "",
        *_footprint_table(plan, results),
    ]
    return "\n".join(lines)


def _cpu_table(plan: Plan, results: Results) -> Iterator[str]:
    yield from _head(["stack", *(work.name for work in plan.works)])
    for stack in plan.stacks:
        cells = []
        for work in plan.works:
            one = results.figures[stack.name].get(work.name)
            if one is None:
                cells.append("–")
                continue
            mine = one.cpu_microseconds
            base = results.figures.get(REFERENCE, {}).get(work.name)
            ratio = f" ({mine / base.cpu_microseconds:.2f} ×)" if base else ""
            cells.append(f"{mine:,.0f}{ratio}")
        yield _row([_name(stack.name), *cells])


def _speed_table(plan: Plan, results: Results) -> Iterator[str]:
    yield from _head(["stack", *(work.name for work in plan.works)])
    for stack in plan.stacks:
        cells = []
        for work in plan.works:
            one = results.figures[stack.name].get(work.name)
            cells.append(
                f"{one.per_second:,.0f} ({one.p50_ms:.1f}, {one.p99_ms:.1f})" if one else "–"
            )
        yield _row([_name(stack.name), *cells])


def _footprint_table(plan: Plan, results: Results) -> Iterator[str]:
    yield from _head(["stack", "idle", "under load", "first answer"])
    for stack in plan.stacks:
        one = results.footprints[stack.name]
        yield _row(
            [
                _name(stack.name),
                f"{one.idle_bytes / 2**20:.0f}",
                f"{one.loaded_bytes / 2**20:.0f}",
                f"{one.first_answer_seconds:.2f}",
            ]
        )


def _name(name: str) -> str:
    return f"**{STACKS[name].title}**" if name == "stowage" else STACKS[name].title


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), "|" + "---|" * len(cells)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 - whichever git is there
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _machine() -> str:
    model, memory = platform.processor() or platform.machine(), ""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemTotal:"):
            memory = f", {int(line.split()[1]) / 2**20:.0f} GiB"
    count = sum(
        line.startswith("processor")
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    )
    return f"{count} × {model}{memory}, Linux {platform.release()}"


def _peers_versions() -> dict[str, str]:
    script = (
        "import importlib.metadata, json, sys;"
        "print(json.dumps({n: importlib.metadata.version(n) for n in sys.argv[1:]}))"
    )
    done = subprocess.run(
        [str(PEERS_PYTHON), "-c", script, *PEERS], capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found
