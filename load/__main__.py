"""`python -m load`: a bounded load run against a Stowage that runs on this machine.

Mints the tokens it needs in the database of this checkout (the one that `make up` serves), starts
Locust for a set number of users and seconds, and revokes the tokens again.
"""

import argparse
import ipaddress
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
MOST_USERS, MOST_SECONDS = 1000, 600


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m load", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where Stowage answers")
    parser.add_argument("--users", type=int, default=50, help=f"at most {MOST_USERS}")
    parser.add_argument("--seconds", type=int, default=30, help=f"at most {MOST_SECONDS}")
    options = parser.parse_args()
    if problem := find_problem(options):
        print(problem, file=sys.stderr)
        return 2
    from load.tokens import minted_tokens  # sets Django up: not before the options are known good

    with minted_tokens() as (operator_token, agent_token):
        return run_locust(options, operator_token, agent_token)


def run_locust(options: argparse.Namespace, operator_token: str, agent_token: str) -> int:
    """Locust's exit code: 0, or 1 when a request failed or none was made."""
    command = [
        *(sys.executable, "-m", "locust", "-f", str(ROOT / "load" / "locustfile.py")),
        *("--headless", "--only-summary", "--loglevel", "ERROR", "--host", options.url),
        *("--users", str(options.users), "--spawn-rate", str(max(1, options.users // 3))),
        *("--run-time", f"{options.seconds}s", "--stop-timeout", "10"),
        *("--operator-token", operator_token, "--agent-token", agent_token),
        *("--run-name", f"load-{os.getpid()}"),
    ]
    return subprocess.run(command, cwd=ROOT, check=False, timeout=options.seconds + 60).returncode


def find_problem(options: argparse.Namespace) -> str | None:
    """One line that names cause and remedy, or None when a load run may start."""
    if not 1 <= options.users <= MOST_USERS:
        return f"--users {options.users}: write a number from 1 to {MOST_USERS}."
    if not 1 <= options.seconds <= MOST_SECONDS:
        return f"--seconds {options.seconds}: write a number from 1 to {MOST_SECONDS}."
    if not is_loopback(urlsplit(options.url).hostname or ""):
        return f"{options.url}: load runs stay on this machine. Write --url http://127.0.0.1:8000."
    try:
        with urllib.request.urlopen(f"{options.url}/readyz", timeout=5):
            return None
    except OSError as error:
        reason = getattr(error, "reason", error)
        return f"{options.url} is not ready ({reason}). Start Stowage first: make up."


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
