"""The simulated fleet: its programs behave as they say, and a run proves itself against the API."""

import json
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from load.simulation.agents import Agents
from load.simulation.fleets import DEPLOY_SECONDS, OUTAGE_SECONDS, fleet
from load.simulation.programs import DAY, PAGE, Kind, Program, program
from tests.running import ROOT

NOON, MIDNIGHT = 10 * DAY + DAY / 2, 10 * DAY
HOUR = 3600.0
STEP = 20.0  # shorter than a killed container stands still


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


class Recorder(Agents):
    """Agents whose requests are kept in place of being sent: what an API would be sent."""

    def __init__(self) -> None:
        super().__init__(None, [])  # type: ignore[arg-type]
        self.samples: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
        self.listed: list[dict[str, Any]] = []

    async def _post(self, path: str, body: str, media_type: str = "application/json") -> Any:
        if path == "hosts/observe/":
            observation = json.loads(body)
            self.listed.append(observation)
            return {"containers": {one["engine_id"]: one["engine_id"]
                                   for one in observation["containers"]}}  # fmt: skip
        lines = [json.loads(line) for line in body.splitlines()]
        for line in lines:
            at = datetime.fromisoformat(line["at"]).timestamp()
            row = (at, line["cpu_cores"], line["memory_bytes"])
            self.samples[line["container"]].append(row)
        return {"stored": len(lines), "duplicates": 0}


@pytest.mark.asyncio
@pytest.mark.blocks("A day of samples is computed at once.")
@pytest.mark.timeout(40)
async def test_a_day_of_what_is_sent_shows_every_phenomenon() -> None:
    """In the bodies of the requests, not in the functions behind them: the day, bursts, leaks,
    deploys and kills for memory."""
    hosts = fleet(1, 20, seed=4)
    programs = {one.name: one for host in hosts for one in host.programs}
    assert {one.kind for one in programs.values()} == set(Kind)

    async def moments() -> AsyncIterator[float]:
        for step in range(int(DAY // STEP)):
            yield MIDNIGHT + STEP * step

    recorder = Recorder()
    await recorder.report(hosts, moments)
    series: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    for engine_id, rows in recorder.samples.items():
        series[engine_id.split("/")[1]] += rows
    deploys = DAY / DEPLOY_SECONDS
    ids = Counter(engine_id.split("/")[1] for engine_id in recorder.samples)
    for name, rows in series.items():
        one = programs[name]
        rows.sort()
        cpu = [row[1] for row in rows]
        memory = [row[2] for row in rows]
        assert deploys <= ids[name] <= deploys + 1, "each deploy is a container of its own"
        if one.kind is not Kind.LEAKY and max(cpu) < 8 / 1024:
            continue  # too little to tell steps of 1/1024 core apart
        if one.kind is Kind.DAILY:
            noon = mean(row[1] for row in rows if abs(row[0] - NOON) < HOUR)
            night = mean(row[1] for row in rows if row[0] - MIDNIGHT < HOUR)
            assert noon > 2.5 * night
        elif one.kind is Kind.STEADY:
            assert max(cpu) < 1.25 * min(cpu) + 2 / 1024
            assert max(memory) < 1.1 * min(memory)
        elif one.kind is Kind.BATCH:
            busy = [value > max(cpu) / 2 for value in cpu]
            assert 0.1 < mean(busy) < 0.3
            starts = sum(now and not before for before, now in pairwise(busy))
            assert starts == pytest.approx(DAY / one.period_seconds, abs=2)
        else:
            peaks = sum(low < high / 1.5 for high, low in pairwise(memory))
            assert peaks == pytest.approx(DAY / one.period_seconds, abs=2)
            rises = [low <= high * 1.02 for low, high in pairwise(memory)]
            assert mean(rises) > 0.9
    killed = Counter(
        one["name"]
        for observation in recorder.listed
        for one in observation["containers"]
        if one["oom_killed"] and one["state"] == "exited"
    )
    leaky = {name: one for name, one in programs.items() if one.kind is Kind.LEAKY}
    assert killed.keys() == leaky.keys()
    for name, count in killed.items():
        assert count == pytest.approx(DAY / leaky[name].period_seconds, abs=1)


def run(tmp_path: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "load.simulation", "--var", str(tmp_path), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "agree by count and by sum" in done.stdout
    return done.stdout


@pytest.mark.programs
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
