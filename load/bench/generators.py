"""The load generator: wrk, on the other core."""

import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from load.bench.servers import OTHER_CORE, on_core
from load.bench.works import Ask

SCRIPT = Path(__file__).with_name("wrk.lua")
MISSING = "The benchmark needs wrk. On Debian and Ubuntu: apt install wrk"


@dataclass(frozen=True)
class Outcome:
    """What came of a run. Latencies are those of the requests that were answered."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    refused: int
    """Answers of 400 and more."""
    broken: int
    """Connections that failed, and requests without an answer."""

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def is_installed() -> bool:
    return shutil.which("wrk") is not None


def turns(asks: Sequence[Ask], tokens: Sequence[str] | None) -> Iterable[bytes]:
    """The requests in turn, each with the token of the next user."""
    if not tokens:
        return [ask.raw(None) for ask in asks]
    count = max(len(asks), len(tokens))
    return [asks[n % len(asks)].raw(tokens[n % len(tokens)]) for n in range(count)]


@contextmanager
def written(requests: Iterable[bytes]) -> Iterator[Path]:
    """The file of requests that the script reads."""
    with tempfile.NamedTemporaryFile(prefix="stowage-bench-") as file:
        for request in requests:
            file.write(b"%d\n%b\n" % (len(request), request))
        file.flush()
        yield Path(file.name)


def run_wrk(port: int, requests: Path, *, seconds: float, connections: int) -> Outcome:
    """Load the server with as many requests as it answers, over so many connections."""
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--timeout", "10s"]
    command += ["--duration", f"{max(1, round(seconds))}s", "--latency", "--script", str(SCRIPT)]
    command += [f"http://127.0.0.1:{port}/", "--", str(requests), secrets.token_hex(3)]
    with on_core(OTHER_CORE):
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds + 60
        )
    if done.returncode:
        raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))
