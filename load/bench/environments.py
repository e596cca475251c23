"""What the stacks run in: an environment of their own for the peers, of what `peers.lock` says,
with hashes; bytecode as in its image for Stowage.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from load.bench.stacks import PEERS_PYTHON, ROOT
from load.bench.stowage.environment import stowage_environment
from settings import env

RUN_SECONDS = 900.0
LOCK = Path(__file__).with_name("peers.lock")
IMPORTED = "asgi,app.urls,uvicorn.main,uvicorn.loops.uvloop,app.ops.protocols,_strptime"
"""By a worker of Stowage."""


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
        _run(uv, "pip", "install", "-q", "--compile", "--python", str(PEERS_PYTHON), *options)
    else:
        pip = [str(PEERS_PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        _run(*pip, *options)
    stamp.write_bytes(LOCK.read_bytes())


def compile_stowage(url: str) -> None:
    """Write the bytecode that Stowage runs from, as its Dockerfile does."""
    variables = env.inherited(**stowage_environment(url), PYTHONNODEBUGRANGES="1")
    own = ["app", "settings", "load/bench", "asgi.py"]
    for command in (["compileall", "-q", *own], ["app.ops.bytecode", "--imported-by", IMPORTED]):
        _run(sys.executable, "-m", *command, env=variables, cwd=ROOT)


def _run(*command: str, **options: Any) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=RUN_SECONDS, **options
        )
    except subprocess.TimeoutExpired as error:
        raise EnvironmentSetupError(
            f"{command[0]} did not end within {RUN_SECONDS / 60:.0f} minutes. Begin again: what an"
            " installer has downloaded is kept by it."
        ) from error
    if done.returncode:
        raise EnvironmentSetupError(
            f"{' '.join(command[:4])} failed: {(done.stderr or done.stdout).strip()}"
        )
