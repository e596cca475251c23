"""Bytecode of libraries without their docstrings (`app.ops.bytecode`)."""

import importlib
import subprocess
import sys

import pytest

from app.ops import bytecode
from settings import env
from tests.running import ROOT

SOURCE = '''"""A module."""
from __future__ import annotations

class Read:
    """Nothing else."""

    def lines(self) -> list[str]:
        """Words of it."""
        return ["a"]

async def nothing():
    """Only said."""

def refuse(number):
    "Asserts."
    assert number > 0, "not said"
    return f"""{number}"""
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A new module's source, and a way to import it from its bytecode."""
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "bytecode"))
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "read_by_nobody.py"
    source.write_text(SOURCE)
    yield source
    sys.modules.pop("read_by_nobody", None)


def test_docstrings_are_left_out_and_nothing_else(module):
    assert bytecode.write(module)

    imported = importlib.import_module("read_by_nobody")

    assert imported.__doc__ is None
    assert imported.Read.__doc__ is None
    assert imported.Read.lines.__doc__ is None
    assert imported.nothing.__doc__ is None
    assert imported.Read().lines() == ["a"]
    assert imported.refuse(1) == "1"
    with pytest.raises(AssertionError, match="not said"):
        imported.refuse(0)
    assert imported.refuse.__code__.co_firstlineno == 14
    assert imported.refuse.__code__.co_filename == str(module)


def test_what_is_there_already_is_not_written_again(module):
    assert bytecode.write(module)
    assert not bytecode.write(module)
    module.write_text(SOURCE + "more = 1\n")
    assert bytecode.write(module)
    assert importlib.import_module("read_by_nobody").more == 1


def test_what_is_no_python_is_left_as_it_is(module, tmp_path):
    module.write_text("{{ name }} = 1\n")
    assert not bytecode.write(module)
    assert not (tmp_path / "bytecode").exists()


def test_a_directory_that_is_none_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        bytecode.main([str(tmp_path / "none")])
    assert f"{tmp_path / 'none'} is not a directory" in capsys.readouterr().err


LOOK = """
import django.utils.timezone, email.policy, app.ops.bytecode as ours
print(*(bool(of.__doc__) for of in (django.utils.timezone.now, email.policy.EmailPolicy, ours)))
"""


@pytest.mark.programs
@pytest.mark.timeout(90)
def test_a_worker_from_it_says_the_same_of_its_api(tmp_path):
    """Stowage's own docstrings are there, which the OpenAPI document is made of; libraries' aren't,
    and make do without each other's.
    """
    variables = env.inherited(
        DJANGO_SETTINGS_MODULE="settings.test",
        PYTHONPYCACHEPREFIX=str(tmp_path / "bytecode"),
        PYTHONPATH=str(ROOT),
        DATABASE_URL="postgresql:///unused",
    )

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT, env=variables, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    names = "asgi,app.urls,drf_spectacular,email.policy"
    said = run("-m", "app.ops.bytecode", "--imported-by", names)
    assert "modules compiled without their docstrings" in said
    said = run("-c", LOOK).split()
    assert said == ["False", "False", "True"]
    written = tmp_path / "openapi.yaml"
    run("manage.py", "spectacular", "--file", str(written))
    assert written.read_text() == (ROOT / "docs" / "openapi.yaml").read_text()
