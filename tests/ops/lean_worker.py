"""A worker of production in a process of its own: what it has imported after requests of each kind,
and what it holds of memory beside the libraries that it stands on.

    python -m tests.ops.lean_worker TOKEN        with production's variables; prints JSON
"""

import asyncio
import json
import sys
from pathlib import Path

import asyncpg  # noqa: F401
import django.db.models  # noqa: F401
import orjson  # noqa: F401
import uvicorn.main  # noqa: F401

HOST = {"name": "lean-a", "cpus": 4, "memory_bytes": 2**33}
REQUESTS = [
    ("GET", "/healthz", None, 200),
    ("GET", "/readyz", None, 200),
    ("GET", "/api/v1/", None, 200),
    ("POST", "/api/v1/hosts/", HOST, 201),
    ("POST", "/api/v1/hosts/", HOST, 400),
    ("POST", "/api/v1/hosts/", HOST | {"name": "lean-b"}, 201),
    ("GET", "/api/v1/hosts/?search=lean&ordering=-name", None, 200),
    ("GET", "/api/v1/hosts/?format=csv", None, 200),
    ("GET", "/api/v1/containers/?expand=host&fields=id,host", None, 200),
    ("OPTIONS", "/api/v1/workloads/", None, 200),
    ("GET", "/api/v1/usage/?resolution=1h", None, 200),
    ("GET", "/api/v1/events/", None, 200),
    ("GET", "/api/v1/reports/density/", None, 200),
    ("GET", "/api/v1/reports/rightsizing/", None, 200),
    ("GET", "/api/v1/nothing/", None, 404),
    ("GET", "/nothing", None, 404),
]


def pss_bytes() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


async def ask(application, token, method, path, body):
    """The status of one answer, and its body."""
    content = b"" if body is None else json.dumps(body).encode()
    path, _, query = path.partition("?")
    headers = {
        "host": "localhost",
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "content-length": str(len(content)),
    }
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "scheme": "https", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "root_path": "", "server": ("localhost", 443), "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    sent = []
    waiting = [{"type": "http.request", "body": content}]

    async def receive():
        return waiting.pop() if waiting else await asyncio.Future()

    async def send(message):
        sent.append(message)

    await application(scope, receive, send)
    return sent[0]["status"], b"".join(part.get("body", b"") for part in sent)


def sync_queries():
    """Django's own connection, in a thread, where values are wrapped and come back."""
    from django.db import connection

    from app.fleet.models import Host

    host = Host.objects.get(name="lean-a", labels={})
    host.labels = {"zone": "é"}
    host.save()
    return [
        Host.objects.filter(labels__zone="é").count(),
        type(connection._connections["default"]).__module__,
    ]


async def main(token: str) -> None:
    base = pss_bytes()
    import asgi
    from app import db

    await asgi.warm_up()
    answers = {}
    for method, path, body, expected in REQUESTS:
        status, answer = await ask(asgi.application, token, method, path, body)
        if status != expected:
            answers[f"{method} {path}"] = [status, answer.decode()]
    modules, held = sorted(sys.modules), pss_bytes() - base
    synchronous = await asyncio.to_thread(sync_queries)
    await db.close()
    report = {
        "unexpected": answers,
        "modules": modules,
        "bytes": held,
        "base_bytes": base,
        "synchronous": synchronous,
        "has_psycopg": "psycopg" in sys.modules,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
