"""The reference: an ASGI handler by hand, on asyncpg and orjson. No contract, no framework."""

import os
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import asyncpg
import orjson

from load.bench.stacks.links import cursor_links, page_links, read_cursor
from load.bench.stacks.sql import (
    COUNT_HOSTS,
    CREATE_HOST,
    HOST,
    HOSTS,
    SAMPLES,
    VERSION,
    connect_pool,
)

PAGE_SIZE = 50
MAX_ID = 2**63 - 1
JSON = (b"content-type", b"application/json")

Reply = tuple[Any, ...]
"""Status, data, headers."""

pool: asyncpg.Pool


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await run_lifespan(receive, send)
        return
    status, data, *headers = await route(scope, receive)
    body = b"" if data is None else orjson.dumps(data, option=orjson.OPT_UTC_Z)
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [JSON, (b"content-length", b"%d" % len(body)), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def route(scope: dict[str, Any], receive: Any) -> Reply:
    path, method = scope["path"], scope["method"]
    if path == "/bench/hosts/":
        return await (create_host(receive) if method == "POST" else list_hosts(scope))
    if path.startswith("/bench/hosts/"):
        return await retrieve_host(scope, path[13:-1])
    if path == "/bench/samples/":
        return await (ingest(receive) if method == "POST" else list_samples(scope))
    if path == "/bench/empty/":
        return 200, {}
    return 404, {"detail": "Not found."}


async def run_lifespan(receive: Any, send: Any) -> None:
    global pool  # noqa: PLW0603 - the one thing that a handler by hand keeps
    await receive()
    pool = await connect_pool(os.environ["DATABASE_URL"])
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await pool.close()
    await send({"type": "lifespan.shutdown.complete"})


async def read_body(receive: Any) -> Any:
    """The body as JSON. Raises ValueError."""
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    return orjson.loads(body)


def header(scope: dict[str, Any], name: bytes) -> bytes:
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return b""


def show_host(row: asyncpg.Record) -> dict[str, Any]:
    pk, name, cpus, memory_bytes, version, labels, created_at, team_id, team_name = row
    return {
        "id": pk,
        "name": name,
        "cpus": cpus,
        "memory_bytes": memory_bytes,
        "team": {"id": team_id, "name": team_name},
        "version": version,
        "labels": labels,
        "created_at": created_at,
    }


async def retrieve_host(scope: dict[str, Any], text: str) -> Reply:
    if not text.isdecimal() or (pk := int(text)) > MAX_ID:
        return 404, {"detail": "Not found."}
    known = header(scope, b"if-none-match")
    async with pool.acquire() as connection:
        if known:
            version = await connection.fetchval(VERSION, pk)
            if known == b'"%d"' % (version or 0):
                return 304, None, (b"etag", known)
        row = await connection.fetchrow(HOST, pk)
    if row is None:
        return 404, {"detail": "Not found."}
    return 200, show_host(row), (b"etag", b'"%d"' % row["version"])


async def list_hosts(scope: dict[str, Any]) -> Reply:
    query = parse_qs(scope["query_string"].decode())
    text, size = query.get("page", ["1"])[0], query.get("page_size", [str(PAGE_SIZE)])[0]
    if not text.isdecimal() or not size.isdecimal():
        return 404, {"detail": "Invalid page."}
    page, page_size = int(text), min(int(size), 1000)
    async with pool.acquire() as connection:
        count = await connection.fetchval(COUNT_HOSTS)
        rows = await connection.fetch(HOSTS, page_size, (page - 1) * page_size)
    address = f"http://{header(scope, b'host').decode()}/bench/hosts/"
    links = page_links(address, page, page_size, count, query)
    return 200, {"count": count, **links, "results": [show_host(row) for row in rows]}


async def create_host(receive: Any) -> Reply:
    try:
        data = await read_body(receive)
        errors = check_host(data)
    except ValueError as error:
        return 400, {"detail": str(error)}
    if errors:
        return 400, errors
    try:
        row = await pool.fetchrow(
            CREATE_HOST,
            data["name"],
            data["cpus"],
            data["memory_bytes"],
            data["team_id"],
            data.get("labels", {}),
            datetime.now(UTC),
        )
    except asyncpg.UniqueViolationError:
        return 400, {"name": ["host with this name already exists."]}
    if row is None:
        return 400, {"team_id": ["There is no such team."]}
    return 201, show_host(row)


def check_host(data: Any) -> dict[str, list[str]]:
    if not isinstance(data, dict):
        return {"non_field_errors": ["Expected an object."]}
    errors = {}
    name, labels = data.get("name"), data.get("labels", {})
    if not isinstance(name, str) or not 0 < len(name) <= 100:
        errors["name"] = ["Write 1 to 100 characters."]
    if not is_number(data.get("cpus")):
        errors["cpus"] = ["Write a number, 0 or more."]
    if not is_whole(data.get("memory_bytes")):
        errors["memory_bytes"] = ["Write a whole number, 0 or more."]
    if not is_whole(data.get("team_id")):
        errors["team_id"] = ["Write the id of a team."]
    if not isinstance(labels, dict) or not all(
        isinstance(value, str) and len(value) <= 100 for value in labels.values()
    ):
        errors["labels"] = ["Write an object of texts."]
    return errors


def is_number(value: Any) -> bool:
    return (type(value) is float or type(value) is int) and value >= 0


def is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_ID


async def list_samples(scope: dict[str, Any]) -> Reply:
    query = parse_qs(scope["query_string"].decode())
    try:
        host_id = int(query["host"][0])
        position = read_cursor(query["cursor"][0])
    except (KeyError, ValueError):
        return 404, {"detail": "Invalid cursor."}
    rows = await pool.fetch(SAMPLES, host_id, position, PAGE_SIZE + 1)
    results = [
        {"id": pk, "host": host, "at": at, "cpu": cpu, "memory_bytes": memory_bytes}
        for pk, host, at, cpu, memory_bytes in rows[:PAGE_SIZE]
    ]
    address = f"http://{header(scope, b'host').decode()}/bench/samples/"
    links = cursor_links(address, host_id, results, has_next=len(rows) > PAGE_SIZE)
    return 200, {**links, "results": results}


async def ingest(receive: Any) -> Reply:
    try:
        records = [check_sample(one) for one in await read_body(receive)]
        result = await pool.copy_records_to_table(
            "bench_sample", records=records, columns=["host_id", "at", "cpu", "memory_bytes"]
        )
    except (ValueError, TypeError, KeyError, asyncpg.ForeignKeyViolationError) as error:
        return 400, {"detail": str(error)}
    return 201, {"stored": int(result.split()[1])}


def check_sample(item: Any) -> tuple[int, datetime, float, int]:
    """Raises ValueError, TypeError, KeyError."""
    at = datetime.fromisoformat(item["at"])
    cpu, memory_bytes, host = item["cpu"], item["memory_bytes"], item["host"]
    if not (is_whole(host) and is_whole(memory_bytes) and is_number(cpu) and at.tzinfo):
        raise ValueError(f"Wrong sample: {item}")
    return host, at, cpu, memory_bytes
