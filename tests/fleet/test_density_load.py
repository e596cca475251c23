"""`python -m load.density`, on a small fleet."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(60)  # a process, a database and its migrations
def test_load_run_measures_every_form_of_the_report():
    sizes = ["--hosts", "2", "--containers", "3", "--minutes", "1"]
    run = subprocess.run(
        [sys.executable, "-m", "load.density", *sizes],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert "2 hosts, 6 containers, 36 samples in the window" in run.stdout
    assert len(re.findall(r"GET reports/density/.* loop held at most +\d+ ms", run.stdout)) == 4
