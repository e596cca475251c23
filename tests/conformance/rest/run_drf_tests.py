"""DRF's own test suite on this project's classes: `python -m tests.conformance.rest.run_drf_tests`.

The suite is in DRF's source distribution, of the version that is installed; it is downloaded once
to var/conformance/ and never committed. Arguments go to pytest.
"""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import rest_framework

from app.ops import embedded

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
VAR = ROOT / "var" / "conformance"


def source() -> Path:
    """The unpacked source distribution."""
    name = f"djangorestframework-{rest_framework.VERSION}"
    directory = VAR / name
    if not directory.exists():
        VAR.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(VAR),
                "--no-binary", "djangorestframework",
                f"djangorestframework=={rest_framework.VERSION}",
            ],
            check=True,
        )  # fmt: skip
        with tarfile.open(VAR / f"{name}.tar.gz") as archive:
            archive.extractall(VAR, filter="data")
    return directory


def main(arguments: list[str]) -> int:
    address = os.environ.get("DATABASE_URL") or embedded.start(ROOT / "var" / "test" / "postgres")
    environment = os.environ | {
        "DATABASE_URL": address,
        "PYTHONPATH": os.pathsep.join([str(HERE / "plugins"), str(ROOT)]),
        "DJANGO_SETTINGS_MODULE": "",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "stowage_conformance",
        "-p",
        "no:randomly",
        "-p",
        "no:asyncio",
    ]
    run = subprocess.run([*command, *arguments], cwd=source(), env=environment, check=False)
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
