"""`manage.py startresource` in a copy of the project: what it writes passes `make check`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import copies
from tests.docs.snippets import snippets
from tests.running import ROOT

pytestmark = [
    pytest.mark.programs,
    pytest.mark.timeout(180),  # a copy of the project, and its checks in processes
]

# Every kind of field, and relations to a model with relations of its own.
FIELDS = [
    *("name:char:100:unique", "lifts_tonnes:positive", "load:float", "number:int", "big:bigint"),
    *("host:fk:fleet.Host:optional", "member:fk:accounts.Membership", "is_mobile:bool"),
    *("built_on:date:optional", "seen_at:datetime", "opens:time", "rest:duration"),
    *("price:decimal:8:3", "mail:email:optional", "address:ip", "home:url", "tags:json"),
    *("code:slug", "note:text:optional", "serial:uuid:unique"),
]

MADE = ["app/tow_boats", "tests/tow_boats", "app/urls.py", "settings/base.py"]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    copies.make(tmp_path)
    if (ROOT / ".mypy_cache").exists():
        shutil.copytree(ROOT / ".mypy_cache", tmp_path / ".mypy_cache")
    return tmp_path


@pytest.fixture
def run(copy: Path) -> Run:
    environment = {**os.environ, "DATABASE_URL": copies.database("startresource")}
    del environment["DJANGO_SETTINGS_MODULE"]

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, *command) if command[0].endswith(".py") else command
        return subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False
        )

    return run


def test_resource_passes_every_check_of_the_project(copy: Path, run: Run) -> None:
    done = run("manage.py", "startresource", "tow_boat", *FIELDS)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in ("models", "serializers", "views", "urls", "migrations/0001_initial"):
        assert f"write  app/tow_boats/{path}.py" in done.stdout
        assert (copy / "app" / "tow_boats" / f"{path}.py").exists()
    tools = Path(sys.executable).parent
    for command in (
        ("manage.py", "makemigrations", "--check", "--dry-run"),
        (f"{tools}/ruff", "check", *MADE),
        (f"{tools}/ruff", "format", "--check", *MADE),
        (f"{tools}/lint-imports",),
        (f"{tools}/mypy",),
        (f"{tools}/pytest", "-q", "tests/tow_boats", "tests/openapi/test_schema.py"),
    ):
        done = run(*command)
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    tests = done.stdout.splitlines()[-1]
    assert int(tests.split()[0]) > 25, tests


def test_dry_run_of_what_the_readme_shows_writes_nothing(copy: Path, run: Run) -> None:
    commands = [command for snippet in snippets("README.md") for command in snippet.commands]
    (shown,) = [command.split()[1:] for command in commands if "startresource" in command]
    before = set(copy.rglob("*.py"))
    done = run(*shown, "--dry-run")
    assert "write  app/berths/models.py" in done.stdout
    assert set(copy.rglob("*.py")) == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["boat", "name:string"], "name: Say of what kind it is"),
        (["fleet", "name:char", "--plural", "fleet"], "--plural: It must differ"),
        (["vessel", "name:char", "--plural", "fleet"], "app/fleet/__init__.py exists"),
    ],
)
def test_refusal_is_one_line_and_nothing_is_written(
    copy: Path, run: Run, arguments: list[str], text: str
) -> None:
    before = (copy / "app/urls.py").read_text()
    done = run("manage.py", "startresource", *arguments)
    assert done.returncode == 1
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (copy / "app/urls.py").read_text() == before


def test_project_without_a_place_for_it_is_told_so(copy: Path, run: Run) -> None:
    urls = copy / "app/urls.py"
    urls.write_text(urls.read_text().replace("ROUTERS = [", "routers = ["))
    done = run("manage.py", "startresource", "boat", "name:char", "--dry-run")
    assert "Found no place for app.boats in app/urls.py" in done.stderr
