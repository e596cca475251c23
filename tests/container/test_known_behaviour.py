"""Containers whose behaviour is known, on a real engine: the reports say what is true of them."""

import json
import secrets
from collections.abc import Iterator
from functools import partial
from statistics import mean
from typing import Any

import pytest

from tests.container.stacks import Stack, run, wait_for

MIB = 2**20
IMAGE = "python:3.13-slim-trixie"
RUN = secrets.token_hex(3)

HOLD = "import time; held = bytearray(64 * 2**20); time.sleep(600)"
BURSTS = """
import time
while True:
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    time.sleep(0.7)
"""
LEAK = """
import time
time.sleep(12)
held = []
while True:
    held.append(bytearray(4 * 2**20))
    time.sleep(0.25)
"""

# What each runs, and how it is started.
PROGRAMS = {
    "steady": (HOLD, ["--memory=128m", "--memory-reservation=96m"]),
    "bursty": (BURSTS, ["--memory=64m"]),
    "unlimited": (HOLD, []),
    "leaking": (
        LEAK,
        ["--memory=64m", "--memory-swap=64m", f"--label=stowage.workload=leak-{RUN}"],
    ),
}


@pytest.fixture(scope="module")
def known(stack: Stack) -> Iterator[dict[str, int]]:
    """The containers, by what they do: their ids at the API, after some time of reports."""
    with stack.client() as client:
        made = client.post(
            "/api/v1/workloads/",
            json={
                "name": f"leak-{RUN}",
                "image": IMAGE,
                "memory_limit_bytes": 64 * MIB,
                "memory_reservation_bytes": 32 * MIB,
            },
        )
    assert made.status_code == 201, made.text
    names = {what: f"{what}-{RUN}" for what in PROGRAMS}
    for what, (program, options) in PROGRAMS.items():
        words = "docker", "run", "--detach", "--name", names[what], *options, IMAGE
        run(*words, "python", "-c", program)
    try:
        wait_for(lambda: inspected(names["leaking"])["OOMKilled"], 60)
        yield {what: wait_for(partial(found, stack, name), 30) for what, name in names.items()}
    finally:
        run("docker", "rm", "--force", "--volumes", *names.values())


def inspected(name: str) -> dict[str, Any]:
    (one,) = json.loads(run("docker", "inspect", name))
    state: dict[str, Any] = one["State"]
    return state


def asked(stack: Stack, path: str, **query: Any) -> Any:
    with stack.client() as client:
        answer = client.get(f"/api/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def found(stack: Stack, name: str) -> int | None:
    """Its id, once ten samples of it are stored."""
    (one,) = asked(stack, "containers/", search=name)["results"] or [None]
    if one is None or len(asked(stack, f"containers/{one['id']}/usage/")["results"]) < 10:
        return None
    number: int = one["id"]
    return number


def usage(stack: Stack, container: int, field: str) -> list[float]:
    """All of the field's samples, the first two apart, when the program was starting."""
    results = asked(stack, f"containers/{container}/usage/", page_size=500)["results"]
    return [one[field] for one in results[:-2]]


def counted(stack: Stack, container: int) -> dict[str, Any]:
    """What the density report counts the container with."""
    report = asked(stack, "reports/density/", detail="containers")
    (one,) = [c for host in report["hosts"] for c in host["containers"] if c["id"] == container]
    return dict(one)


def test_memory_of_a_program_that_holds_64_mib_is_that_and_its_interpreter(
    stack: Stack, known: dict[str, int]
) -> None:
    memory = usage(stack, known["steady"], "memory_bytes")
    assert 64 * MIB <= min(memory) <= max(memory) < 80 * MIB
    assert max(usage(stack, known["steady"], "cpu_cores")) < 0.1


def test_cpu_of_a_program_that_burns_three_tenths_is_about_that(
    stack: Stack, known: dict[str, int]
) -> None:
    # It burns 0.3 s of cpu and sleeps 0.7 s; on a busy machine its burning takes longer.
    cpu = mean(usage(stack, known["bursty"], "cpu_cores"))
    assert 0.1 < cpu < 0.4


def test_report_counts_reservation_and_limit_as_docker_has_them(
    stack: Stack, known: dict[str, int]
) -> None:
    one = counted(stack, known["steady"])
    memory = one["memory"]
    assert (memory["reservation"], memory["limit"]) == (96 * MIB, 128 * MIB)
    assert 64 * MIB <= memory["use"] < 80 * MIB
    assert "unlimited:memory" not in one["flags"]


def test_container_without_a_limit_is_flagged_and_counts_with_what_it_uses(
    stack: Stack, known: dict[str, int]
) -> None:
    one = counted(stack, known["unlimited"])
    assert {"unlimited:memory", "unreserved:memory"} <= set(one["flags"])
    assert one["memory"]["reservation"] >= 64 * MIB
    assert one["memory"]["limit"] >= 64 * MIB


def test_leak_that_was_killed_is_on_record_and_raises_its_limit_at_once(
    stack: Stack, known: dict[str, int]
) -> None:
    one = asked(stack, f"containers/{known['leaking']}/")
    assert (one["state"], one["exit_code"], one["oom_killed"]) == ("exited", 137, True)
    (advice,) = [
        result
        for result in asked(stack, "reports/rightsizing/", page_size=200)["results"]
        if result["name"] == f"leak-{RUN}"
    ]
    memory = advice["memory"]
    assert (advice["state"], memory["reason"]) == ("raise", "oom_killed")
    assert memory["recommended"]["limit"] >= 64 * MIB * 1.25
    assert memory["recommended"]["reservation"] >= 60 * MIB


def test_kill_is_an_event(stack: Stack, known: dict[str, int]) -> None:
    events = asked(
        stack, "events/", object_type="container", object_id=known["leaking"], page_size=100
    )["results"]
    ends = [event["data"] for event in events if event["data"].get("oom_killed")]
    assert [(end["state"], end["exit_code"]) for end in ends] == [("exited", 137)]


def test_what_has_hardly_a_history_is_told_so_and_nothing_is_guessed(
    stack: Stack, known: dict[str, int]
) -> None:
    results = asked(stack, "reports/rightsizing/", by="container", page_size=200)["results"]
    (steady,) = [one for one in results if one["id"] == known["steady"]]
    assert steady["state"] == "insufficient"
    assert steady["memory"]["reason"] in {"too_few_samples", "too_short"}
