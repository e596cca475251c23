"""OpenAPI 3.1 of the project's own views: drf-spectacular, told what app.rest does beside DRF.

An operation's errors follow from what it is: what takes a body can be 413 and 415, what takes
`If-Match` can be 412. What only a domain knows it says in its own module `schemas`, with
drf-spectacular's extensions. This module and those are imported when a schema is made, and not
before: a worker that serves none pays nothing for them.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from django import forms
from django.utils.module_loading import autodiscover_modules
from drf_spectacular import openapi
from drf_spectacular.contrib.django_filters import DjangoFilterExtension
from drf_spectacular.drainage import has_override
from drf_spectacular.generators import SchemaGenerator as BaseSchemaGenerator
from drf_spectacular.plumbing import (
    ResolvedComponent,
    build_parameter_type,
    get_lib_doc_excludes,
)
from rest_framework.permissions import AllowAny
from rest_framework.serializers import BaseSerializer

from app.rest import (
    bulk,
    bulk_schemas,
    conditional_schemas,
    fieldset_schemas,
    fieldsets,
    generics,
    idempotency_schemas,
    mixins,
    serializers,
    views,
    viewsets,
)
from app.rest.exports import StreamRenderer
from app.rest.sse import MEDIA_TYPE as EVENT_STREAM

Schema = dict[str, Any]

MESSAGES: Schema = {
    "description": "A message, several, or those of the parts by name.",
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"$ref": "#/components/schemas/Messages"}},
        {
            "type": "object",
            "additionalProperties": {"$ref": "#/components/schemas/Messages"},
        },
    ],
}
COMPONENTS: dict[str, Schema] = {
    "Error": {
        "type": "object",
        "description": "What went wrong, as a sentence, with the remedy.",
        "properties": {"detail": {"type": "string"}},
        "required": ["detail"],
    },
    "Problem": {
        "type": "object",
        "description": "What went wrong, as RFC 9457 tells it; for those whose Accept names it.",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"type": "string"},
            "code": {"type": "string"},
            "errors": {"type": "array", "items": {"type": "object"}},
        },
        "required": ["type", "title", "status", "detail", "instance"],
    },
    "Messages": MESSAGES,
    "Errors": {
        "description": "What is wrong with each field, parameter or header, by its name.",
        "anyOf": MESSAGES["anyOf"][1:],
    },
}

PROBLEM: Schema = {"schema": {"$ref": "#/components/schemas/Problem"}}

RENAMED = {413: "ContentTooLarge", 422: "UnprocessableContent"}
"""What Python 3.13 calls otherwise than those before it."""

# Of each status: its schema, and when it comes.
ERRORS: dict[int, tuple[str, str]] = {
    400: ("Errors", "The body, a parameter or a header is not as described."),
    401: ("Error", "No credential, or one that does not serve."),
    403: ("Error", "The credential does not reach this far."),
    404: ("Error", "There is no such object, page or format."),
    406: ("Error", "None of the types in Accept can be given."),
    409: ("Errors", "What is asked conflicts with what is stored."),
    410: ("Error", "What happened after that position is kept no longer: read the objects anew."),
    412: ("Error", "The object has changed: its version is not one that If-Match names."),
    413: ("Error", "The body is too large."),
    415: ("Error", "The body is of a type that is not read here."),
    422: ("Error", "The Idempotency-Key came with another request before."),
    428: ("Error", "If-Match is missing: which state of the object has the writer seen?"),
    429: ("Error", "Too many requests; Retry-After says when to come again."),
    503: ("Error", "The database is out of reach; Retry-After says when to come again."),
}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
CHALLENGE = {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "How to log in."}}
HEADERS: dict[int, Schema] = {401: CHALLENGE, 429: RETRY_AFTER, 503: RETRY_AFTER}


class Whole(Schema):
    """The schema of a list's whole answer: it is not put into a page's envelope."""


class AutoSchema(openapi.AutoSchema):
    """One operation of one of app.rest's views."""

    _is_whole = False

    def get_error_codes(self) -> list[int]:
        """The statuses of the errors that this operation can end with."""
        view, is_write = self.view, self.method in ("POST", "PUT", "PATCH", "DELETE")
        parameters = {(one["name"], one["in"]) for one in self._get_parameters()}
        codes = {404, 406, 503}
        if view.get_authenticators():
            codes.add(401)
        if not any(isinstance(one, AllowAny) for one in view.get_permissions()):
            codes.add(403)
        if is_write or {place for _, place in parameters} & {"query", "header"}:
            codes.add(400)
        if any(one.media_type == EVENT_STREAM for one in self._get_streams()):
            codes.add(410)
        if is_write:
            codes |= {409, 413, 415}
        if ("If-Match", "header") in parameters:
            codes.add(412)
            if getattr(view, "if_match_required", False):
                codes.add(428)
        if ("Idempotency-Key", "header") in parameters:
            codes |= {409, 422}
        if view.throttle_classes:
            codes.add(429)
        return sorted(codes)

    def map_renderers(self, attribute: Any) -> Any:
        """Without streams: what is refused is told as JSON; see `_get_response_bodies`."""
        streams = {getattr(one, attribute) for one in self._get_streams()}
        return [one for one in super().map_renderers(attribute) if one not in streams]

    def _get_streams(self) -> list[StreamRenderer]:
        return [one for one in self.view.get_renderers() if isinstance(one, StreamRenderer)]

    def _get_response_bodies(self, direction: Any = "response") -> Schema:
        responses = super()._get_response_bodies(direction)
        responses |= conditional_schemas.responses(self)
        for stream in self._get_streams():
            content = responses.get("200", {}).setdefault("content", {})
            content.setdefault(stream.media_type, {"schema": {"type": "string"}})
        for code in self.get_error_codes():
            responses.setdefault(str(code), self._get_error(code))
        return dict(sorted(responses.items()))

    def _get_response_for_code(self, serializer: Any, *args: Any, **kwargs: Any) -> Schema:
        self._is_whole = isinstance(getattr(serializer, "response", serializer), Whole)
        try:
            response: Schema = super()._get_response_for_code(serializer, *args, **kwargs)
        finally:
            self._is_whole = False
        return response

    def get_operation_id(self) -> str:
        return bulk_schemas.operation_id(self, super().get_operation_id())

    def get_response_serializers(self) -> Any:
        serializer = bulk_schemas.responses(self, super().get_response_serializers())
        return fieldset_schemas.response(self, serializer)

    def get_override_parameters(self) -> Any:
        return [
            *super().get_override_parameters(),
            *bulk_schemas.parameters(self),
            *conditional_schemas.parameters(self),
            *idempotency_schemas.parameters(self),
        ]

    def _get_request_for_media_type(self, serializer: Any, direction: Any = "request") -> Any:
        schema, is_required = super()._get_request_for_media_type(serializer, direction)
        if schema is not None:
            schema = bulk_schemas.request(self, serializer, schema)
        return schema, is_required

    def _get_parameters(self) -> list[Schema]:
        parameters: list[Schema] = super()._get_parameters()
        if fieldset_schemas.applies(self):
            parameters += fieldset_schemas.parameters(self.view)
        return sorted(parameters, key=lambda one: (one["in"], one["name"]))

    def get_filter_backends(self) -> Any:
        if getattr(self.view, "action", None) == "bulk_destroy":
            return bulk_schemas.filter_backends(self.view)
        return super().get_filter_backends()

    def _is_list_view(self, serializer: Any = None) -> bool:
        return not self._is_whole and bool(super()._is_list_view(serializer))

    def _get_error(self, code: int) -> Schema:
        """The response of that error; shared by all views that answer with JSON alone."""
        media_types = self.map_renderers("media_type")
        if media_types != ["application/json"]:
            return self._build_error(code, media_types)
        name = RENAMED.get(code) or HTTPStatus(code).phrase.replace(" ", "")
        component = ResolvedComponent(
            name=name,
            type=ResolvedComponent.RESPONSE,
            schema=self._build_error(code, media_types),
            object=name,
        )
        self.registry.register_on_missing(component)
        return component.ref

    def _build_error(self, code: int, media_types: list[str]) -> Schema:
        name, description = ERRORS[code]
        reference = {"$ref": f"#/components/schemas/{name}"}
        content = {
            media_type: {"schema": reference if is_json(media_type) else {}}
            for media_type in media_types
        }
        content.setdefault("application/problem+json", PROBLEM)
        response = {"description": description, "content": content}
        return response | ({"headers": HEADERS[code]} if code in HEADERS else {})

    def _get_filter_parameters(self) -> list[Schema]:
        parameters: list[Schema] = super()._get_filter_parameters()
        for one in parameters:
            if one["name"] == "ordering" and (known := self._get_orderings()):
                one["schema"] = {"type": "string", "examples": known[:2]}
                one["description"] = (
                    "Fields to order by, separated by commas; a minus turns one around. Known are: "
                    + ", ".join(f"`{name}`" for name in known)
                    + "."
                )
        return parameters

    def _get_orderings(self) -> list[str]:
        fields = getattr(self.view, "ordering_fields", None) or []
        return [field if isinstance(field, str) else field[0] for field in fields]

    def _map_serializer(self, serializer: Any, direction: Any, *args: Any, **kwargs: Any) -> Schema:
        """A request's fields are those that are known: whatever else is there is refused."""
        schema: Schema = super()._map_serializer(serializer, direction, *args, **kwargs)
        if fieldset_schemas.is_sparse(serializer):
            schema = fieldset_schemas.loosened(self, serializer, schema)
        if direction == "request" and isinstance(serializer, BaseSerializer):
            schema.setdefault("additionalProperties", False)
        return schema


class FilterExtension(DjangoFilterExtension):
    """Parameters of django-filter's filters, by their form fields where drf-spectacular would
    guess. No query is asked for choices.
    """

    target_class = "app.rest.filters.DjangoFilterBackend"
    priority = 1

    def resolve_filter_field(
        self, auto_schema: Any, model: Any, filterset_class: Any, field_name: str, filter_field: Any
    ) -> list[Schema]:
        schema = _of_form_field(filter_field)
        if schema and not has_override(filter_field, "field"):
            parameters = [
                build_parameter_type(
                    name=field_name,
                    location="query",
                    schema=schema,
                    required=filter_field.extra["required"],
                    description=filter_field.extra.get("help_text"),
                )
            ]
        else:
            parameters = super().resolve_filter_field(
                auto_schema, model, filterset_class, field_name, filter_field
            )
        if not filter_field.extra["required"]:
            for parameter in parameters:
                parameter["allowEmptyValue"] = True  # a form's empty field: not filtered by
        return parameters


def _of_form_field(filter_field: Any) -> Schema | None:
    """The schema of a number or a moment; None for what drf-spectacular knows."""
    kind = filter_field.field_class
    if issubclass(kind, forms.IntegerField) and not issubclass(kind, forms.FloatField):
        bounds = {"minimum": "min_value", "maximum": "max_value"}
        extra = filter_field.extra
        return {"type": "integer"} | {
            word: extra[name] for word, name in bounds.items() if extra.get(name) is not None
        }
    if issubclass(kind, forms.DateTimeField):
        return {"type": "string", "format": "date-time"}
    return None


class SchemaGenerator(BaseSchemaGenerator):
    """drf-spectacular's generator, that reads the `schemas` modules of the installed apps first."""

    paths: Schema | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        autodiscover_modules("schemas")
        super().__init__(*args, **kwargs)
        for name, schema in COMPONENTS.items():
            self.registry.register_on_missing(
                ResolvedComponent(
                    name=name, type=ResolvedComponent.SCHEMA, schema=schema, object=name
                )
            )

    def parse(self, input_request: Any, public: bool) -> Schema:
        if self.paths is not None:
            return self.paths
        paths: Schema = super().parse(input_request, public)
        return paths

    def get_schema(self, request: Any = None, public: bool = False) -> Schema:
        schema: Schema = modernised(super().get_schema(request, public))
        return schema

    async def aget_schema(self) -> Schema:
        """The whole schema. The event loop has its turn after each operation."""
        self._initialise_endpoints()
        paths: Schema = {}
        for endpoint in self.endpoints:
            self.endpoints = [endpoint]
            for path, operations in self.parse(None, public=True).items():
                paths.setdefault(path, {}).update(operations)
            await asyncio.sleep(0)
        self.paths = paths
        schema: Schema = self.get_schema(public=True)
        return schema


def undescribed() -> list[type]:
    """Classes whose docstrings describe themselves, and no view or serializer made of them."""
    modules = [bulk, fieldsets, generics, mixins, serializers, views, viewsets]
    own = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__.startswith(("app.rest.", "adrf."))
    ]
    return [*get_lib_doc_excludes(), *own]


def modernised(schema: Any) -> Any:
    """With OpenAPI 3.0's `nullable`, which DRF's paginators write, in the words of 3.1."""
    if isinstance(schema, list):
        return [modernised(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: modernised(value) for key, value in schema.items()}
    if result.get("nullable") is True and isinstance(result.get("type"), str):
        del result["nullable"]
        result["type"] = [result["type"], "null"]
    if isinstance(result.get("example"), str) and "type" in result:
        result["examples"] = [result.pop("example")]
    return result


def is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")
