"""What the OpenAPI schema says of placements. Imported by app.rest.schemas, like `schemas`."""

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema

from app.fleet.schema_parts import (
    MOMENT,
    NON_NEGATIVE,
    NUMBER,
    OVERRIDES,
    POLICY_SOURCES,
    STRING,
    ViewExtension,
    array_of,
    object_of,
)

AMOUNTS = {"cpus": NUMBER, "memory_bytes": NON_NEGATIVE}
NAMED = {"id": {"type": "integer"}, "name": STRING}
WARNINGS = array_of(
    object_of(
        {
            "code": {"enum": ["preference_not_kept", "required_is_broken"]},
            "message": STRING,
        }
    )
)
POLICY = {"type": "object", "description": "Every constant, and how things were counted."}
SIMULATION = object_of(
    {
        "at": MOMENT,
        "policy": POLICY,
        "policy_sources": POLICY_SOURCES,
        "overrides": OVERRIDES,
        "shape": object_of(AMOUNTS),
        "count": NON_NEGATIVE,
        "fits": {"type": "boolean"},
        "placed": NON_NEGATIVE,
        "headroom": NON_NEGATIVE | {"description": "How many of the shape fit, host by host."},
        "pooled": NON_NEGATIVE | {"description": "How many would fit, were all hosts one."},
        "fragmentation": {"type": ["number", "null"]},
        "hosts": array_of(
            object_of(
                {
                    **NAMED,
                    "placed": NON_NEGATIVE,
                    "headroom": NON_NEGATIVE,
                    "stopped_by": STRING | {"description": "What stops the next one."},
                    "free": object_of(
                        {"cpus": {"type": "number"}, "memory_bytes": {"type": "integer"}}
                    ),
                }
            )
        ),
        "warnings": WARNINGS,
    }
)
PLAN = object_of(
    {
        "at": MOMENT,
        "policy": POLICY,
        "policy_sources": POLICY_SOURCES,
        "overrides": OVERRIDES,
        "method": {"enum": ["emptying", "packing anew"]},
        "hosts": object_of(
            {
                "before": NON_NEGATIVE,
                "after": NON_NEGATIVE,
                "minimum": NON_NEGATIVE | {"description": "No plan needs fewer."},
                "freed": array_of(object_of(NAMED)),
                "closed": array_of(object_of({**NAMED, "reason": STRING})),
            }
        ),
        "moves": array_of(
            object_of(
                {
                    "step": NON_NEGATIVE,
                    "container": {"type": "integer"},
                    "name": STRING,
                    "from": object_of(NAMED),
                    "to": object_of(NAMED),
                    "frees": {"type": "boolean", "description": "It was the host's last."},
                    **AMOUNTS,
                }
            )
        ),
        "pinned": NON_NEGATIVE,
        "flagged": array_of(object_of({**NAMED, "flags": array_of(STRING)})),
        "warnings": WARNINGS,
    }
)


class SimulateExtension(ViewExtension):
    target_class = "app.fleet.placement_views.SimulateView"

    def mark(self, view: Any) -> Any:
        return extend_schema(
            request=view.serializer_class,
            responses={200: OpenApiResponse(SIMULATION, description="Where it would go.")},
        )(view)


class RepackExtension(ViewExtension):
    target_class = "app.fleet.placement_views.RepackView"

    def mark(self, view: Any) -> Any:
        return extend_schema(
            request=view.serializer_class,
            responses={
                (200, "application/json"): OpenApiResponse(PLAN, description="The plan."),
                (200, "image/svg+xml"): STRING,
            },
        )(view)
