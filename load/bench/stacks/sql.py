"""The SQL of the stacks that write theirs by hand, and their pool."""

import asyncpg
import orjson

VERSION = "SELECT version FROM bench_host WHERE id = $1"
HOST = """
    SELECT h.id, h.name, h.cpus, h.memory_bytes, h.version, h.labels, h.created_at,
        t.id AS team_id, t.name AS team_name
    FROM bench_host h JOIN bench_team t ON t.id = h.team_id WHERE h.id = $1
"""
COUNT_HOSTS = "SELECT count(*) FROM bench_host"
HOSTS = """
    SELECT h.id, h.name, h.cpus, h.memory_bytes, h.version, h.labels, h.created_at,
        t.id AS team_id, t.name AS team_name
    FROM bench_host h JOIN bench_team t ON t.id = h.team_id
    ORDER BY h.id LIMIT $1 OFFSET $2
"""
CREATE_HOST = """
    WITH h AS (
        INSERT INTO bench_host (name, cpus, memory_bytes, team_id, labels, created_at)
        SELECT $1, $2, $3, id, $5, $6 FROM bench_team WHERE id = $4
        RETURNING *
    )
    SELECT h.id, h.name, h.cpus, h.memory_bytes, h.version, h.labels, h.created_at,
        t.id AS team_id, t.name AS team_name
    FROM h JOIN bench_team t ON t.id = h.team_id
"""
SAMPLES = """
    SELECT id, host_id, at, cpu, memory_bytes FROM bench_sample
    WHERE host_id = $1 AND at < $2 ORDER BY at DESC LIMIT $3
"""
CALLER = """
    SELECT u.id, u.username, u.is_active, t.scopes
    FROM bench_token t JOIN bench_user u ON u.id = t.user_id WHERE t.key = $1
"""


async def connect_pool(url: str) -> asyncpg.Pool:
    return await asyncpg.create_pool(url, min_size=1, max_size=10, init=_decode_jsonb)


async def _decode_jsonb(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda data: orjson.loads(data[1:]),
    )
