"""The simulated fleet: its programs behave as they say, and a run proves itself against the API."""

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from load.simulation.fleets import OUTAGE_SECONDS, fleet
from load.simulation.programs import DAY, PAGE, Kind, Program, program
from tests.running import ROOT

NOON, MIDNIGHT = 10 * DAY + DAY / 2, 10 * DAY
HOUR = 3600.0


def some(kind: Kind, seed: int = 1) -> Program:
    chance = random.Random(seed)
    return next(one for one in (program(f"p{n}", chance) for n in range(1000)) if one.kind is kind)


def test_same_seed_gives_the_same_fleet() -> None:
    first, second = fleet(3, 5, seed=7), fleet(3, 5, seed=7)
    assert first == second
    assert [list(host.samples(NOON)) for host in first] == [
        list(host.samples(NOON)) for host in second
    ]
    assert fleet(3, 5, seed=8) != first


def test_cpu_of_a_service_follows_the_day_and_its_memory_stays() -> None:
    one = some(Kind.DAILY)
    noon, midnight = one.use(NOON), one.use(MIDNIGHT)
    assert noon.cpu_cores > 3 * midnight.cpu_cores
    assert noon.memory_bytes == pytest.approx(midnight.memory_bytes, rel=0.05)


def test_leak_grows_to_its_limit_and_begins_anew_after_a_kill() -> None:
    one = some(Kind.LEAKY)
    at = next(t for t in range(int(NOON), int(NOON + DAY), 10) if one.lives(t) != one.lives(t - 10))
    assert one.use(at - 10).memory_bytes > 0.98 * one.memory_limit_bytes
    assert one.use(at + OUTAGE_SECONDS).memory_bytes < 0.7 * one.memory_limit_bytes


def test_batch_comes_in_bursts() -> None:
    one = some(Kind.BATCH)
    use = [one.use(NOON + step * one.period_seconds / 100).cpu_cores for step in range(100)]
    assert max(use) > 10 * sorted(use)[50]


def test_few_programs_reserve_most() -> None:
    chance = random.Random(1)
    sizes = sorted((program(str(n), chance).cpu_reservation for n in range(5000)), reverse=True)
    assert sum(sizes[:500]) > 0.4 * sum(sizes)


def test_figures_can_be_summed_exactly_in_any_order() -> None:
    (host,) = fleet(1, 20, seed=1)
    samples = [sample for step in range(100) for _, sample in host.samples(NOON + 10 * step)]
    cpu = [sample["cpu_cores"] for sample in samples]
    assert sum(cpu) == sum(reversed(cpu)) == sum(sorted(cpu))
    assert all(sample["memory_bytes"] % PAGE == 0 for sample in samples)


def test_killed_container_is_reported_exited_once_and_sends_nothing_meanwhile() -> None:
    hosts = fleet(30, 20, seed=1)
    host, one = next((h, p) for h in hosts for p in h.programs if p.kind is Kind.LEAKY)
    at = next(t for t in range(int(NOON), int(NOON + DAY), 10) if one.lives(t) != one.lives(t - 10))
    (container,) = [c for c in host.observation(at)["containers"] if c["name"] == one.name]
    assert (container["state"], container["oom_killed"]) == ("exited", True)
    assert host.engine_id(one, at) not in dict(host.samples(at))
    assert host.engine_id(one, at + HOUR / 60) in dict(host.samples(at + HOUR / 60))


def run(tmp_path: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "load.simulation", "--var", str(tmp_path), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "agree by count and by sum" in done.stdout
    return done.stdout


@pytest.mark.timeout(120)  # a database is made; workers of the API start, and are killed
def test_workers_killed_and_database_restarted_lose_and_double_nothing(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        *("--hosts", "3", "--containers", "5", "--seconds", "10", "--interval", "0.5"),
        *("--workers", "2", "--kill-every", "4", "--restart-database-every", "5"),
        *("--history-hours", "1.2"),
    )
    repeats = re.search(r"(\d+) were repeated", told)
    assert repeats, told
    assert int(repeats[1]) > 0, "nothing was broken, so nothing was shown"
    rolled_up = re.search(r"so do ([\d,]+) samples", told)
    assert rolled_up, told


@pytest.mark.parametrize("argument", ["--hosts=0", "--hosts=100000", "--seconds=-1"])
def test_a_run_is_bounded(argument: str) -> None:
    command = [sys.executable, "-m", "load.simulation", argument]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "write a number from" in done.stderr
