"""Litestar: msgspec structures, asyncpg by hand."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
from litestar import Litestar, Request, Response, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import (
    ClientException,
    NotAuthorizedException,
    NotFoundException,
    PermissionDeniedException,
)
from litestar.handlers import BaseRouteHandler
from litestar.middleware import (
    AbstractAuthenticationMiddleware,
    AuthenticationResult,
    DefineMiddleware,
)
from litestar.middleware.rate_limit import RateLimitConfig
from msgspec import Meta, Struct

from load.bench.stacks import sql
from load.bench.stacks.callers import find_caller
from load.bench.stacks.contract import HAS_AUTH, LIMIT
from load.bench.stacks.links import cursor_links, page_links, read_cursor

PAGE_SIZE = 50
Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Amount = Annotated[float, Meta(ge=0)]
Moment = Annotated[datetime, Meta(tz=True)]


class Team(Struct):
    id: int
    name: str


class Host(Struct):
    id: int
    name: str
    cpus: float
    memory_bytes: int
    team: Team
    version: int
    labels: dict[str, str]
    created_at: datetime


class NewHost(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    cpus: Amount
    memory_bytes: Size
    team_id: int
    labels: dict[str, Annotated[str, Meta(max_length=100)]] = {}


class HostPage(Struct):
    count: int
    next: str | None
    previous: str | None
    results: list[Host]


class Sample(Struct):
    id: int
    host: int
    at: datetime
    cpu: float
    memory_bytes: int


class NewSample(Struct):
    host: int
    at: Moment
    cpu: Amount
    memory_bytes: Size


class SamplePage(Struct):
    next: str | None
    previous: str | None
    results: list[Sample]


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    app.state.pool = await sql.connect_pool(os.environ["DATABASE_URL"])
    yield
    await app.state.pool.close()


def show_host(row: asyncpg.Record) -> Host:
    pk, name, cpus, memory_bytes, version, labels, created_at, team_id, team_name = row
    team = Team(team_id, team_name)
    return Host(pk, name, cpus, memory_bytes, team, version, labels, created_at)


@get("/bench/empty/")
async def empty() -> dict[str, str]:
    return {}


@get("/bench/hosts/")
async def list_hosts(
    request: Request[Any, Any, Any], state: State, page: int = 1, page_size: int = PAGE_SIZE
) -> HostPage:
    async with state.pool.acquire() as connection:
        count = await connection.fetchval(sql.COUNT_HOSTS)
        rows = await connection.fetch(sql.HOSTS, page_size, (page - 1) * page_size)
    address = f"http://{request.headers['host']}/bench/hosts/"
    links = page_links(address, page, page_size, count, request.query_params)
    return HostPage(count, links["next"], links["previous"], [show_host(row) for row in rows])


@get("/bench/hosts/{pk:int}/")
async def retrieve_host(
    request: Request[Any, Any, Any], state: State, pk: int
) -> Response[Host | None]:
    known = request.headers.get("if-none-match")
    if known and known == f'"{await state.pool.fetchval(sql.VERSION, pk)}"':
        return Response(None, status_code=304, headers={"ETag": known})
    row = await state.pool.fetchrow(sql.HOST, pk)
    if row is None:
        raise NotFoundException
    return Response(show_host(row), headers={"ETag": f'"{row["version"]}"'})


@post("/bench/hosts/")
async def create_host(data: NewHost, state: State) -> Host:
    try:
        row = await state.pool.fetchrow(
            sql.CREATE_HOST,
            data.name,
            data.cpus,
            data.memory_bytes,
            data.team_id,
            data.labels,
            datetime.now(UTC),
        )
    except asyncpg.UniqueViolationError as error:
        raise ClientException("A host of this name exists.") from error
    if row is None:
        raise ClientException("There is no such team.")
    return show_host(row)


@get("/bench/samples/")
async def list_samples(
    request: Request[Any, Any, Any], state: State, host: int, cursor: str
) -> SamplePage:
    try:
        position = read_cursor(cursor)
    except ValueError as error:
        raise NotFoundException("Invalid cursor.") from error
    rows = await state.pool.fetch(sql.SAMPLES, host, position, PAGE_SIZE + 1)
    results = [Sample(*row) for row in rows[:PAGE_SIZE]]
    address = f"http://{request.headers['host']}/bench/samples/"
    links = cursor_links(address, host, rows[:PAGE_SIZE], has_next=len(rows) > PAGE_SIZE)
    return SamplePage(links["next"], links["previous"], results)


@post("/bench/samples/")
async def ingest(data: list[NewSample], state: State) -> dict[str, int]:
    records = [(one.host, one.at, one.cpu, one.memory_bytes) for one in data]
    try:
        await state.pool.copy_records_to_table(
            "bench_sample", records=records, columns=["host_id", "at", "cpu", "memory_bytes"]
        )
    except asyncpg.ForeignKeyViolationError as error:
        raise ClientException("There is no such host.") from error
    return {"stored": len(records)}


class Authentication(AbstractAuthenticationMiddleware):
    async def authenticate_request(
        self, connection: ASGIConnection[Any, Any, Any, Any]
    ) -> AuthenticationResult:
        header = connection.headers.get("authorization")
        caller = await find_caller(connection.app.state.pool, header)
        if caller is None:
            raise NotAuthorizedException
        return AuthenticationResult(user=caller, auth=header)


def require_scope(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    if not connection.user.may(connection.scope["method"]):
        raise PermissionDeniedException


rate_limit = RateLimitConfig(
    ("minute", LIMIT), identifier_for_request=lambda request: str(request.user.id)
)

app = Litestar(
    [empty, list_hosts, retrieve_host, create_host, list_samples, ingest],
    lifespan=[lifespan],
    openapi_config=None,
    middleware=[DefineMiddleware(Authentication), rate_limit.middleware] if HAS_AUTH else [],
    guards=[require_scope] if HAS_AUTH else [],
)
