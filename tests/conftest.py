"""Every test runs on a real PostgreSQL: the one that DATABASE_URL names, or the embedded one."""

import os
from pathlib import Path

import pytest

VAR = Path(__file__).resolve().parent.parent / "var"


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Start the database before pytest-django reads the settings."""


if "DATABASE_URL" not in os.environ:
    from app.ops import embedded

    os.environ["DATABASE_URL"] = embedded.start(VAR / "test" / "postgres")
