"""What the OpenAPI schema says of the reports. Imported by app.rest.schemas, like `schemas`."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from app.fleet.advice import ORDERINGS
from app.fleet.rightsizing import PERCENTILES, Reason, State
from app.fleet.schema_parts import (
    MOMENT,
    NON_NEGATIVE,
    NUMBER,
    OVERRIDES,
    POLICY_SOURCES,
    STRING,
    Schema,
    ViewExtension,
    array_of,
    object_of,
)
from app.rest.schemas import Whole

BOUNDS: Schema = {"type": "object", "description": "What requests and reports may say."}
DENSITY: Schema = {"type": "object", "description": "Packing, usage, overcommit and slack."}
FRAGMENTATION = object_of(
    {
        "shape": object_of({"cpus": NUMBER, "memory_bytes": NUMBER}),
        "headroom": NON_NEGATIVE | {"description": "How many of the shape fit, host by host."},
        "pooled": NON_NEGATIVE | {"description": "How many would fit, were all hosts one."},
        "fragmentation": {"type": ["number", "null"]},
        "reason": {"type": ["string", "null"]},
    }
)
GROUP = object_of(
    {
        "value": {"type": ["string", "null"]},
        "hosts": array_of(STRING),
        "stale_hosts": array_of(STRING),
        "containers_counted": NON_NEGATIVE,
        "cpu": DENSITY,
        "memory": DENSITY,
        "fragmentation": FRAGMENTATION,
    }
)
REPORT = object_of(
    {
        "at": MOMENT,
        "window": object_of({"hours": NUMBER, "start": MOMENT, "end": MOMENT}),
        "policy": {"type": "object", "description": "Every constant of the formulas."},
        "policy_sources": POLICY_SOURCES,
        "overrides": OVERRIDES,
        "bounds": BOUNDS,
        "fleet": object_of(
            {
                "hosts": NON_NEGATIVE,
                "stale_hosts": array_of(STRING),
                "containers_counted": NON_NEGATIVE,
                "reason": {"type": ["string", "null"]},
                "cpu": DENSITY,
                "memory": DENSITY,
                "fragmentation": FRAGMENTATION,
            }
        ),
        "group_by": STRING,
        "groups": array_of(GROUP),
        "hosts": array_of({"type": "object"}),
    },
    *("group_by", "groups"),
)
OVER_TIME = object_of(
    {
        "since": MOMENT,
        "until": MOMENT,
        "points": array_of(
            object_of(
                {
                    "at": MOMENT,
                    "hosts": NON_NEGATIVE,
                    "containers": NON_NEGATIVE,
                    "cpu": DENSITY,
                    "memory": DENSITY,
                }
            )
        ),
    },
    description="With `over`: the ratios, hour by hour.",
)
REPORT_PARAMETERS = [
    OpenApiParameter("host", str, many=True, description="A host's name or id."),
    OpenApiParameter("label", str, many=True, description="`key=value` of hosts."),
    OpenApiParameter(
        "window_hours", float, description="The span that percentiles look at, in hours."
    ),
    OpenApiParameter(
        "resource", str, enum=["memory", "cpu"], description="What sizes the picture."
    ),
    OpenApiParameter("detail", str, enum=["hosts", "containers"]),
    OpenApiParameter("group_by", str, description="`label:key`: sums of hosts by a label."),
    OpenApiParameter("shape_cpus", float, description="What fragmentation is told for."),
    OpenApiParameter("shape_memory_bytes", float, description="What fragmentation is told for."),
    OpenApiParameter(
        "policy",
        str,
        description="By whose constants: `team:ID`, `workload:ID` or `workload:NAME`.",
    ),
    OpenApiParameter("over", str, description="`7d` or `36h`: over time, in place of the report."),
]


class DensityExtension(ViewExtension):
    target_class = "app.fleet.reports.DensityReportView"

    def mark(self, view: Any) -> Any:
        return extend_schema(
            parameters=REPORT_PARAMETERS,
            responses={
                (200, "application/json"): OpenApiResponse(
                    Whole({"anyOf": [REPORT, OVER_TIME]}), description="The report."
                ),
                (200, "image/svg+xml"): STRING,
            },
        )(view)


NULLABLE: Schema = {"type": ["number", "null"]}
AMOUNTS = object_of({"reservation": NULLABLE, "limit": NULLABLE})
MAYBE_AMOUNTS: Schema = {"anyOf": [AMOUNTS, {"type": "null"}]}
MAYBE_MOMENT: Schema = {"type": ["string", "null"], "format": "date-time"}
SIZING: Schema = {
    "state": {"enum": [str(state) for state in State]},
    "reason": {"enum": [str(reason) for reason in Reason]},
    "message": STRING,
    "current": AMOUNTS,
    "target": MAYBE_AMOUNTS | {"description": "What the formulas give."},
    "recommended": MAYBE_AMOUNTS | {"description": "What to set; null: too little is known."},
    "saving": NULLABLE,
    "percentiles": object_of(dict.fromkeys(PERCENTILES, NULLABLE)),
    "peak": NULLABLE,
}
OOM = object_of({"kills": NON_NEGATIVE, "peak": NULLABLE, "last_at": MAYBE_MOMENT})
SAVING = object_of({"cpu": NULLABLE, "memory": NULLABLE})
ADVICE = object_of(
    {
        "id": {"type": "integer"},
        "name": STRING,
        "team": {"type": ["integer", "null"]},
        "replicas": NON_NEGATIVE,
        "containers": NON_NEGATIVE,
        "host": STRING,
        "workload": {"type": ["string", "null"]},
        "state_of_container": STRING,
        "overrides": {"type": "object", "description": "Constants that are not the defaults."},
        "state": {"enum": [str(state) for state in State]},
        "confidence": NUMBER,
        "samples": NON_NEGATIVE,
        "first_at": MAYBE_MOMENT,
        "last_at": MAYBE_MOMENT,
        "cpu": object_of(SIZING),
        "memory": object_of({**SIZING, "startup_peak": NULLABLE, "oom": OOM}),
        "saving": SAVING,
    },
    *("replicas", "containers", "host", "workload", "state_of_container"),
)
LINK: Schema = {"type": ["string", "null"], "format": "uri"}
RIGHTSIZING = object_of(
    {
        "at": MOMENT,
        "by": {"enum": ["workload", "container"]},
        "policy": {"type": "object", "description": "Every constant of the formulas."},
        "bounds": BOUNDS,
        "count": NON_NEGATIVE,
        "next": LINK,
        "previous": LINK,
        "totals": object_of({"states": {"type": "object"}, "saving": SAVING}),
        "results": array_of(ADVICE),
    }
)
RIGHTSIZING_PARAMETERS = [
    OpenApiParameter("by", str, enum=["workload", "container"]),
    OpenApiParameter("host", str, many=True, description="A host's name or id."),
    OpenApiParameter("workload", str, many=True, description="A workload's name or id."),
    OpenApiParameter("team", int, many=True, description="A team's id."),
    OpenApiParameter("label", str, many=True, description="`key=value` of what is told."),
    OpenApiParameter("state", str, many=True, enum=[str(state) for state in State]),
    OpenApiParameter("ordering", str, enum=list(ORDERINGS)),
    OpenApiParameter("page", {"type": "integer", "minimum": 1}),
    OpenApiParameter("page_size", {"type": "integer", "minimum": 1}, description="At most 200."),
]


class RightsizingExtension(ViewExtension):
    target_class = "app.fleet.rightsizing_report.RightsizingReportView"

    def mark(self, view: Any) -> Any:
        return extend_schema(
            parameters=RIGHTSIZING_PARAMETERS,
            responses={
                (200, "application/json"): OpenApiResponse(RIGHTSIZING, description="The report."),
                (200, "text/csv"): STRING,
            },
        )(view)
