"""A pytest plugin, loaded before any settings are read: every test runs on a real PostgreSQL.

The one that DATABASE_URL names, or the embedded one, kept under var/test/ so that the next run is
quick.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from app.ops import embedded

VAR = Path(__file__).resolve().parent.parent / "var"

if "DATABASE_URL" not in os.environ:
    os.environ["DATABASE_URL"] = embedded.start(VAR / "test" / "postgres")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give this run a directory for temporary files that no other run of pytest touches.

    The usual one is shared by every run on the machine, and each closes it to other accounts anew:
    also to the one that a database in it runs as, when root runs the tests.
    """
    if not config.option.basetemp:
        config.option.basetemp = str(Path(tempfile.mkdtemp(prefix="stowage-tests-")) / "run")


def pytest_unconfigure(config: pytest.Config) -> None:
    directory = Path(config.option.basetemp or "").parent
    if directory.name.startswith("stowage-tests-"):
        shutil.rmtree(directory, ignore_errors=True)
