"""What is asked of each caller, where the contract is on: the same of every stack."""

import os

HAS_AUTH = bool(os.environ.get("BENCH_AUTH"))
LIMIT, WINDOW_SECONDS = 1_000_000, 60.0
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


def may(scopes: list[str], method: str) -> bool:
    return ("read" if method in SAFE_METHODS else "write") in scopes
