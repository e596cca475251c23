"""django-ninja: schemas, asynchronous operations, Django's asynchronous ORM."""

from datetime import datetime
from typing import Annotated, Any

from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.urls import path
from ninja import Field, NinjaAPI, Schema
from ninja.errors import HttpError
from ninja.security import HttpBearer
from ninja.throttling import AuthRateThrottle
from pydantic import AwareDatetime

from load.bench.stacks.contract import HAS_AUTH
from load.bench.stacks.links import cursor_links, page_links, read_cursor
from load.bench.stacks.tables.models import Host, Sample, Team, Token

PAGE_SIZE = 50


class TeamSchema(Schema):
    id: int
    name: str


class HostSchema(Schema):
    id: int
    name: str
    cpus: float
    memory_bytes: int
    team: TeamSchema
    version: int
    labels: dict[str, str]
    created_at: datetime


class NewHost(Schema):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    cpus: Annotated[float, Field(ge=0)]
    memory_bytes: Annotated[int, Field(ge=0, lt=2**63)]
    team_id: int
    labels: dict[str, Annotated[str, Field(max_length=100)]] = {}


class HostPage(Schema):
    count: int
    next: str | None
    previous: str | None
    results: list[HostSchema]


class SampleSchema(Schema):
    id: int
    host: int = Field(alias="host_id")
    at: datetime
    cpu: float
    memory_bytes: int


class NewSample(Schema):
    host: int
    at: AwareDatetime
    cpu: Annotated[float, Field(ge=0)]
    memory_bytes: Annotated[int, Field(ge=0, lt=2**63)]


class SamplePage(Schema):
    next: str | None
    previous: str | None
    results: list[SampleSchema]


class Stored(Schema):
    stored: int


class Bearer(HttpBearer):
    async def authenticate(self, request: HttpRequest, token: str) -> Any:
        found = await Token.objects.select_related("user").filter(key=token).afirst()
        if found is None or not found.user.is_active:
            return None
        if not found.may(request.method or ""):
            raise HttpError(403, "The scope is missing.")
        return found


api = NinjaAPI(auth=Bearer(), throttle=[AuthRateThrottle("1000000/m")]) if HAS_AUTH else NinjaAPI()


@api.get("/empty/")
async def empty(request: HttpRequest) -> dict[str, str]:
    return {}


@api.get("/hosts/", response=HostPage)
async def list_hosts(request: HttpRequest, page: int = 1, page_size: int = PAGE_SIZE) -> Any:
    first = (page - 1) * page_size
    count = await Host.objects.acount()
    queryset = Host.objects.select_related("team").order_by("id")[first : first + page_size]
    address = f"http://{request.get_host()}/bench/hosts/"
    links = page_links(address, page, page_size, count, request.GET)
    return {"count": count, **links, "results": [host async for host in queryset]}


@api.get("/hosts/{int:pk}/", response=HostSchema)
async def retrieve_host(request: HttpRequest, response: HttpResponse, pk: int) -> Any:
    known = request.headers.get("If-None-Match")
    if known:
        version = await Host.objects.filter(pk=pk).values_list("version", flat=True).afirst()
        if known == f'"{version}"':
            return HttpResponse(status=304, headers={"ETag": known})
    host = await Host.objects.select_related("team").filter(pk=pk).afirst()
    if host is None:
        raise HttpError(404, "Not found.")
    response["ETag"] = f'"{host.version}"'
    return host


@api.post("/hosts/", response={201: HostSchema})
async def create_host(request: HttpRequest, new: NewHost) -> Any:
    team = await Team.objects.filter(pk=new.team_id).afirst()
    if team is None:
        raise HttpError(400, "There is no such team.")
    try:
        host = await Host.objects.acreate(
            name=new.name,
            cpus=new.cpus,
            memory_bytes=new.memory_bytes,
            team=team,
            labels=new.labels,
        )
    except IntegrityError as error:
        raise HttpError(400, "A host of this name exists.") from error
    return 201, host


@api.get("/samples/", response=SamplePage)
async def list_samples(request: HttpRequest, host: int, cursor: str) -> Any:
    try:
        position = read_cursor(cursor)
    except ValueError as error:
        raise HttpError(404, "Invalid cursor.") from error
    queryset = Sample.objects.filter(host_id=host, at__lt=position).order_by("-at")
    samples = [sample async for sample in queryset[: PAGE_SIZE + 1]]
    results = samples[:PAGE_SIZE]
    ends = [{"at": one.at} for one in (results[0], results[-1])] if results else []
    address = f"http://{request.get_host()}/bench/samples/"
    return {
        **cursor_links(address, host, ends, has_next=len(samples) > PAGE_SIZE),
        "results": results,
    }


@api.post("/samples/", response={201: Stored})
async def ingest(request: HttpRequest, samples: list[NewSample]) -> Any:
    try:
        await Sample.objects.abulk_create(
            Sample(host_id=one.host, at=one.at, cpu=one.cpu, memory_bytes=one.memory_bytes)
            for one in samples
        )
    except IntegrityError as error:
        raise HttpError(400, "There is no such host.") from error
    return 201, {"stored": len(samples)}


urlpatterns = [path("bench/", api.urls)]
