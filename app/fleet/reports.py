"""The reports of the fleet, under /api/v1/reports/."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from django.utils import timezone

from app.fleet import stowage_plan
from app.fleet.density import Report, Resource, assess_host
from app.fleet.density_queries import build_host, fetch_hosts, fetch_known
from app.fleet.parameters import Reader, read_window
from app.fleet.policy import DEFAULT, Policy
from app.fleet.turns import in_turns
from app.rest.exceptions import ValidationError
from app.rest.renderers import BaseRenderer, JSONRenderer
from app.rest.request import Request
from app.rest.response import Response
from app.rest.views import APIView

PARAMETERS = ("host", "label", "window_hours", "resource", "detail", "format")

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
    window_hours: float
    resource: Resource
    with_containers: bool

    @classmethod
    def read(cls, query: Any, policy: Policy = DEFAULT) -> "Parameters":
        """Raises ValidationError that names every parameter that is wrong, and the remedy."""
        reader = Reader(query, PARAMETERS)
        hosts = reader.names("host")
        labels = reader.labels()
        window = reader.take("window_hours", read_window, query.get("window_hours"), policy)
        resource = reader.choice("resource", tuple(Resource), "memory")
        detail = reader.choice("detail", ("hosts", "containers"), "hosts")
        reader.check()
        return cls(hosts, labels, window, Resource(resource), detail == "containers")


class DensityReportView(APIView):
    """
    How full the fleet is: packing, usage, overcommit and slack of cpu and memory, for each host
    and for all, with everything that led to it.

    `?host=` and `?label=key=value` choose hosts, `?window_hours=` the span that percentiles look
    at, `?detail=containers` adds every container. `?format=svg` draws it, sized by
    `?resource=memory` or `cpu`.
    """

    picture_format = "svg"
    renderer_classes = [
        ReportJSONRenderer,
        *(one for one in APIView.renderer_classes if not issubclass(one, JSONRenderer)),
        SVGRenderer,
    ]

    async def get(self, request: Request, **kwargs: Any) -> Response:
        parameters = Parameters.read(request.query_params)
        report = await _assess(parameters)
        renderer = request.accepted_renderer
        if isinstance(renderer, SVGRenderer):
            drawn = stowage_plan.parts(report, parameters.resource)
            return Response(b"".join([part.encode() async for part in in_turns(drawn)]))
        parts = report.parts(with_containers=parameters.with_containers)
        if isinstance(renderer, ReportJSONRenderer) and _is_compact(request):
            encoded = [orjson.dumps(part) async for part in in_turns(parts)]
            return Response(b'%b,"hosts":[%b]}' % (encoded[0][:-1], b",".join(encoded[1:])))
        answer, *hosts = [part async for part in in_turns(parts)]
        return Response({**answer, "hosts": hosts})

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(getattr(response, "accepted_renderer", None), SVGRenderer):
            for name, value in PICTURE_HEADERS.items():
                response[name] = value
        return response


def _is_compact(request: Request) -> bool:
    """False when the client asks for indented JSON, which the renderer writes."""
    return "indent" not in (request.accepted_media_type or "")


async def _assess(parameters: Parameters) -> Report:
    """Raises ValidationError when a host that is asked for does not exist."""
    at = timezone.now()
    rows = await fetch_hosts(
        at=at,
        window_hours=parameters.window_hours,
        hosts=parameters.hosts,
        labels=parameters.labels,
    )
    found = {value for row in rows for value in (row["name"], str(row["id"]))}
    if missing := set(parameters.hosts) - found:
        missing -= await fetch_known(missing)
    if missing:
        names = ", ".join(sorted(missing))
        raise ValidationError(
            {"host": [f"There is no host {names}. See hosts/ for those there are."]}
        )
    hosts = [assess_host(build_host(row), at=at) async for row in in_turns(rows)]
    return Report(at, parameters.window_hours, DEFAULT, tuple(hosts))
