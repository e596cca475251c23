"""The environment that the peers run in: their own, of what `peers.lock` says, with hashes."""

import shutil
import subprocess
import sys
from pathlib import Path

from load.bench.stacks import PEERS_PYTHON

INSTALL_SECONDS = 900.0
LOCK = Path(__file__).with_name("peers.lock")


class EnvironmentSetupError(Exception):
    """The peers could not be installed; the message is what the installer said."""


def install_peers() -> None:
    """Make the environment, unless it holds what the lock says. Uses uv where uv is there."""
    root = PEERS_PYTHON.parent.parent
    stamp = root / ".lock"
    if stamp.exists() and stamp.read_bytes() == LOCK.read_bytes() and PEERS_PYTHON.exists():
        return
    if root.exists():
        shutil.rmtree(root)
    print(f"Installing the peers, from {LOCK.name}", flush=True)
    _run(sys.executable, "-m", "venv", str(root))
    options = ["--require-hashes", "-r", str(LOCK)]
    if uv := shutil.which("uv"):
        _run(uv, "pip", "install", "-q", "--python", str(PEERS_PYTHON), *options)
    else:
        pip = [str(PEERS_PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        _run(*pip, *options)
    stamp.write_bytes(LOCK.read_bytes())


def _run(*command: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise EnvironmentSetupError(
            f"The peers could not be installed within {INSTALL_SECONDS / 60:.0f} minutes. Begin"
            " again: what was downloaded is kept by the installer."
        ) from error
    if done.returncode:
        raise EnvironmentSetupError(
            f"The peers can't be installed: {(done.stderr or done.stdout).strip()}"
        )
