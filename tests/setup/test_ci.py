"""`.ci/run` with programs in the place of make and Docker that note how they were called."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ["make", "docker", "apt-get", "curl", "chromium", "pgbouncer", "redis-server", "wrk"]

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    for name in PROGRAMS:
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f"#!/bin/sh\necho {name} $* >> {tmp_path}/calls\necho said by {name} $*\n"
            f'case "$*" in *"$FAILING"*) sleep 0.3; echo this is why; exit 7;; esac\n'
            f'case "$*" in *"$HANGING"*) echo $$ > {tmp_path}/hanging; sleep 60;; esac\n'
        )
        program.chmod(0o755)
    return tmp_path


def run(
    checkout: Path, failing: str = "nothing", hanging: str = "nothing"
) -> subprocess.CompletedProcess[str]:
    path = f"{checkout / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "FAILING": failing, "HANGING": hanging}
    environment.pop("IS_BOUNDED", None)
    return subprocess.run(
        ["bash", ".ci/run"],
        cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=25,
    )  # fmt: skip


def test_all_is_run_and_what_ran_beside_is_shown_in_its_place(checkout: Path) -> None:
    done = run(checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [line for line in done.stdout.splitlines() if line.startswith("said by make")]
    assert [step.removeprefix("said by make ") for step in steps] == [
        *(
            "test",
            "lint types layers",
            "test-adversity",
            "test-browser",
            "test-programs",
            "conformance",
        ),
        "test-container",
    ]
    assert "== All passed" in done.stdout
    calls = (checkout / "calls").read_text().splitlines()
    assert calls.index("make conformance") < calls.index("make test-container")


@pytest.mark.parametrize("failing", ["build", "test-programs", "conformance"])
def test_failure_of_any_part_is_that_of_the_run_and_is_shown(checkout: Path, failing: str) -> None:
    done = run(checkout, failing)
    assert done.returncode == 7
    assert "this is why" in done.stdout
    assert "test-container" not in (checkout / "calls").read_text()


def test_what_runs_beside_ends_with_a_run_that_failed(checkout: Path) -> None:
    assert run(checkout, failing="test-programs", hanging="conformance").returncode == 7
    number = int((checkout / "hanging").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
