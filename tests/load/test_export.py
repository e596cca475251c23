"""Exports hold as much for many rows as for few: the command, at a small size."""

import subprocess
import sys

import pytest

from tests.running import ROOT


@pytest.mark.programs  # a database and a process of the API
@pytest.mark.timeout(120)
def test_memory_stays_and_a_client_that_leaves_frees_its_query() -> None:
    command = [sys.executable, "-m", "load.export", "--rows", "2000", "20000"]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "csv, 20,000 rows" in done.stdout
    assert "Memory is constant" in done.stdout
