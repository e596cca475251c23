"""FastAPI with SQLAlchemy's asynchronous ORM: a session for each request, models read from it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import ARRAY, JSON, BigInteger, DateTime, ForeignKey, Text, func, insert, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship

from load.bench.stacks.callers import Caller, Rates
from load.bench.stacks.contract import HAS_AUTH
from load.bench.stacks.links import cursor_links, page_links, read_cursor

PAGE_SIZE = 50
rates = Rates()


class Base(DeclarativeBase):
    type_annotation_map = {
        int: BigInteger,
        datetime: DateTime(timezone=True),
        dict[str, str]: JSON().with_variant(JSONB(), "postgresql"),
    }


class Team(Base):
    __tablename__ = "bench_team"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Host(Base):
    __tablename__ = "bench_host"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    cpus: Mapped[float]
    memory_bytes: Mapped[int]
    team_id: Mapped[int] = mapped_column(ForeignKey("bench_team.id"))
    version: Mapped[int] = mapped_column(default=1)
    labels: Mapped[dict[str, str]]
    created_at: Mapped[datetime]
    team: Mapped[Team] = relationship()


class Sample(Base):
    __tablename__ = "bench_sample"
    id: Mapped[int] = mapped_column(primary_key=True)
    host_id: Mapped[int] = mapped_column(ForeignKey("bench_host.id"))
    at: Mapped[datetime]
    cpu: Mapped[float]
    memory_bytes: Mapped[int]


class User(Base):
    __tablename__ = "bench_user"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    is_active: Mapped[bool]


class Token(Base):
    __tablename__ = "bench_token"
    key: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("bench_user.id"))
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    user: Mapped[User] = relationship()


class Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class ShownTeam(Shown):
    id: int
    name: str


class ShownHost(Shown):
    id: int
    name: str
    cpus: float
    memory_bytes: int
    team: ShownTeam
    version: int
    labels: dict[str, str]
    created_at: datetime


class NewHost(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    cpus: Annotated[float, Field(ge=0)]
    memory_bytes: Annotated[int, Field(ge=0, lt=2**63)]
    team_id: int
    labels: dict[str, Annotated[str, Field(max_length=100)]] = {}


class HostPage(Shown):
    count: int
    next: str | None
    previous: str | None
    results: list[ShownHost]


class ShownSample(Shown):
    id: int
    host: int = Field(validation_alias="host_id")
    at: datetime
    cpu: float
    memory_bytes: int


class NewSample(BaseModel):
    host: int
    at: AwareDatetime
    cpu: Annotated[float, Field(ge=0)]
    memory_bytes: Annotated[int, Field(ge=0, lt=2**63)]


class SamplePage(Shown):
    next: str | None
    previous: str | None
    results: list[ShownSample]


class Stored(BaseModel):
    stored: int


engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"),
    pool_size=10,
    max_overflow=0,
)
sessions = async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]


async def authorise(
    request: Request, session: Session, authorization: Annotated[str | None, Header()] = None
) -> None:
    scheme, _, key = (authorization or "").partition(" ")
    query = select(Token).options(joinedload(Token.user)).where(Token.key == key)
    token = await session.scalar(query) if scheme == "Bearer" else None
    if token is None or not token.user.is_active:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    caller = Caller(token.user.id, token.user.username, token.user.is_active, token.scopes)
    if not caller.may(request.method):
        raise HTTPException(403)
    if not rates.allow(caller.id):
        raise HTTPException(429)


app = FastAPI(lifespan=lifespan, dependencies=[Depends(authorise)] if HAS_AUTH else [])


@app.get("/bench/empty/")
async def empty() -> dict[str, str]:
    return {}


@app.get("/bench/hosts/", response_model=HostPage)
async def list_hosts(
    session: Session, request: Request, page: int = 1, page_size: int = PAGE_SIZE
) -> Any:
    count = await session.scalar(select(func.count()).select_from(Host))
    query = select(Host).options(joinedload(Host.team)).order_by(Host.id)
    hosts = await session.scalars(query.limit(page_size).offset((page - 1) * page_size))
    address = f"http://{request.headers['host']}/bench/hosts/"
    links = page_links(address, page, page_size, count or 0, request.query_params)
    return {"count": count, **links, "results": hosts.all()}


@app.get("/bench/hosts/{pk}/", response_model=ShownHost)
async def retrieve_host(
    pk: int,
    session: Session,
    response: Response,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Any:
    if if_none_match:
        version = await session.scalar(select(Host.version).where(Host.id == pk))
        if if_none_match == f'"{version}"':
            return Response(status_code=304, headers={"ETag": if_none_match})
    host = await session.scalar(select(Host).options(joinedload(Host.team)).where(Host.id == pk))
    if host is None:
        raise HTTPException(404)
    response.headers["ETag"] = f'"{host.version}"'
    return host


@app.post("/bench/hosts/", response_model=ShownHost, status_code=201)
async def create_host(new: NewHost, session: Session) -> Any:
    team = await session.get(Team, new.team_id)
    if team is None:
        raise HTTPException(400, {"team_id": ["There is no such team."]})
    host = Host(**new.model_dump(), created_at=datetime.now(UTC), team=team)
    session.add(host)
    try:
        await session.commit()
    except IntegrityError as error:
        raise HTTPException(400, {"name": ["A host of this name exists."]}) from error
    return host


@app.get("/bench/samples/", response_model=SamplePage)
async def list_samples(host: int, cursor: str, session: Session, request: Request) -> Any:
    try:
        position = read_cursor(cursor)
    except ValueError as error:
        raise HTTPException(404, "Invalid cursor.") from error
    query = select(Sample).where(Sample.host_id == host, Sample.at < position)
    found = await session.scalars(query.order_by(Sample.at.desc()).limit(PAGE_SIZE + 1))
    samples = found.all()
    results = samples[:PAGE_SIZE]
    address = f"http://{request.headers['host']}/bench/samples/"
    ends = [{"at": one.at} for one in (results[0], results[-1])] if results else []
    return {
        **cursor_links(address, host, ends, has_next=len(samples) > PAGE_SIZE),
        "results": results,
    }


@app.post("/bench/samples/", status_code=201)
async def ingest(samples: list[NewSample], session: Session) -> Stored:
    rows = [
        {"host_id": one.host, "at": one.at, "cpu": one.cpu, "memory_bytes": one.memory_bytes}
        for one in samples
    ]
    try:
        await session.execute(insert(Sample), rows)
        await session.commit()
    except IntegrityError as error:
        raise HTTPException(400, {"host": ["There is no such host."]}) from error
    return Stored(stored=len(rows))
