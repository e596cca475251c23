"""The words that the descriptions of the fleet's API are made of."""

from typing import Any

from drf_spectacular.extensions import OpenApiViewExtension

from app.fleet.stream_schemas import watched

Schema = dict[str, Any]

MAX_ID = 2**63 - 1
NON_NEGATIVE: Schema = {"type": "integer", "minimum": 0}
MOMENT: Schema = {"type": "string", "format": "date-time"}
STRING: Schema = {"type": "string"}


NUMBER: Schema = {"type": "number", "minimum": 0}


def object_of(properties: Schema, *optional: str, **more: Any) -> Schema:
    """An object with these properties, all there but the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, **more}


def array_of(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


OVERRIDES = array_of(
    object_of(
        {
            "workload": {"type": "integer"},
            "constants": {
                "type": "object",
                "additionalProperties": object_of(
                    {"value": NUMBER, "source": {"enum": ["team", "workload"]}}
                ),
            },
        }
    ),
    description="Constants of workloads' and teams' own that containers count with.",
)
POLICY_SOURCES: Schema = {
    "type": "object",
    "additionalProperties": {"enum": ["team", "workload", "request"]},
    "description": "Whose those constants of `policy` are that aren't the defaults.",
}


class ViewExtension(OpenApiViewExtension):
    """Marks the view of `target_class`."""

    target_class = ""

    def mark(self, view: Any) -> Any:
        raise NotImplementedError

    def view_replacement(self) -> Any:
        view = type(self.target)(
            self.target.__name__, (self.target,), {"__doc__": self.target.__doc__}
        )
        return watched(self.mark(view))
