"""What the OpenAPI schema says of the fleet. Imported by app.rest.schemas when a schema is made."""

import re
from collections.abc import Callable
from typing import Any

from drf_spectacular.drainage import isolate_view_method
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiRequest,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_view,
)

from app.fleet import filters, placement_schemas, report_schemas, serializers, validation
from app.fleet.history import RESOLUTIONS
from app.fleet.ingest import MAX_SAMPLES
from app.fleet.labelling import LabelChangeSerializer
from app.fleet.models import MAX_BYTES, MAX_CPUS
from app.fleet.policy import OVERRIDABLE
from app.fleet.schema_parts import (
    MAX_ID,
    MOMENT,
    NON_NEGATIVE,
    NUMBER,
    STRING,
    Schema,
    ViewExtension,
    array_of,
    object_of,
)
from app.rest.schemas import Whole

__all__ = ["placement_schemas", "report_schemas"]  # their extensions are known once imported


def as_ecma(pattern: re.Pattern[str]) -> str:
    """A pattern of `validation` as JSON Schema reads it: anchored, without comments and spaces."""
    text = pattern.pattern
    if pattern.flags & re.VERBOSE:
        text = "".join(text.split())
    return "^" + text.removesuffix(r"\Z") + "$"


STRINGS: Schema = {"type": "object", "additionalProperties": STRING}
CHECKED: dict[Callable[[Any], list[str]], Schema] = {
    validation.label_problems: {
        "type": "object",
        "maxProperties": validation.MAX_LABELS,
        "propertyNames": {"pattern": as_ecma(validation.LABEL_KEY)},
        "additionalProperties": {
            "type": "string",
            "maxLength": 255,
            "pattern": r"^[^\x00-\x1f\x7f]*$",
        },
    },
    validation.observed_label_problems: {
        "type": "object",
        "maxProperties": validation.MAX_OBSERVED_LABELS,
        "propertyNames": {"minLength": 1, "maxLength": 512, "pattern": r"^[^\x00]*$"},
        "additionalProperties": {
            "type": "string",
            "maxLength": validation.MAX_OBSERVED_TEXT,
            "pattern": r"^[^\x00]*$",
        },
    },
    validation.env_problems: {
        "type": "object",
        "maxProperties": validation.MAX_ENV,
        "propertyNames": {"pattern": as_ecma(validation.ENV_NAME)},
        "additionalProperties": {
            "type": "string",
            "maxLength": validation.MAX_TEXT,
            "pattern": r"^[^\x00]*$",
        },
    },
    validation.command_problems: {
        "type": "array",
        "maxItems": validation.MAX_COMMAND,
        "items": {"type": "string", "maxLength": validation.MAX_TEXT, "pattern": r"^[^\x00]*$"},
    },
}


class CheckedFieldExtension(OpenApiSerializerFieldExtension):
    target_class = "app.fleet.fields.CheckedField"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Schema:
        schema = CHECKED[self.target.problems]
        if direction == "request":
            return dict(schema)
        # What agents observed may be wider than what people may write.
        return dict(STRINGS) if schema["type"] == "object" else array_of(STRING)


class StructureFieldExtension(OpenApiSerializerFieldExtension):
    target_class = "app.fleet.fields.StructureField"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Schema:
        # It is stored as it was sent, so that it reads as it was written.
        reference: Schema = auto_schema.resolve_serializer(self.target.structure, "request").ref
        if self.target.many:
            return array_of(reference, maxItems=self.target.maximum)
        return reference


class PatternExtension(OpenApiSerializerFieldExtension):
    """A text with a grammar."""

    target_class = "app.fleet.fields.NameField"
    pattern = validation.NAME

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Schema:
        if direction == "response":
            return dict(STRING)  # agents name hosts as the hosts are called
        limits = {"minLength": 1, "maxLength": self.target.max_length}
        return STRING | limits | {"pattern": as_ecma(self.pattern)}


class ImageReferenceExtension(PatternExtension):
    target_class = "app.fleet.fields.ImageReferenceField"
    pattern = validation.IMAGE


extend_schema_field(array_of(STRING))(filters.LabelFilter)

DRY_RUN = OpenApiParameter(
    "dry_run",
    {"type": "string", "enum": ["all"]},
    description="`all`: validate, run, answer as usual, and take everything back.",
)
FORCE = OpenApiParameter("force", bool, description="Even while containers are live on the host.")


def created(name: str) -> OpenApiResponse:
    """What a creation answers with: the object, or what it would have been."""
    dry = object_of({"id": {"type": "null"}}, description="Of a dry run: there is no id.")
    reference = {"$ref": f"#/components/schemas/{name}"}
    return OpenApiResponse({"anyOf": [reference, dry]}, description="It was created.")


def versioned(name: str, *delete: OpenApiParameter, **actions: Any) -> Callable[[Any], Any]:
    """Marks a viewset with `VersionedWritesMixin`."""
    change = extend_schema(parameters=[DRY_RUN])
    mark: Callable[[Any], Any] = extend_schema_view(
        create=extend_schema(parameters=[DRY_RUN], responses={201: created(name)}),
        update=change,
        partial_update=change,
        destroy=extend_schema(parameters=[DRY_RUN, *delete]),
        **actions,
    )
    return mark


def labelled_in_bulk(view: Any, name: str) -> Any:
    """Marks a viewset with `BulkLabelsMixin`. `extend_schema_view` knows DRF's actions alone."""
    items = array_of({"$ref": f"#/components/schemas/{name}"})
    mark = extend_schema(
        parameters=[DRY_RUN],
        request=OpenApiRequest(LabelChangeSerializer(many=True)),
        responses={
            200: OpenApiResponse(items, description="The objects, in the order of the list."),
            412: OpenApiResponse(
                {"$ref": "#/components/schemas/Errors"},
                description="Objects whose version is another now, by their place; none changed.",
            ),
        },
    )
    mark(isolate_view_method(view, "partial_bulk_update"))
    return view


OBSERVED = object_of(
    {
        "host": {"type": ["integer", "null"], "description": "The host's id."},
        "containers": {
            "type": "object",
            "additionalProperties": {"type": ["integer", "null"]},
            "description": "The id of each container, by its engine's id. Of a dry run, what it"
            " would have made has none.",
        },
    }
)


class HostsExtension(ViewExtension):
    target_class = "app.fleet.views.HostViewSet"

    def mark(self, view: Any) -> Any:
        observe = extend_schema(
            parameters=[DRY_RUN],
            responses={200: OpenApiResponse(OBSERVED, description="Stored.")},
        )
        return labelled_in_bulk(versioned("Host", FORCE, observe=observe)(view), "Host")


class WorkloadsExtension(ViewExtension):
    target_class = "app.fleet.views.WorkloadViewSet"

    def mark(self, view: Any) -> Any:
        rollback = extend_schema(
            parameters=[DRY_RUN],
            request=serializers.RollbackSerializer,
            responses={200: serializers.WorkloadSerializer},
        )
        return labelled_in_bulk(versioned("Workload", rollback=rollback)(view), "Workload")


class QuotasExtension(ViewExtension):
    target_class = "app.fleet.quotas.QuotaViewSet"

    def mark(self, view: Any) -> Any:
        return versioned("Quota")(view)


class PoliciesExtension(ViewExtension):
    target_class = "app.fleet.policy_views.PolicyViewSet"

    def mark(self, view: Any) -> Any:
        number: Schema = {"type": ["number", "null"]}
        constant = object_of(
            {
                "default": {"type": "number"},
                "lowest": number,
                "highest": number,
                "is_overridable": {"type": "boolean"},
            }
        )
        listed: Schema = {"type": "object", "additionalProperties": constant}
        defaults = extend_schema(
            filters=False,
            responses={200: OpenApiResponse(Whole(listed), description="By name.")},
        )
        return versioned("PolicyOverride", defaults=defaults)(view)


class ConstantsExtension(OpenApiSerializerFieldExtension):
    target_class = "app.fleet.fields.ConstantsField"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Schema:
        properties: Schema = {
            name: {
                "type": "integer" if allowed.is_whole else "number",
                "minimum": allowed.lowest,
                "maximum": allowed.highest,
            }
            for name, allowed in OVERRIDABLE.items()
        }
        if direction == "request":
            return object_of(properties, *properties, additionalProperties=False)
        return {"type": "object", "additionalProperties": {"type": "number"}}


class PlainExtension(ViewExtension):
    """A list of which no more is to be said than that it can be watched."""

    target_class = "app.fleet.views.EventViewSet"

    def mark(self, view: Any) -> Any:
        return view


class ImagesExtension(PlainExtension):
    target_class = "app.fleet.views.ImageViewSet"


class RevisionsExtension(PlainExtension):
    target_class = "app.fleet.views.RevisionViewSet"


class ContainersExtension(PlainExtension):
    target_class = "app.fleet.views.ContainerViewSet"


SAMPLE = object_of(
    {
        "container": {"type": "integer", "minimum": 1, "maximum": MAX_ID},
        "at": MOMENT | {"description": "ISO 8601 with an offset."},
        "cpu_cores": {"type": "number", "minimum": 0, "maximum": MAX_CPUS},
        "memory_bytes": {"type": "integer", "minimum": 0, "maximum": MAX_BYTES},
    },
    additionalProperties=False,
)
SAMPLES: Schema = {"anyOf": [array_of(SAMPLE, maxItems=MAX_SAMPLES), SAMPLE]}
REJECTED = array_of(
    object_of(
        {
            "index": NON_NEGATIVE | {"description": "The place in the array."},
            "line": NON_NEGATIVE | {"description": "The line, of NDJSON; the first is 1."},
            "errors": {"$ref": "#/components/schemas/Errors"},
        },
        "index",
        "line",
    )
)
STORED = object_of({"stored": NON_NEGATIVE, "duplicates": NON_NEGATIVE, "rejected": REJECTED})
REFUSED: Schema = {
    "anyOf": [
        object_of({"detail": STRING, "errors": REJECTED, "stored": {"const": 0}}),
        {"$ref": "#/components/schemas/Errors"},
    ]
}
HISTORY = object_of(
    {
        "since": MOMENT,
        "until": MOMENT,
        "resolution": {"enum": list(RESOLUTIONS)},
        "now": object_of(
            {
                "containers": NON_NEGATIVE,
                "cpu_reservation": NUMBER,
                "cpu_limit": NUMBER,
                "cpu_unlimited": NON_NEGATIVE,
                "memory_reservation_bytes": NON_NEGATIVE,
                "memory_limit_bytes": NON_NEGATIVE,
                "memory_unlimited": NON_NEGATIVE,
            }
        ),
        "points": array_of(
            object_of(
                {
                    "at": MOMENT,
                    "containers": NON_NEGATIVE,
                    "samples": NON_NEGATIVE,
                    "cpu_mean": NUMBER,
                    "cpu_max": NUMBER,
                    "memory_mean": NUMBER,
                    "memory_max": NON_NEGATIVE,
                }
            )
        ),
    },
    description="With `resolution`: what the samples come to over time.",
)
USAGE_PAGE = object_of(
    {
        "next": {"type": ["string", "null"], "format": "uri"},
        "previous": {"type": ["string", "null"], "format": "uri"},
        "results": array_of(
            object_of(
                {
                    "container": {"type": "integer"},
                    "at": MOMENT,
                    "cpu_cores": NUMBER,
                    "memory_bytes": NON_NEGATIVE,
                }
            )
        ),
    }
)
RESOLUTION = OpenApiParameter(
    "resolution",
    {"type": "string", "enum": list(RESOLUTIONS)},
    description="The use over time, in steps of this, in place of the samples.",
)
ON_ERROR = OpenApiParameter(
    "on_error",
    {"type": "string", "enum": ["fail", "skip"]},
    description="`fail`: store all or nothing. `skip`: store the right ones, and list the others.",
)


def in_any_form(status: int, schema: Schema, description: str) -> dict[Any, Any]:
    """A response as JSON, and in the other forms that usage is told in."""
    forms = [("application/json", schema), ("application/x-ndjson", STRING)]
    forms += [("text/csv", STRING), ("image/svg+xml", STRING)]
    return {
        (status, media_type): OpenApiResponse(Whole(form), description=description)
        for media_type, form in forms
    }


class UsageExtension(ViewExtension):
    target_class = "app.fleet.ingest.UsageViewSet"

    def mark(self, view: Any) -> Any:
        lines = {"description": "One sample a line, as in the array of the JSON body."}
        text = {"type": "string"}
        create = extend_schema(
            parameters=[ON_ERROR, DRY_RUN],
            request={
                "application/json": OpenApiRequest(SAMPLES),
                "application/x-ndjson": OpenApiRequest(text | lines),
            },
            responses={
                **in_any_form(200, STORED, "With `on_error=skip`: some were rejected."),
                **in_any_form(201, STORED, "All were stored."),
                **in_any_form(400, REFUSED, "At least one sample is wrong: none is stored."),
            },
        )
        page: Schema = {"anyOf": [USAGE_PAGE, HISTORY]}
        listing = extend_schema(
            parameters=[RESOLUTION],
            responses=in_any_form(200, page, "Samples, or what they come to over time."),
        )
        return extend_schema_view(create=create, list=listing)(view)
