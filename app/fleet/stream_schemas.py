"""What the OpenAPI schema says of lists that can be watched."""

from typing import Any

from drf_spectacular.utils import (
    OpenApiParameter,
    extend_schema,
    extend_schema_view,
)

from app.fleet.watching import WatchedMixin

LAST_EVENT_ID = OpenApiParameter(
    "Last-Event-ID",
    {"type": "string", "pattern": "^[0-9]{1,18}$"},
    OpenApiParameter.HEADER,
    description="Of a stream that was cut off: go on after this position.",
)
WATCH = OpenApiParameter(
    "watch",
    {"type": "string", "enum": ["true", "false", "1", "0"]},
    description="A stream of what changes, as server-sent events, in place of the list.",
)
AFTER = OpenApiParameter(
    "after",
    {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
    description="Of a stream: what happened after this position. Without, from now on.",
)
POSITION = OpenApiParameter(
    "Stowage-Position",
    int,
    OpenApiParameter.HEADER,
    response=[200],
    description="Watch from here and no change is missed.",
)


def watched(view: Any) -> Any:
    """Marks the list of a viewset with `WatchedMixin`; any other stays as it is."""
    if not issubclass(view, WatchedMixin):
        return view
    parameters = [WATCH, POSITION, LAST_EVENT_ID]
    if "after" not in view.filterset_class.base_filters:
        parameters.append(AFTER)
    return extend_schema_view(list=extend_schema(parameters=parameters))(view)
