"""The Makefile: it explains itself, and its errors say what to do."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
COMMANDS = [
    *("up", "test", "check", "lint", "format", "types", "layers"),
    *("test-container", "test-browser", "test-programs", "load", "lock", "clean", "help"),
]
BESIDE = ("begin", "finish")

pytestmark = pytest.mark.timeout(30)


def make(*words: str, cwd: Path = ROOT, **changes: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        [str(shutil.which("make")), *words],
        cwd=cwd,
        env={**inherited, **changes},
        capture_output=True,
        text=True,
        check=False,
    )


def copy(directory: Path) -> Path:
    """A checkout that has nothing but what make reads."""
    for name in ["Makefile", "requirements.lock", "requirements-dev.lock"]:
        shutil.copy(ROOT / name, directory)
    return directory


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_help_lists_every_command_with_a_line_each() -> None:
    lines = make("help").stdout.splitlines()
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE)
    assert [line.split()[1] for line in lines] == targets
    assert set(COMMANDS) <= set(targets)
    assert all(len(line.split(maxsplit=2)[2]) > 10 for line in lines)


def test_make_alone_is_help() -> None:
    assert make().stdout == make("help").stdout


def test_every_public_target_says_what_it_does() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE)
    explained = re.findall(r"^([a-z][a-z-]*):.* ## ", text, re.MULTILINE)
    assert targets == explained


def test_no_python_that_is_new_enough_is_one_line(tmp_path: Path) -> None:
    done = make("up", "PYTHON=/bin/false", cwd=copy(tmp_path))
    first, *rest = done.stderr.splitlines()
    assert done.returncode == 2
    assert re.fullmatch(
        r"Stowage needs Python 3\.11 or newer, and here is .*\. Install one, or say where it is: "
        r"make PYTHON=/path/to/python3\.13",
        first,
    )
    assert all(line.startswith("make") for line in rest)


def test_python_that_makes_no_environment_is_one_line(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python3.13"
    program(python, 'case "$*" in *venv*) echo no ensurepip; exit 1;; esac')
    for name in ["bash", "cmp", "rm", "cp"]:
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    done = make("up", cwd=copy(tmp_path), PATH=str(tmp_path / "bin"), SHELL="/bin/bash")
    assert (
        "python3.13 can't make a virtual environment. On Debian and Ubuntu: apt install"
        in (done.stderr.splitlines()[0])
    )
    assert not (tmp_path / ".venv").exists()


def test_nothing_is_installed_when_nothing_changed(tmp_path: Path) -> None:
    copy(tmp_path)
    program(tmp_path / ".venv" / "bin" / "python", 'echo "$@" >> ran')
    calls = []
    for _ in range(2):
        assert make("up", cwd=tmp_path, PATH="/usr/bin:/bin").returncode == 0
        calls.append((tmp_path / "ran").read_text().splitlines())
        (tmp_path / "ran").unlink()
    install = "-m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock"
    assert calls == [
        ["-c ", install, "-m app.ops.up --port 8000"],
        ["-c ", "-m app.ops.up --port 8000"],
    ]
    (tmp_path / "requirements.lock").write_text("changed==1 --hash=sha256:0\n")
    make("up", "PORT=8001", cwd=tmp_path, PATH="/usr/bin:/bin")
    assert (tmp_path / "ran").read_text().splitlines() == [
        "-c ",
        install,
        "-m app.ops.up --port 8001",
    ]


def test_install_that_failed_is_tried_again(tmp_path: Path) -> None:
    copy(tmp_path)
    program(tmp_path / ".venv" / "bin" / "python", 'case "$*" in *pip*) exit 1;; esac')
    assert make("up", cwd=tmp_path, PATH="/usr/bin:/bin").returncode == 2
    assert not (tmp_path / ".venv" / ".run").exists()


def test_continuous_integration_runs_what_make_check_runs() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"^check: (.*) ##", text, re.MULTILINE)
    assert found
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    ran = re.findall(r"^(?:begin \S+ )?make ([a-z].*)$", script, re.MULTILINE)
    assert sorted(" ".join(ran).split()) == sorted(found.group(1).split())
    # What runs beside the rest is waited for, and its failure is the run's.
    begun, finished = (re.findall(rf"^{word} (\S+)", script, re.MULTILINE) for word in BESIDE)
    assert sorted(begun) == sorted(finished)
