"""What production's worker tells of its faults over HTTP, with every byte of the answers looked
at: no SQL, no path, no module, no trace. The faults are real ones, made in the database and by
requests; what each was stands in the worker's log.
"""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from settings import env
from tests.adversity import servers
from tests.running import ROOT, free_port

pytestmark = [
    pytest.mark.packages,  # a database and a process of the API, made for this
    pytest.mark.timeout(120),
]

SECRET = "hunter2"
LEAKS = re.compile(
    r"hunter2|kaputt|Traceback|SELECT|INSERT|UPDATE |DELETE FROM|\$1|\.py\b|\.so\b|/srv/"
    r"|site-packages|line \d+, in|fleet_|accounts_|auth_|app\.|django|rest_framework|uvicorn"
    r"|httptools|asyncpg|psycopg|postgres|sailor|relation \"|column \"|statement timeout"
    r"|constraint \"|violates|object at 0x|\w(Error|Exception)\b"
    rf"|{re.escape(str(ROOT))}|{re.escape(sys.prefix)}"
)


class Worker:
    """uvicorn as in the image, with production's settings. `log`: what it wrote to stderr."""

    def __init__(self, database: servers.Server, log: Path) -> None:
        self.port, self.log = free_port(), log
        self.environment = env.inherited(
            DATABASE_URL=database.url, DJANGO_SETTINGS_MODULE="settings.production",
            SECRET_KEY=f"{SECRET}-" + "0123456789" * 5, ALLOWED_HOSTS="api.example",
            SECURE_SSL_REDIRECT="0", DRAIN_SECONDS="0", MAX_BODY_BYTES="100000",
            REQUEST_HEAD_SECONDS="1",
        )  # fmt: skip

    def manage(self, *words: str) -> str:
        command = [sys.executable, "manage.py", *words]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    @contextmanager
    def serving(self) -> Iterator[None]:
        words = [
            *("-m", "uvicorn", "asgi:application", "--port", str(self.port), "--loop", "uvloop"),
            *("--http", "app.ops.protocols:BoundedProtocol", "--ws", "none", "--no-access-log"),
            *("--no-server-header", "--log-level", "warning", "--timeout-graceful-shutdown", "5"),
        ]
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, env=self.environment, stderr=log
            )
        try:
            self.wait_until_ready()
            yield
        finally:
            process.terminate()
            process.wait(20)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                answer = httpx.get(
                    f"http://127.0.0.1:{self.port}/readyz", headers={"Host": "api.example"}
                )
                if answer.status_code == 200:
                    return
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def logged(self) -> str:
        return self.log.read_text(errors="replace")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    server = servers.Server(tmp_path_factory.mktemp("leaks") / "postgres")
    server.make()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def worker(
    database: servers.Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Worker, httpx.Client]]:
    worker = Worker(database, tmp_path_factory.mktemp("log") / "worker")
    worker.manage("migrate", "-v0")
    worker.manage("create_administrator")
    scopes = [word for scope in ("read", "write", "agent") for word in ("--scope", scope)]
    token = worker.manage("create_token", "--user", "admin", *scopes)
    headers = {"Host": "api.example", "Authorization": f"Bearer {token}"}
    address = f"http://127.0.0.1:{worker.port}"
    with worker.serving(), httpx.Client(base_url=address, headers=headers, timeout=20) as client:
        made = client.post("/api/v1/workloads/", json={"name": "first", "image": "x"})
        assert made.status_code == 201, made.text
        host = {"name": "first", "cpus": 1, "memory_bytes": 2**30}
        assert client.post("/api/v1/hosts/", json=host).status_code == 201
        yield worker, client


@contextmanager
def changed(database: servers.Server, do: str, undo: str) -> Iterator[None]:
    run(database, do)
    try:
        yield
    finally:
        run(database, undo)


def run(database: servers.Server, sql: str) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(sql)


def check(answer: httpx.Response, *expected: int) -> None:
    """The answer has one of these statuses, and tells nothing."""
    heads = "\n".join(f"{name}: {value}" for name, value in answer.headers.multi_items())
    look_at(f"{heads}\n\n{answer.text}")
    assert answer.status_code in expected, answer.text
    assert answer.headers["content-type"].partition(";")[0] in {
        "application/json", "application/problem+json", "text/html",
    }  # fmt: skip
    assert answer.text


def look_at(text: str) -> None:
    found = LEAKS.search(text)
    assert not found, text[max(0, found.start() - 100) :][:300]


READS = [
    "/api/v1/hosts/", "/api/v1/hosts/1/", "/api/v1/hosts/?search=a&ordering=name", "/api/v1/me/",
    "/api/v1/workloads/", "/api/v1/workloads/1/", "/api/v1/workloads/1/revisions/",
    "/api/v1/containers/", "/api/v1/containers/1/usage/", "/api/v1/events/", "/api/v1/images/",
    "/api/v1/policies/", "/api/v1/quotas/", "/api/v1/revisions/", "/api/v1/tokens/",
    "/api/v1/usage/", "/api/v1/reports/density/", "/api/v1/reports/rightsizing/",
]  # fmt: skip
WRITES: list[tuple[str, Any]] = [
    ("/api/v1/hosts/", {"name": "evil", "cpus": 1, "memory_bytes": 2**30}),
    ("/api/v1/hosts/", [{"name": "evil", "cpus": 1, "memory_bytes": 2**30}]),
    ("/api/v1/workloads/", {"name": "evil", "image": "x"}),
    ("/api/v1/policies/", {"workload": 1, "memory_floor_bytes": 2**25}),
    ("/api/v1/placements/simulate/", {"workload": 1}),
    ("/api/v1/placements/repack/", {}),
    ("/api/v1/tokens/", {"name": "evil", "scopes": ["read"]}),
    ("/api/v1/hosts/observe/", {
        "host": {"name": "evil", "cpus": 4, "memory_bytes": 2**33, "engine": "docker"},
        "observed_at": "2026-01-01T00:00:00Z", "containers": [],
    }),
]  # fmt: skip
ACCEPTS = ["application/json", "application/problem+json", "text/html", "*/*"]


def everything(client: httpx.Client, *expected: int) -> list[int]:
    """Ask all of the API; the statuses."""
    statuses = []
    for accept in ACCEPTS[:2]:
        headers = {"Accept": f"{accept}, application/json;q=0.5"}
        answers = [client.get(path, headers=headers) for path in READS]
        answers += [client.post(path, json=body, headers=headers) for path, body in WRITES]
        for answer in answers:
            check(answer, *expected)
            statuses.append(answer.status_code)
    return statuses


# What happens to the database


def renamed(*columns: str) -> tuple[str, str]:
    """`table.column`, or tables: how to take them away, and to give them back."""
    do, undo = [], []
    for number, one in enumerate(columns):
        table, _, column = one.partition(".")
        new, word = f"kaputt{number}", f"RENAME COLUMN {column}" if column else "RENAME"
        do.append(f"ALTER TABLE {table} {word} TO {new}")
        back = f"ALTER TABLE {table} RENAME COLUMN {new} TO {column}"
        undo.append(back if column else f"ALTER TABLE {new} RENAME TO {table}")
    return ";".join(do), ";".join(undo)


def added(rule: str, *tables: str) -> tuple[str, str]:
    """A rule that the API knows nothing of."""
    do = [f"ALTER TABLE {table} ADD CONSTRAINT kaputt {rule}" for table in tables]
    return ";".join(do), ";".join(f"ALTER TABLE {table} DROP CONSTRAINT kaputt" for table in tables)


FAULTS = {
    "a column is gone": renamed("fleet_host.name", "fleet_workload.name", "fleet_image.reference"),
    "a table is gone": renamed("fleet_event", "fleet_usage"),
    "the tokens are gone": renamed("accounts_token"),
    "an unknown rule": added(
        "CHECK (name <> 'evil') NOT VALID", "fleet_host", "fleet_workload", "accounts_token"
    ),
    "a trigger that fails": (
        "CREATE FUNCTION kaputt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'hunter2 in /srv/secret.py'; END $$;"
        "CREATE TRIGGER kaputt BEFORE INSERT OR UPDATE ON fleet_host"
        " FOR EACH ROW EXECUTE FUNCTION kaputt();"
        "CREATE TRIGGER kaputt BEFORE INSERT OR UPDATE ON fleet_workload"
        " FOR EACH ROW EXECUTE FUNCTION kaputt()",
        "DROP FUNCTION kaputt CASCADE",
    ),
    "a column of another kind": (
        "ALTER TABLE fleet_host ALTER labels TYPE text USING 'no JSON'",
        "ALTER TABLE fleet_host ALTER labels TYPE jsonb USING '{}'",
    ),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_fault_in_the_database_tells_nothing(
    database: servers.Server, worker: tuple[Worker, httpx.Client], fault: str
) -> None:
    with changed(database, *FAULTS[fault]):
        statuses = everything(worker[1], 200, 201, 400, 401, 403, 404, 409, 500, 503)
    assert {400, 409, 500, 503} & set(statuses), "nothing failed"
    if fault == "a column is gone":
        assert "Traceback" in worker[0].logged()
        assert "kaputt" in worker[0].logged() or "does not exist" in worker[0].logged()


def test_statement_that_takes_too_long_tells_nothing(
    database: servers.Server, worker: tuple[Worker, httpx.Client]
) -> None:
    limit = "ALTER ROLE sailor SET statement_timeout = '50ms'", "ALTER ROLE sailor RESET ALL"
    with changed(database, *limit):
        database.restart("fast")  # the worker's connections are opened anew, with the limit
        with psycopg.connect(database.url, options="-c statement_timeout=0") as connection:
            connection.execute("LOCK TABLE fleet_host, fleet_workload IN ACCESS EXCLUSIVE MODE")
            statuses = everything(worker[1], 200, 201, 400, 401, 403, 404, 409, 500, 503)
    assert {500, 503} & set(statuses)
    database.restart("fast")
    worker[0].wait_until_ready()


def test_database_that_dies_and_is_away_tells_nothing(
    database: servers.Server, worker: tuple[Worker, httpx.Client]
) -> None:
    at_work, client = worker
    with client.stream("GET", "/api/v1/events/", headers={"Accept": "text/event-stream"}) as stream:
        assert stream.status_code == 200
        database.stop("immediate")
        try:
            statuses = everything(client, 200, 400, 503)
            assert statuses.count(503) > len(statuses) / 2
            assert client.get("/readyz").status_code == 503
            look_at(client.get("/readyz").text)
            heard = read_for(stream, 1.0)
        finally:
            database.restart("fast")
    look_at("\n".join(f"{name}: {value}" for name, value in stream.headers.items()) + heard)
    at_work.wait_until_ready()
    check(client.get("/api/v1/hosts/"), 200)


def read_for(stream: httpx.Response, seconds: float) -> str:
    deadline, heard = time.monotonic() + seconds, ""
    try:
        for text in stream.iter_text():
            heard += text
            if time.monotonic() > deadline:
                break
    except httpx.TransportError:
        pass
    return heard


# What requests can do

LONG = "x" * 200_000
BODIES: list[tuple[bytes, dict[str, str], set[int]]] = [
    (b"{", {}, {400}),
    (b"\xff\xfe", {}, {400}),
    (b"[1, 2", {}, {400}),
    (b'{"name": "a", "name": "b"}', {}, {400}),
    (b'{"name": "\\u0000"}', {}, {400}),
    (b'{"name": "\\ud800", "cpus": 1e999, "memory_bytes": 9223372036854775808}', {}, {400}),
    (b"[" * 50_000, {}, {400}),
    (b"null", {}, {400}),
    (b'{"name": {"a": 1}, "cpus": [], "memory_bytes": "x", "labels": 5}', {}, {400}),
    (b"x", {"Content-Type": "text/plain"}, {415}),
    (b"x", {"Content-Type": "multipart/form-data"}, {400, 415}),
    (b"x", {"Content-Type": "application/json; charset=wrong"}, {400, 415}),
    (b"x", {"Content-Encoding": "gzip"}, {415}),
    (LONG.encode(), {}, {413}),
    (b"{}", {"Idempotency-Key": LONG[:5000]}, {400}),
    (b"{}", {"If-Match": "wrong"}, {400, 412}),
]  # fmt: skip


def test_bad_bodies_tell_nothing(worker: tuple[Worker, httpx.Client]) -> None:
    for path in ("hosts", "workloads", "usage", "hosts/observe", "placements/simulate", "tokens"):
        for body, headers, expected in BODIES:
            for accept in ACCEPTS:
                sent = {"Content-Type": "application/json", "Accept": accept, **headers}
                answer = client_post(worker[1], f"/api/v1/{path}/", body, sent)
                check(answer, *expected, 406, 400)


def client_post(
    client: httpx.Client, path: str, body: bytes, headers: dict[str, str]
) -> httpx.Response:
    return client.post(path, content=body, headers=headers)


ASKED: list[tuple[str, str, dict[str, str], set[int]]] = [
    ("GET", "/api/v1/hosts/99999/", {}, {404}),
    ("GET", "/api/v1/hosts/x/", {}, {404}),
    ("GET", "/api/v1/hosts/9223372036854775808/", {}, {404}),
    ("GET", "/api/v1/hosts/%00/", {}, {404}),
    ("GET", "/api/v1/nothing/", {}, {404}),
    ("GET", "/nothing", {}, {404}),
    ("GET", "/admin/", {}, {404}),
    ("GET", "/static/../settings/base", {}, {404}),
    ("GET", "/api/v1/hosts/?page=0", {}, {404, 400}),
    ("GET", "/api/v1/hosts/?page_size=x", {}, {400}),
    ("GET", "/api/v1/hosts/?ordering=wrong", {}, {400}),
    ("GET", "/api/v1/hosts/?cursor=a", {}, {400, 404, 200}),
    ("GET", "/api/v1/hosts/?name=%00", {}, {400, 200}),
    ("GET", "/api/v1/hosts/?search=%ff", {}, {400}),
    ("GET", "/api/v1/hosts/?format=wrong", {}, {404}),
    ("GET", "/api/v1/hosts/", {"Authorization": "Bearer hunter2"}, {401}),
    ("GET", "/api/v1/hosts/", {"Authorization": "Basic !"}, {401}),
    ("GET", "/api/v1/hosts/", {"Authorization": ""}, {401}),
    ("GET", "/api/v1/hosts/", {"Accept": "image/png"}, {406}),
    ("GET", "/api/v1/hosts/", {"Host": "wrong"}, {400}),
    ("GET", "/api/v1/events/", {"Accept": "text/event-stream", "Last-Event-ID": "x"}, {400, 410}),
    ("TRACE", "/api/v1/hosts/", {}, {405}),
    ("DELETE", "/api/v1/hosts/", {}, {405, 400}),
    ("PUT", "/api/v1/hosts/", {}, {405, 400}),
    ("POST", "/api/v1/hosts/1/", {}, {405}),
    ("WRONG", "/api/v1/hosts/", {}, {400, 405}),
]  # fmt: skip


@pytest.mark.parametrize("accept", ACCEPTS)
def test_bad_requests_tell_nothing(worker: tuple[Worker, httpx.Client], accept: str) -> None:
    for method, path, headers, expected in ASKED:
        answer = worker[1].request(method, path, headers={"Accept": accept, **headers})
        also = {406} if accept == "text/html" else set()
        check(answer, *expected, *also)


GET = b"GET /api/v1/hosts/ HTTP/1.1\r\nHost: api.example\r\n"
RAW = [
    (b"\x16\x03\x01\x02\x00\x01", 400),
    (b"nonsense\r\n\r\n", 400),
    (GET + b"A B: c\r\n\r\n", 400),
    (GET + b"X: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    (GET + b"X: a", 408),
    (GET + b"Host: other\r\n\r\n", 400),
    (GET + b"Cookie: sessionid=wrong\r\nConnection: close\r\n\r\n", 401),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "status"), RAW)
def test_what_is_hardly_http_tells_nothing(
    worker: tuple[Worker, httpx.Client], sent: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", worker[0].port), 10) as connection:
        connection.sendall(sent)
        received = b""
        while b"}" not in received and (chunk := connection.recv(65536)):
            received += chunk
    assert int(received.split()[1]) == status
    body = received[received.index(b"{") : received.rindex(b"}") + 1]
    assert json.loads(body)["detail"]
    look_at(received.decode("latin1"))
