"""FastAPI: pydantic models, asyncpg by hand, its own JSON."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from pydantic import AwareDatetime, BaseModel, Field

from load.bench.stacks import sql
from load.bench.stacks.callers import Rates, find_caller
from load.bench.stacks.contract import HAS_AUTH
from load.bench.stacks.links import cursor_links, page_links, read_cursor

PAGE_SIZE = 50
rates = Rates()


class Team(BaseModel):
    id: int
    name: str


class Host(BaseModel):
    id: int
    name: str
    cpus: float
    memory_bytes: int
    team: Team
    version: int
    labels: dict[str, str]
    created_at: datetime


class NewHost(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    cpus: Annotated[float, Field(ge=0)]
    memory_bytes: Annotated[int, Field(ge=0, lt=2**63)]
    team_id: int
    labels: dict[str, Annotated[str, Field(max_length=100)]] = {}


class HostPage(BaseModel):
    count: int
    next: str | None
    previous: str | None
    results: list[Host]


class Sample(BaseModel):
    id: int
    host: int
    at: datetime
    cpu: float
    memory_bytes: int


class NewSample(BaseModel):
    host: int
    at: AwareDatetime
    cpu: Annotated[float, Field(ge=0)]
    memory_bytes: Annotated[int, Field(ge=0, lt=2**63)]


class SamplePage(BaseModel):
    next: str | None
    previous: str | None
    results: list[Sample]


class Stored(BaseModel):
    stored: int


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.pool = await sql.connect_pool(os.environ["DATABASE_URL"])
    yield
    await app.state.pool.close()


async def authorise(
    request: Request, authorization: Annotated[str | None, Header()] = None
) -> None:
    caller = await find_caller(request.app.state.pool, authorization)
    if caller is None:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    if not caller.may(request.method):
        raise HTTPException(403)
    if not rates.allow(caller.id):
        raise HTTPException(429)


app = FastAPI(lifespan=lifespan, dependencies=[Depends(authorise)] if HAS_AUTH else [])


def get_pool(request: Request) -> asyncpg.Pool:
    pool: asyncpg.Pool = request.app.state.pool
    return pool


@app.get("/bench/empty/")
async def empty() -> dict[str, str]:
    return {}


def show_host(row: asyncpg.Record) -> dict[str, Any]:
    return {**row, "team": {"id": row["team_id"], "name": row["team_name"]}}


@app.get("/bench/hosts/", response_model=HostPage)
async def list_hosts(request: Request, page: int = 1, page_size: int = PAGE_SIZE) -> Any:
    async with get_pool(request).acquire() as connection:
        count = await connection.fetchval(sql.COUNT_HOSTS)
        rows = await connection.fetch(sql.HOSTS, page_size, (page - 1) * page_size)
    address = f"http://{request.headers['host']}/bench/hosts/"
    links = page_links(address, page, page_size, count, request.query_params)
    return {"count": count, **links, "results": [show_host(row) for row in rows]}


@app.get("/bench/hosts/{pk}/", response_model=Host)
async def retrieve_host(
    pk: int,
    request: Request,
    response: Response,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Any:
    pool = get_pool(request)
    if if_none_match and if_none_match == f'"{await pool.fetchval(sql.VERSION, pk)}"':
        return Response(status_code=304, headers={"ETag": if_none_match})
    row = await pool.fetchrow(sql.HOST, pk)
    if row is None:
        raise HTTPException(404)
    response.headers["ETag"] = f'"{row["version"]}"'
    return show_host(row)


@app.post("/bench/hosts/", response_model=Host, status_code=201)
async def create_host(host: NewHost, request: Request) -> Any:
    try:
        row = await get_pool(request).fetchrow(
            sql.CREATE_HOST,
            host.name,
            host.cpus,
            host.memory_bytes,
            host.team_id,
            host.labels,
            datetime.now(UTC),
        )
    except asyncpg.UniqueViolationError as error:
        raise HTTPException(400, {"name": ["A host of this name exists."]}) from error
    if row is None:
        raise HTTPException(400, {"team_id": ["There is no such team."]})
    return show_host(row)


@app.get("/bench/samples/", response_model=SamplePage)
async def list_samples(host: int, cursor: str, request: Request) -> Any:
    try:
        position = read_cursor(cursor)
    except ValueError as error:
        raise HTTPException(404, "Invalid cursor.") from error
    rows = await get_pool(request).fetch(sql.SAMPLES, host, position, PAGE_SIZE + 1)
    results = [{**row, "host": row["host_id"]} for row in rows[:PAGE_SIZE]]
    address = f"http://{request.headers['host']}/bench/samples/"
    return {
        **cursor_links(address, host, results, has_next=len(rows) > PAGE_SIZE),
        "results": results,
    }


@app.post("/bench/samples/", status_code=201)
async def ingest(samples: list[NewSample], request: Request) -> Stored:
    records = [(one.host, one.at, one.cpu, one.memory_bytes) for one in samples]
    try:
        await get_pool(request).copy_records_to_table(
            "bench_sample", records=records, columns=["host_id", "at", "cpu", "memory_bytes"]
        )
    except asyncpg.ForeignKeyViolationError as error:
        raise HTTPException(400, {"host": ["There is no such host."]}) from error
    return Stored(stored=len(records))
