"""The supervisor: what it does when children say, do and end as they please."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from app.ops.leftovers import Leftovers
from app.ops.supervisor import Child, ChildError, Supervisor, describe_ending

pytestmark = pytest.mark.timeout(30)


def child(script: str, **options: object) -> Child:
    command = [sys.executable, "-c", script]
    return Child("child", command, dict(os.environ), first_pause_seconds=0.01, **options)  # type: ignore[arg-type]


async def run_for(seconds: float, *children: Child) -> None:
    supervisor = Supervisor()
    for one in children:
        supervisor.start(one)
    asyncio.get_running_loop().call_later(seconds, supervisor.stopping.set)
    await supervisor.run()


def test_lines_of_a_child_have_its_name(capfd) -> None:
    asyncio.run(run_for(0.5, child("print('hello', flush=True); import time; time.sleep(60)")))
    assert capfd.readouterr().out == "child | hello\n"


def test_child_that_keeps_dying_ends_the_run_with_its_last_words(capfd) -> None:
    with pytest.raises(ChildError) as raised:
        asyncio.run(run_for(20, child("import sys; print('no such thing'); sys.exit(3)")))
    said = str(raised.value)
    assert said.startswith(
        "The child ended with status 3, 4 times in a row. Mend what it says last"
    )
    assert said.endswith("no such thing")
    assert capfd.readouterr().out.count("starting it again") == 3


def test_line_without_an_end_breaks_nothing(capfd) -> None:
    script = "import sys, time; print('x' * 3_000_000); print('after', flush=True); time.sleep(60)"
    asyncio.run(run_for(1.5, child(script)))
    assert capfd.readouterr().out.splitlines()[-1] == "child | after"


def test_child_that_ignores_the_signal_is_killed(capfd) -> None:
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    begun = time.monotonic()
    asyncio.run(run_for(0.5, child(script, stop_seconds=0.3)))
    assert time.monotonic() - begun < 5
    assert "did not stop within 0.3 seconds; killed" in capfd.readouterr().out


def test_child_that_talks_while_it_stops_is_heard_to_the_end(capfd) -> None:
    script = (
        "import signal, sys, time\n"
        "def stop(*_):\n    print('y' * 200_000)\n    print('done', flush=True)\n    sys.exit(0)\n"
        "signal.signal(15, stop)\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    asyncio.run(run_for(0.5, child(script)))
    assert capfd.readouterr().out.splitlines()[-1] == "child | done"


def test_children_are_stopped_in_reverse_order(capfd) -> None:
    script = (
        "import signal, sys, time\n"
        "signal.signal(15, lambda *_: (print('bye', flush=True), sys.exit(0)))\ntime.sleep(60)"
    )
    first, second = child(script), child(script)
    first.name, second.name = "first", "second"
    asyncio.run(run_for(0.7, first, second))
    assert capfd.readouterr().out == "second| bye\nfirst | bye\n"


def test_work_that_fails_ends_the_run_and_stops_the_children() -> None:
    async def fail() -> None:
        await asyncio.sleep(0.3)
        raise ValueError("broken")

    async def run(one: Child) -> None:
        supervisor = Supervisor()
        supervisor.start(one)
        supervisor.look_after(fail())
        await supervisor.run()

    one = child("import time; time.sleep(60)")
    with pytest.raises(ValueError, match="broken"):
        asyncio.run(run(one))
    assert one.process
    assert one.process.returncode == -signal.SIGTERM


def test_ending_is_told_in_words() -> None:
    assert describe_ending(3) == "with status 3"
    assert describe_ending(-9) == "by SIGKILL"


# What a killed run leaves


def test_leftovers_are_stopped_by_the_next_run(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    Leftovers(tmp_path / "file").note(process.pid)
    assert Leftovers(tmp_path / "file").stop() == 1
    assert process.wait(5) is not None
    assert Leftovers(tmp_path / "file").stop() == 0


def test_process_that_took_over_a_number_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        began_at = psutil.Process(process.pid).create_time() - 1
        (tmp_path / "file").write_text(f'[{{"pid": {process.pid}, "began_at": {began_at}}}]')
        assert Leftovers(tmp_path / "file").stop() == 0
        assert process.poll() is None
        process.kill()


@pytest.mark.parametrize("content", ["", "[{", "null"])
def test_note_that_was_cut_short_is_no_obstacle(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    assert Leftovers(tmp_path / "file").stop() == 0
