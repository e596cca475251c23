"""A real server process under production settings, on a database that comes and goes."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.ops import embedded
from settings import env
from tests.running import ROOT, free_port

pytestmark = pytest.mark.timeout(90)  # a database is made, migrated, stopped and started


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A PostgreSQL of its own, with nothing in it yet, and production's variables."""
    data = tmp_path / "postgres"
    yield env.inherited(
        DATABASE_URL=embedded.start(data),
        DJANGO_SETTINGS_MODULE="settings.production",
        SECRET_KEY="a-secret-key-for-one-test-" + "0123456789" * 4,
        ALLOWED_HOSTS="api.example",
        SECURE_SSL_REDIRECT="0",
        DRAIN_SECONDS="1",
        REQUEST_LOG="1",
    )
    embedded.stop(data)


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "asgi:application", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--log-level", "warning"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    transport = httpx.HTTPTransport(retries=0)
    headers = {"Host": "api.example"}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers=headers, transport=transport
    ) as client:
        try:
            wait_until(client, "/healthz", 200)
            yield process, client
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


def wait_until(client: httpx.Client, path: str, status: int, seconds: float = 20) -> httpx.Response:
    """The first answer with that status. Fails with the last one when none comes in time."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            response = client.get(path)
        except httpx.TransportError as error:
            last = error
        else:
            if response.status_code == status:
                return response
            last = (response.status_code, response.text)
        time.sleep(0.05)
    raise AssertionError(f"{path} was not {status} within {seconds} s: {last}")


def manage(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ready_is_what_the_database_is_and_healthy_is_what_the_process_is(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with serving(environment) as (process, client):
        unmigrated = client.get("/readyz")
        assert unmigrated.status_code == 503
        assert "accounts.0001_initial" in unmigrated.json()["obstacles"][0]

        manage(environment, "migrate", "--verbosity", "0")
        wait_until(client, "/readyz", 200)

        name, password = manage(environment, "create_administrator").split()
        assert name == "admin"
        token = manage(environment, "create_token", "--user", "admin", "--scope", "write").strip()
        authorized = {"Authorization": f"Bearer {token}"}
        me = client.get("/api/v1/me/", headers=authorized)
        assert me.json()["scopes"] == ["read", "write"]

        embedded.stop(tmp_path / "postgres")
        gone = wait_until(client, "/readyz", 503)
        assert gone.json()["obstacles"][0].startswith("database: ")
        assert client.get("/healthz").status_code == 200
        refused = client.get("/api/v1/me/", headers=authorized)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0

        embedded.start(tmp_path / "postgres")
        wait_until(client, "/readyz", 200)
        assert client.get("/api/v1/me/", headers=authorized).status_code == 200

        process.send_signal(signal.SIGTERM)
        assert "draining" in wait_until(client, "/readyz", 503).json()["obstacles"][0]
        assert client.get("/api/v1/me/", headers=authorized).status_code == 200
        log = process.communicate(timeout=20)[1]
        assert process.returncode in {0, -signal.SIGTERM}

    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert {"method": "GET", "path": "/api/v1/me/", "status": 200}.items() <= lines[0].items()
    assert token not in log
    assert password not in log
