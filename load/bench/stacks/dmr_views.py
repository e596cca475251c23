"""django-modern-rest: asynchronous controllers, msgspec structures, Django's asynchronous ORM."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Self

from django.db import IntegrityError
from django.http import HttpResponse
from dmr import APIError, Body, Controller, HeaderSpec, Path, Query, ResponseSpec, modify, validate
from dmr.plugins.msgspec import MsgspecSerializer
from dmr.routing import Router, path
from dmr.security.base import AsyncAuth
from dmr.throttling import AsyncThrottle, Rate
from dmr.throttling.cache_keys import UserPk
from msgspec import Meta, Struct

from load.bench.stacks.contract import HAS_AUTH, LIMIT
from load.bench.stacks.links import cursor_links, page_links, read_cursor
from load.bench.stacks.tables.models import Host, Sample, Team, Token

PAGE_SIZE = 50
Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Amount = Annotated[float, Meta(ge=0)]


class TeamModel(Struct):
    id: int
    name: str


class HostModel(Struct):
    id: int
    name: str
    cpus: float
    memory_bytes: int
    team: TeamModel
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
    results: list[HostModel]


class SampleModel(Struct):
    id: int
    host: int
    at: datetime
    cpu: float
    memory_bytes: int


class NewSample(Struct):
    host: int
    at: Annotated[datetime, Meta(tz=True)]
    cpu: Amount
    memory_bytes: Size


class SamplePage(Struct):
    next: str | None
    previous: str | None
    results: list[SampleModel]


class PagesQuery(Struct):
    page: int = 1
    page_size: int = PAGE_SIZE


class SamplesQuery(Struct):
    host: int
    cursor: str
    ordering: str = "-at"


class HostPath(Struct):
    pk: int


class BearerAuth(AsyncAuth):
    """A token's user, as the documentation says to write one's own."""

    __slots__ = ()

    @property
    def www_authenticate_challenge(self) -> str:
        return "Bearer"

    @property
    def security_schemes(self) -> dict[str, Any]:
        return {}

    @property
    def security_requirement(self) -> dict[str, list[str]]:
        return {}

    async def __call__(self, endpoint: Any, controller: Any) -> Self | None:
        request = controller.request
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            return None
        token = await Token.objects.select_related("user").filter(key=key).afirst()
        if token is None or not token.user.is_active:
            return None
        if not token.may(request.method):
            raise APIError({"detail": "The scope is missing."}, status_code=HTTPStatus.FORBIDDEN)
        request.user = token.user
        return self


class Base(Controller[MsgspecSerializer]):
    auth = (BearerAuth(),) if HAS_AUTH else ()
    throttling = (AsyncThrottle(LIMIT, Rate.minute, cache_key=UserPk()),) if HAS_AUTH else ()


def refuse(text: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> APIError[Any]:
    return APIError({"detail": text}, status_code=status)


def show_host(host: Host) -> HostModel:
    return HostModel(
        host.pk,
        host.name,
        host.cpus,
        host.memory_bytes,
        TeamModel(host.team.pk, host.team.name),
        host.version,
        host.labels,
        host.created_at,
    )


class EmptyController(Base):
    async def get(self) -> dict[str, str]:
        return {}


class HostsController(Base):
    async def get(self, parsed_query: Query[PagesQuery]) -> HostPage:
        page, size = parsed_query.page, parsed_query.page_size
        count = await Host.objects.acount()
        queryset = Host.objects.select_related("team").order_by("id")
        hosts = [show_host(host) async for host in queryset[(page - 1) * size : page * size]]
        address = f"http://{self.request.get_host()}/bench/hosts/"
        links = page_links(address, page, size, count, self.request.GET)
        return HostPage(count, links["next"], links["previous"], hosts)

    async def post(self, parsed_body: Body[NewHost]) -> HostModel:
        team = await Team.objects.filter(pk=parsed_body.team_id).afirst()
        if team is None:
            raise refuse("There is no such team.")
        try:
            host = await Host.objects.acreate(
                name=parsed_body.name,
                cpus=parsed_body.cpus,
                memory_bytes=parsed_body.memory_bytes,
                team=team,
                labels=parsed_body.labels,
            )
        except IntegrityError as error:
            raise refuse("A host of this name exists.") from error
        return show_host(host)


class HostController(Base):
    @validate(
        ResponseSpec(HostModel, status_code=HTTPStatus.OK, headers={"ETag": HeaderSpec()}),
        ResponseSpec(None, status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": HeaderSpec()}),
    )
    async def get(self, parsed_path: Path[HostPath]) -> HttpResponse:
        known = self.request.headers.get("If-None-Match")
        if known:
            versions = Host.objects.filter(pk=parsed_path.pk).values_list("version", flat=True)
            if known == f'"{await versions.afirst()}"':
                return HttpResponse(status=304, headers={"ETag": known})
        host = await Host.objects.select_related("team").filter(pk=parsed_path.pk).afirst()
        if host is None:
            raise refuse("Not found.", HTTPStatus.NOT_FOUND)
        return self.to_response(
            show_host(host), status_code=HTTPStatus.OK, headers={"ETag": f'"{host.version}"'}
        )


class SamplesController(Base):
    async def get(self, parsed_query: Query[SamplesQuery]) -> SamplePage:
        try:
            position = read_cursor(parsed_query.cursor)
        except ValueError as error:
            raise refuse("Invalid cursor.", HTTPStatus.NOT_FOUND) from error
        queryset = Sample.objects.filter(host_id=parsed_query.host, at__lt=position)
        samples = [one async for one in queryset.order_by("-at")[: PAGE_SIZE + 1]]
        results = [
            SampleModel(one.pk, one.host_id, one.at, one.cpu, one.memory_bytes)
            for one in samples[:PAGE_SIZE]
        ]
        ends = [{"at": one.at} for one in (results[0], results[-1])] if results else []
        address = f"http://{self.request.get_host()}/bench/samples/"
        has_next = len(samples) > PAGE_SIZE
        links = cursor_links(address, parsed_query.host, ends, has_next=has_next)
        return SamplePage(links["next"], links["previous"], results)

    @modify(status_code=HTTPStatus.CREATED)
    async def post(self, parsed_body: Body[list[NewSample]]) -> dict[str, int]:
        try:
            await Sample.objects.abulk_create(
                Sample(host_id=one.host, at=one.at, cpu=one.cpu, memory_bytes=one.memory_bytes)
                for one in parsed_body
            )
        except IntegrityError as error:
            raise refuse("There is no such host.") from error
        return {"stored": len(parsed_body)}


router = Router(
    "bench/",
    [
        path("empty/", EmptyController.as_view(), name="empty"),
        path("hosts/", HostsController.as_view(), name="hosts"),
        path("hosts/<int:pk>/", HostController.as_view(), name="host"),
        path("samples/", SamplesController.as_view(), name="samples"),
    ],
)
urlpatterns = [router.to_urlpatterns(namespace="bench")]
