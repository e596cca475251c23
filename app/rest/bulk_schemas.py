"""What the OpenAPI schema says of `app.rest.bulk`: lists in requests and answers, ids, counts."""

from typing import Any

from drf_spectacular.plumbing import is_serializer
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from app.rest import bulk

Schema = dict[str, Any]

_UPDATES = {"bulk_update", "partial_bulk_update"}
_NAMES = {"bulk_update": "bulk_update", "partial_bulk_update": "bulk_partial_update"}


def operation_id(auto_schema: Any, name: str) -> str:
    """The collection's own name for what the object's address has too."""
    action = getattr(auto_schema.view, "action", None)
    if action in _UPDATES:
        stem = name.removesuffix("_partial_update").removesuffix("_update")
        return f"{stem}_{_NAMES[action]}"
    if action == "bulk_destroy":
        return f"{name.removesuffix('_destroy')}_bulk_destroy"
    return name


def _is_bulk_create(view: Any) -> bool:
    is_bulk = isinstance(view, bulk.BulkCreateModelMixin)
    return is_bulk and getattr(view, "action", None) == "create"


def _is_own(view: Any, serializer: Any) -> bool:
    """Whether the serializer is the view's, and not one that the schema was told of."""
    return is_serializer(serializer) and type(serializer) is view.get_serializer_class()


def request(auto_schema: Any, serializer: Any, schema: Schema) -> Schema:
    """The body of a bulk operation, made of the schema of one object's."""
    view = auto_schema.view
    if not isinstance(view, bulk.BulkMixin) or not _is_own(view, serializer):
        return schema
    if _is_bulk_create(view):
        return {"anyOf": [schema, _array(view, schema)]}
    if getattr(view, "action", None) in _UPDATES:
        return _array(view, _with_id(auto_schema, schema))
    return schema


def _array(view: Any, items: Schema) -> Schema:
    limit = view.get_bulk_max_items()
    return {"type": "array", "items": items, "minItems": 1, "maxItems": limit}


def _with_id(auto_schema: Any, schema: Schema) -> Schema:
    name = schema["$ref"].rpartition("/")[2]
    (component,) = [
        one.schema for one in auto_schema.registry._components.values() if one.name == name
    ]
    field_name, field = auto_schema.view._id_field(auto_schema.view.get_queryset().model)
    identity = auto_schema._map_serializer_field(field.field, "request")
    properties = {field_name: identity, **component.get("properties", {})}
    required = [field_name, *component.get("required", [])]
    return component | {"properties": properties, "required": required}


def responses(auto_schema: Any, serializer: Any) -> Any:
    """The answers of a bulk operation."""
    view = auto_schema.view
    if not isinstance(view, bulk.BulkMixin):
        return serializer
    if getattr(view, "action", None) == "bulk_destroy":
        count: Schema = {"deleted": {"type": "integer", "minimum": 0}}
        schema = {"type": "object", "properties": count, "required": ["deleted"]}
        return {200: OpenApiResponse(schema, description="How many were deleted.")}
    is_update = getattr(view, "action", None) in _UPDATES
    if not _is_own(view, serializer) or not (is_update or _is_bulk_create(view)):
        return serializer
    one = auto_schema.resolve_serializer(serializer, "response").ref
    many: Schema = {"type": "array", "items": one}
    if is_update:
        return {200: OpenApiResponse(many, description="The objects, in the order of the list.")}
    return {201: OpenApiResponse({"anyOf": [one, many]}, description="Created.")}


def parameters(auto_schema: Any) -> list[OpenApiParameter]:
    view = auto_schema.view
    if getattr(view, "action", None) != "bulk_destroy":
        return []
    description = "Which objects; several with commas, or the parameter again."
    return [OpenApiParameter(view.bulk_id_param, str, many=True, description=description)]


def filter_backends(view: Any) -> list[Any]:
    """Those that choose what DELETE on the collection deletes."""
    return [one for one in view.filter_backends if not hasattr(one, "ordering_param")]
