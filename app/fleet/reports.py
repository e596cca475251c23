"""The reports of the fleet, under /api/v1/reports/."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any

import orjson
from django.utils import timezone

from app.fleet import partitions, stowage_plan
from app.fleet.density import Report, Resource, assess_host
from app.fleet.density_charts import draw_density_history
from app.fleet.density_history import DensityHistory, fetch_density_history
from app.fleet.density_queries import build_host, fetch_hosts, fetch_known
from app.fleet.models import MAX_BYTES, MAX_CPUS
from app.fleet.parameters import Reader, read_asker, read_optional, read_span, read_window
from app.fleet.policies import Asker, Policies, fetch_effective, fetch_own, fetch_policies
from app.fleet.policy import COUNTED, Effective, for_question
from app.fleet.turns import in_turns
from app.rest.exceptions import ValidationError
from app.rest.renderers import BaseRenderer, JSONRenderer
from app.rest.request import Request
from app.rest.response import Response
from app.rest.sharing import Rounds
from app.rest.views import APIView

PARAMETERS = (
    "host",
    "label",
    "window_hours",
    "resource",
    "detail",
    "group_by",
    "shape_cpus",
    "shape_memory_bytes",
    "policy",
    "over",
    "format",
)

PICTURE_HEADERS = {
    # The picture needs its own style and nothing else, and nothing else is allowed.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "Cache-Control": "private, no-cache",
}


class ReportJSONRenderer(JSONRenderer):
    """JSON; a report of a large fleet comes encoded already, done in turns."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        if isinstance(data, bytes | bytearray):
            return bytes(data)
        rendered: bytes = super().render(data, accepted_media_type, renderer_context)
        return rendered


class SVGRenderer(BaseRenderer):
    """A picture as it was drawn; an error becomes a picture that says what is wrong."""

    media_type = "image/svg+xml"
    format = "svg"
    charset = "utf-8"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        if isinstance(data, bytes):
            return data
        return stowage_plan.draw_message("No picture", _sentence(data)).encode()


def _sentence(errors: Any) -> str:
    """The data of an error response as one line."""
    if isinstance(errors, Mapping):
        return "; ".join(
            _sentence(error) if name == "detail" else f"{name}: {_sentence(error)}"
            for name, error in errors.items()
        )
    if isinstance(errors, list | tuple):
        return " ".join(_sentence(error) for error in errors)
    return str(errors)


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a request asks of the density report."""

    hosts: tuple[str, ...]
    labels: dict[str, str]
    window_hours: float | None
    resource: Resource
    with_containers: bool
    group_by: str | None
    """The key of a label of hosts."""
    shape_cpus: float | None
    shape_memory_bytes: float | None
    asker: Asker | None
    """By whose constants it is answered."""
    over: timedelta | None
    """How far back density over time is asked for, in place of the report."""

    @classmethod
    def read(cls, query: Any) -> "Parameters":
        """Raises ValidationError that names every parameter that is wrong, and the remedy."""
        reader = Reader(query, PARAMETERS)
        hosts = reader.names("host")
        labels = reader.labels()
        window = reader.take("window_hours", read_window, query.get("window_hours"))
        resource = reader.choice("resource", tuple(Resource), "memory")
        detail = reader.choice("detail", ("hosts", "containers"), "hosts")
        group_by = reader.take("group_by", _read_group, query.get("group_by"))
        shape_cpus, shape_memory_bytes = (
            reader.take(name, read_optional, query.get(name), lowest, highest)
            for name, lowest, highest in (
                ("shape_cpus", 0.001, MAX_CPUS),
                ("shape_memory_bytes", 1, MAX_BYTES),
            )
        )
        asker = reader.take("policy", read_asker, query.get("policy"))
        over = reader.take("over", read_span, query.get("over"), partitions.keep_hours_days())
        reader.check()
        return cls(
            hosts,
            labels,
            window,
            Resource(resource),
            detail == "containers",
            group_by,
            shape_cpus,
            shape_memory_bytes,
            asker,
            over,
        )


def _read_group(value: str | None) -> str | None:
    if value is None:
        return None
    kind, colon, key = value.partition(":")
    if kind != "label" or not colon or not key or "\0" in key:
        raise ValueError("Write ?group_by=label:key, as group_by=label:zone.")
    return key


class DensityReportView(APIView):
    """
    How full the fleet is: packing, usage, overcommit and slack of cpu and memory, for each host
    and for all, with everything that led to it.

    `?host=` and `?label=key=value` choose hosts, `?window_hours=` the span that percentiles look
    at, `?detail=containers` adds every container, `?group_by=label:key` sums of hosts by a label.
    Fragmentation is told for a container of `?shape_cpus=` and `?shape_memory_bytes=`.
    `?policy=team:3` or `workload:12` asks by the constants of that team or workload.
    `?format=svg` draws it, sized by `?resource=memory` or `cpu`.

    `?over=7d` (or `36h`) tells the ratios hour by hour instead; `?format=svg` draws those.
    """

    picture_format = "svg"
    renderer_classes = [
        ReportJSONRenderer,
        *(one for one in APIView.renderer_classes if not issubclass(one, JSONRenderer)),
        SVGRenderer,
    ]

    async def get(self, request: Request, **kwargs: Any) -> Response:
        parameters = Parameters.read(request.query_params)
        renderer = request.accepted_renderer
        if parameters.over is not None:
            history = await _fetch_history(parameters, parameters.over)
            is_drawn = isinstance(renderer, SVGRenderer)
            return Response(
                draw_density_history(history).encode() if is_drawn else history.as_dict()
            )
        form = _form(renderer, request)
        make = partial(_make, parameters, form)
        if form is Form.DATA:  # a renderer may change it
            return Response(await make())
        return Response(await ROUNDS.get((repr(parameters), form), make))

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(getattr(response, "accepted_renderer", None), SVGRenderer):
            for name, value in PICTURE_HEADERS.items():
                response[name] = value
        return response


class Form(StrEnum):
    """How a report is made."""

    PICTURE = "picture"
    ENCODED = "encoded"
    DATA = "data"


ROUNDS: Rounds[Any] = Rounds()
"""Several who ask for the same report at once are told the same."""


def _form(renderer: Any, request: Request) -> Form:
    if isinstance(renderer, SVGRenderer):
        return Form.PICTURE
    is_encoded = isinstance(renderer, ReportJSONRenderer) and is_compact(request)
    return Form.ENCODED if is_encoded else Form.DATA


async def _make(parameters: Parameters, form: Form) -> Any:
    """The report as bytes, or as data for a renderer. Raises ValidationError."""
    report = await _assess(parameters)
    if form is Form.PICTURE:
        drawn = stowage_plan.parts(report, parameters.resource)
        return b"".join([part.encode() async for part in in_turns(drawn)])
    parts = report.parts(
        with_containers=parameters.with_containers,
        group_by=parameters.group_by,
    )
    if form is Form.ENCODED:
        encoded = [orjson.dumps(part) async for part in in_turns(parts)]
        return b'%b,"hosts":[%b]}' % (encoded[0][:-1], b",".join(encoded[1:]))
    answer, *hosts = [part async for part in in_turns(parts)]
    return {**answer, "hosts": hosts}


def is_compact(request: Request) -> bool:
    """False when the client asks for indented JSON, which the renderer writes."""
    return "indent" not in (request.accepted_media_type or "")


async def _assess(parameters: Parameters) -> Report:
    """Raises ValidationError when who or a host that is asked for does not exist."""
    at = timezone.now()
    policies = await fetch_policies()
    asked = await _asked(parameters, policies)
    own = await fetch_own(policies, COUNTED)
    rows = await fetch_hosts(
        at=at,
        window_hours=parameters.window_hours,
        hosts=parameters.hosts,
        labels=parameters.labels,
        own=own,
    )
    found = {value for row in rows for value in (row["name"], str(row["id"]))}
    await _check_hosts(set(parameters.hosts) - found)
    policy = asked.policy
    hosts = [
        assess_host(build_host(row), at=at, policy=policy, own=own) async for row in in_turns(rows)
    ]
    moments = [row["measured_at"] for row in rows if row["measured_at"]]
    measured_at = min(moments, default=None)
    return Report(
        at, policy.window_hours, policy, tuple(hosts), measured_at, sources=asked.sources, own=own
    )


async def _asked(parameters: Parameters, policies: Policies) -> Effective:
    """What holds for the question. Raises ValidationError."""
    try:
        effective = await fetch_effective(policies, parameters.asker)
    except ValueError as error:
        raise ValidationError({"policy": [str(error)]}) from None
    return for_question(
        effective,
        window_hours=parameters.window_hours,
        reference_cpus=parameters.shape_cpus,
        reference_memory_bytes=parameters.shape_memory_bytes,
    )


async def _fetch_history(parameters: Parameters, over: timedelta) -> DensityHistory:
    """Raises ValidationError when a host that is asked for does not exist."""
    await _check_hosts(set(parameters.hosts))
    until = timezone.now()
    return await fetch_density_history(
        since=until - over, until=until, hosts=parameters.hosts, labels=parameters.labels
    )


async def _check_hosts(names: set[str]) -> None:
    """Raises ValidationError unless each of these is the name or the id of a host."""
    missing = names - await fetch_known(names) if names else names
    if missing:
        listed = ", ".join(sorted(missing))
        raise ValidationError(
            {"host": [f"There is no host {listed}. See hosts/ for those there are."]}
        )
