"""Schemathesis against the real server on the real database, with the tokens that callers have.

No fault of the server, and no status, type, header or body that the schema does not describe.
`make test` runs a bounded part; `make fuzz` all of it, as long as it takes.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from settings import env
from tests.ops.test_server import wait_until
from tests.running import ROOT, free_port

EXAMPLES = env.integer("FUZZ_EXAMPLES", 0, minimum=0)  # 0: a bounded number
SECONDS = 4
# Every check of schemathesis but these:
# - What the schema allows may be refused: rules across fields (a reservation within its limit), and
#   what is taken or isn't there, can't be said in a schema.
EXCLUDED = "positive_data_acceptance"
# - What it forbids may be accepted in bodies: as DRF, app.rest reads "5" as 5 and 0 as "0".
EXCLUDED_IN_WRITES = f"{EXCLUDED},negative_data_rejection"

pytestmark = pytest.mark.timeout(7200 if EXAMPLES else 60)  # thousands of requests


@dataclass
class Server:
    url: str
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The API on an own database with a few objects in it."""
    admin, name = env.text("DATABASE_URL"), "stowage_fuzz"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    environment = env.inherited(
        DATABASE_URL=urlsplit(admin)._replace(path=f"/{name}").geturl(),
        DJANGO_SETTINGS_MODULE="settings.development",
    )
    migrate, seed = ["manage.py", "migrate", "-v0"], ["-m", "tests.openapi.seed"]
    subprocess.run([sys.executable, *migrate], cwd=ROOT, env=environment, check=True)
    seeded = subprocess.run(
        [sys.executable, *seed], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE
    )
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "asgi:application", "--log-level", "critical"]
    process = subprocess.Popen([*command, "--port", str(port)], cwd=ROOT, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url) as client:
            wait_until(client, "/readyz", 200, seconds=60)
        yield Server(url, json.loads(seeded.stdout))
    finally:
        process.terminate()
        process.wait(30)
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


ROLES = {
    "reader": ["--include-method", "GET", "--exclude-checks", EXCLUDED],
    "writer": ["--exclude-method", "GET", "--exclude-operation-id", "tokens_destroy"],
    # It may lose its own token, and then learns little more.
    "revoker": ["--include-operation-id", "tokens_destroy", "--phases", "coverage"],
    "agent": ["--include-path-regex", "/(observe|usage)/$"],
}


@pytest.mark.parametrize("role", list(ROLES))
def test_every_answer_is_as_described(server: Server, tmp_path: Path, role: str) -> None:
    """Schemathesis finds nothing; what it says is the failure's message."""
    amount = ["--max-examples", str(EXAMPLES)] if EXAMPLES else ["--max-time", str(SECONDS)]
    # A stream would be waited for until its end.
    (tmp_path / "schemathesis.toml").write_text('[parameters]\n"query.watch" = "false"\n')
    command = [Path(sys.executable).with_name("st"), "run", f"{server.url}/api/v1/schema/"]
    command += ["--header", f"Authorization: Bearer {server.tokens[role]}", *amount]
    command += ["--checks", "all", "--exclude-checks", EXCLUDED_IN_WRITES, *ROLES[role]]
    command += ["--continue-on-failure", "--no-color", "--warnings", "off"]
    # How fast data is drawn says something of the machine.
    command += ["--suppress-health-check", "too_slow"]
    command += [] if EXAMPLES else ["--generation-deterministic"]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.openapi.hooks", "PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        command,
        cwd=tmp_path,
        env=env.inherited(**hooks),
        capture_output=True,
        text=True,
        check=False,
    )
    print(found.stdout)
    assert found.returncode == 0, found.stdout + found.stderr
