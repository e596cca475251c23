"""Run DRF's own test suite on this project's classes, every dispatch async.

    python -m tests.conformance.drf.run [--stock] [--again] [-k expression] [path ...]

The suite is DRF's, from its source distribution in the version that is installed, fetched with pip
and kept under var/. It is run twice on PostgreSQL: first as it is, which is the reference, then
with `app.rest` in place of `rest_framework` wherever a test imports from it (`substitution.py`).
Every test that passes in the first run must pass in the second, but for those that
`exclusions.toml` lists with a reason; one of these that passes is a failure too, for its reason is
gone.

DATABASE_URL names the server; without it the embedded one of the tests is started.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import rest_framework

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
KEPT = ROOT / "var" / "conformance"
VERSION = "3.18.3"
DIGEST = "446a9b352e7eff630421ab3f2328bd2401b109a9470afa4a31189994911ed030"


class ConformanceError(Exception):
    """The suite can't be run; the message names the remedy."""


def fetch() -> Path:
    """The directory that holds DRF's `tests`, unpacked from its source distribution."""
    if rest_framework.VERSION != VERSION:
        raise ConformanceError(
            f"DRF {rest_framework.VERSION} is installed, and {VERSION} is judged. Record the new "
            f"version and the SHA-256 of its source distribution in {Path(__file__).name}."
        )
    tree = KEPT / f"drf-{VERSION}"
    if not tree.exists():
        archive = KEPT / f"djangorestframework-{VERSION}.tar.gz"
        if not archive.exists():
            KEPT.mkdir(parents=True, exist_ok=True)
            _download()
        _unpack(archive, tree)
    return tree


def _download() -> None:
    command = [_python_with_pip(), "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-binary", ":all:", "-d", KEPT]
    subprocess.run([*command, f"djangorestframework=={VERSION}"], check=True)


def _python_with_pip() -> Path:
    """This interpreter, or one in an environment of its own: uv makes environments without pip."""
    if importlib.util.find_spec("pip") is not None:
        return Path(sys.executable)
    environment = KEPT / "pip"
    if not environment.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    return environment / "bin" / "python"


def _unpack(archive: Path, tree: Path) -> None:
    """The tests alone: the DRF under them is the one that is installed."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != DIGEST:
        archive.unlink()
        raise ConformanceError(f"{archive.name} has SHA-256 {digest}, not {DIGEST}: removed.")
    aside = tree.with_suffix(f".{os.getpid()}")
    prefix = f"djangorestframework-{VERSION}/"
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            name = member.name.removeprefix(prefix)
            if name == "pyproject.toml" or name.startswith("tests/"):
                member.name = name
                tar.extract(member, aside, filter="data")
    aside.rename(tree)


def address() -> str:
    """The server's URL."""
    if "DATABASE_URL" in os.environ:
        return os.environ["DATABASE_URL"]
    from app.ops import embedded

    return embedded.start(ROOT / "var" / "test" / "postgres")


def run(tree: Path, url: str, mode: str, arguments: list[str]) -> dict[str, Any]:
    """One run of the suite; what `reporting.py` wrote of it."""
    report = KEPT / f"{mode}.json"
    report.unlink(missing_ok=True)
    plugins = ["reporting"] + (["substitution"] if mode == "ours" else [])
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--create-db"]
    command += ["-p", "no:randomly", "-p", "no:cacheprovider", "--disable-warnings"]
    for plugin in plugins:
        command += ["-p", plugin]
    environment = {
        **os.environ,
        "CONFORMANCE_REPORT": str(report),
        "DATABASE_URL": url,
        "PYTHONPATH": os.pathsep.join(map(str, [tree, HERE / "plugins", ROOT])),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with (KEPT / f"{mode}.log").open("w") as log:
        subprocess.run(
            [*command, *arguments], cwd=tree, env=environment, stdout=log, check=False, stderr=log
        )
    if not report.exists():
        raise ConformanceError(f"The run ended early; see {KEPT / f'{mode}.log'}.")
    result: dict[str, Any] = json.loads(report.read_text())
    return result


def exclusions() -> dict[str, str]:
    """The tests that are not asked to pass, each with the pattern of the one way it may fail."""
    tables = tomllib.loads((HERE / "exclusions.toml").read_text())["exclusion"]
    assert all(table["reason"].strip() for table in tables), "an exclusion without a reason"
    return {test: table["fails_with"] for table in tables for test in table["tests"]}


def judge(stock: dict[str, Any], ours: dict[str, Any], whole: bool) -> list[str]:
    """Print the comparison; the lines that say what is wrong."""
    listed = exclusions()
    counts: Counter[str] = Counter()
    problems = []
    for test, reference in stock["outcomes"].items():
        outcome = ours["outcomes"].get(test, "missing")
        message = ours["messages"].get(test, "")
        verdict = _verdict(reference, outcome, message, listed.get(test))
        counts[verdict] += 1
        if verdict in WRONG:
            problems.append(f"{verdict}: {test}  {message}")
    if whole:
        gone = set(listed) - set(stock["outcomes"])
        problems += [f"listed, and no test has that name: {test}" for test in sorted(gone)]
        problems += _dispatched_otherwise(stock["counts"], ours["counts"])
    for name, count in [*counts.most_common(), *ours["counts"].items()]:
        print(f"{count:6}  {name}")
    return problems


def _dispatched_otherwise(stock: dict[str, int], ours: dict[str, int]) -> list[str]:
    """Every dispatch that stock DRF makes must be made here, and be awaited."""
    if ours["synchronous dispatches"]:
        return [f"{ours['synchronous dispatches']} dispatches were synchronous"]
    if ours["async dispatches"] < stock["synchronous dispatches"]:
        return [f"stock DRF dispatches {stock['synchronous dispatches']} requests"]
    return []


WRONG = {"failed", "failed otherwise than the list says", "passed, though listed"}


def _verdict(reference: str, outcome: str, message: str, fails_with: str | None) -> str:
    if reference != "passed":
        return f"{reference} on stock DRF too"
    if outcome == "passed":
        return "passed" if fails_with is None else "passed, though listed"
    if fails_with is None:
        return "failed"
    if re.search(fails_with, message) is None:
        return "failed otherwise than the list says"
    return "excluded, with a reason"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stock", action="store_true", help="only the reference run")
    parser.add_argument("--again", action="store_true", help="keep the last reference run")
    options, arguments = parser.parse_known_args()
    try:
        tree, url = fetch(), address()
        kept = KEPT / "stock.json"
        if options.again and kept.exists():
            stock = json.loads(kept.read_text())
        else:
            stock = run(tree, url, "stock", arguments)
        summary = Counter(stock["outcomes"].values())
        print(f"DRF {VERSION}, stock: " + ", ".join(f"{n} {name}" for name, n in summary.items()))
        if options.stock:
            return 0
        print("On app.rest:")
        ours = run(tree, url, "ours", arguments)
        if arguments:
            chosen = ours["outcomes"].keys()
            stock["outcomes"] = {t: o for t, o in stock["outcomes"].items() if t in chosen}
        problems = judge(stock, ours, whole=not arguments)
    except ConformanceError as error:
        print(error, file=sys.stderr)
        return 2
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
