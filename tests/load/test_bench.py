"""The benchmark: two stacks that need no installation, in one short round; its chart."""

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from load.bench import charts
from load.bench.arrivals import moments, send
from load.bench.stacks import STACKS
from load.bench.works import WORKS
from tests.running import ROOT

ONE = {"cpu_microseconds": 100.0}


def test_every_peer_has_a_row_with_the_contract_on() -> None:
    bare = {name for name, stack in STACKS.items() if stack.is_peer and not stack.has_auth}
    assert len(bare) == 7
    assert {f"{name}+auth" for name in bare} <= set(STACKS)
    assert STACKS["stowage"].has_auth


def test_chart_shows_each_stack_with_its_ratio_and_names_what_is_missing() -> None:
    figures = {
        "handwritten": dict.fromkeys(WORKS, ONE),
        "stowage": {name: {"cpu_microseconds": 250.0} for name in WORKS},
        "adrf": {"empty": {"cpu_microseconds": 12_300.0}},
        "adrf+auth": {"empty": {"cpu_microseconds": 20_000.0}},
    }
    drawn = charts.draw({"figures": figures, "machine": "2 × <core>", "commit": "abc"})
    texts = [one.text for one in ElementTree.fromstring(drawn).iter() if one.text]
    assert texts.count("Stowage") == len(WORKS)
    assert texts.count("2.5") == len(WORKS)
    assert texts.count("not measured") == len(WORKS) - 1
    assert "123.0, 200.0" in texts
    assert "2 × <core>; commit abc" in texts


def test_requests_are_due_at_the_rate_whether_even_or_random() -> None:
    assert [round(at, 2) for at in moments(4, 1, is_random=False)] == [0.25, 0.5, 0.75]
    found = list(moments(1000, 10, is_random=True))
    assert found == sorted(found)
    assert abs(len(found) - 10_000) < 300


@pytest.mark.asyncio
async def test_open_loop_counts_the_wait_of_what_was_due_and_names_bare_refusals() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        refused = b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n"
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
        with contextlib.suppress(asyncio.IncompleteReadError):
            while request := await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(0.02)
                writer.write(refused if b"/no" in request else answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        requests = [b"GET /yes HTTP/1.1\r\n\r\n", b"GET /no HTTP/1.1\r\n\r\n"]
        due = moments(200, 0.1, is_random=False)
        came = await send(port, requests, due, 0.1, connections=1)
        await asyncio.sleep(0.05)
    assert came.due == 19
    assert {status: len(found) for status, found in came.latencies.items()} == {200: 10, 503: 9}
    assert came.broken == 0
    assert came.without_retry_after == 9
    # One connection, 20 ms a request, one due every 5 ms: the last waits for all before it.
    assert came.percentile_ms(1.0) > 200
    assert came.per_second() < 100


@pytest.mark.programs
@pytest.mark.timeout(300)  # a database made anew, two servers started twice
def test_benchmark_compares_measures_and_draws(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "load.bench", "--stacks", "handwritten,stowage"]
    command += ["--work", "detail", "--rounds", "1", "--out", str(tmp_path)]
    command += ["--var", str(tmp_path / "var")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": no differences in its answers") == 2
    report = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    assert report["rounds"] == 1
    assert report["differences"] == []
    for works in report["figures"].values():
        assert all(one["failures"] == 0 for one in works.values())
        assert works["detail"]["cpu_microseconds"] > 0
    ElementTree.parse(tmp_path / "benchmark.svg")
    assert "| **Stowage, its contract on** |" in (tmp_path / "benchmark.md").read_text()
