"""Load runs: bounded, on this machine alone, against the real thing."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.ops import embedded
from load.__main__ import find_problem
from load.bench import memory
from tests.running import ROOT, free_port, running


def run_module(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=90
    )


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"users": 0}, "--users 0: write a number from 1 to 1000."),
        ({"users": 1001}, "--users 1001: write a number from 1 to 1000."),
        ({"seconds": 601}, "--seconds 601: write a number from 1 to 600."),
        ({"url": "http://192.0.2.1:8000"}, "load runs stay on this machine"),
        ({"url": "http://example.org"}, "load runs stay on this machine"),
        ({}, "Start Stowage first: make up."),
    ],
)
def test_what_hinders_a_load_run_is_said_in_one_line(
    changes: dict[str, object], remedy: str
) -> None:
    options = {"url": f"http://127.0.0.1:{free_port()}", "users": 5, "seconds": 2, **changes}
    problem = find_problem(argparse.Namespace(**options))
    assert problem
    assert remedy in problem
    assert "\n" not in problem


@pytest.mark.programs
@pytest.mark.timeout(120)  # starts all of Stowage, and loads it for some seconds
def test_every_kind_of_user_is_served_without_a_failure(tmp_path: Path) -> None:
    with running(tmp_path, AGENT_SOURCE="processes") as run:
        address = embedded.address(run.var / "postgres")
        done = run_module(
            *("load", "--url", run.url, "--users", "10", "--seconds", "5"), DATABASE_URL=address
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No failures." in done.stdout
    for request in ("POST /api/v1/usage/", "GET /api/v1/reports/density/", "PATCH /api/v1/workl"):
        row = re.search(rf"^{re.escape(request)}.*$", done.stdout, re.MULTILINE)
        assert row, f"no {request} in:\n{done.stdout}"
        assert int(row.group().split()[-6]) > 0


@pytest.mark.programs
@pytest.mark.timeout(60)  # a scratch database is made and filled
def test_density_is_measured_on_a_fleet_of_its_own() -> None:
    done = run_module("load.density", "--hosts", "3", "--containers", "2", "--minutes", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "?format=svg" in done.stdout


@pytest.mark.programs
@pytest.mark.timeout(120)  # two scratch databases are made and filled, one after the other
def test_little_and_much_are_asked_the_same() -> None:
    sizes = ("--rolled-up", "300000", "--little", "1000", "--much", "3000", "--containers", "600")
    done = run_module("load.scale", *sizes, "--plans")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7,200 roll-ups of 2,592,000 samples" in done.stdout
    for line in (
        "1,000 samples of",
        "3,000 samples of",
        "30 days of one workload",
        "Execution Time",
    ):
        assert line in done.stdout
    refused = run_module("load.scale", "--much", "1")
    assert refused.returncode == 2


@pytest.mark.programs
@pytest.mark.timeout(60)  # a database and a worker are started
def test_what_is_ingested_is_stored_by_count_and_sum() -> None:
    done = run_module("load.ingest", "--hosts", "20", "--containers", "3", "--seconds", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Stored: 60 samples, as sent" in done.stdout


@pytest.mark.parametrize("form", ["json", "ndjson"])
@pytest.mark.programs  # a database and a worker are started
@pytest.mark.timeout(60)
def test_peak_of_ingest_is_measured_and_stored(form: str) -> None:
    done = run_module(
        *("load.ingest", "--peak", "--form", form, "--containers", "200", "--seconds", "1")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f" samples as {form}: " in done.stdout
    assert "000 samples, as sent" in done.stdout


def test_repack_plans_are_measured_on_a_small_fleet() -> None:
    done = run_module("load.repack", "--quick", "--hosts", "6", "--containers", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"at most +[\d,]+ moves: .*free +\d+ hosts", done.stdout)) == 24


def test_slope_of_memory_is_that_of_the_second_half() -> None:
    course = memory.Course("any", [0, 10, 20, 30], [5, 90, 100, 120])
    assert course.slope == 2.0
    assert memory.slope([1, 1], [3, 4]) == 0.0


@pytest.mark.programs  # a database and a worker are started
@pytest.mark.timeout(90)
def test_large_questions_are_timed_over_http() -> None:
    sizes = ("--rolled-up", "300000", "--hosts", "3", "--containers", "4", "--minutes", "1")
    done = run_module("load.answers", *sizes)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7,200 roll-ups of 2,592,000 samples" in done.stdout
    for line in ("30 days of one workload, svg", "right-sizing by container", "repack, 5000 moves"):
        assert line in done.stdout
