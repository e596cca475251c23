"""What the OpenAPI schema says of `app.rest.conditional`: the headers, and 304."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from app.rest.conditional import ConditionalMixin

Schema = dict[str, Any]

_TAGS = r'[, \t]*(W/)?"[!#-~]*"([ \t]*,[ \t]*((W/)?"[!#-~]*")?)*'
TAGS = {"type": "string", "pattern": rf"^[ \t]*(\*|{_TAGS})[ \t]*$"}
IF_MATCH = OpenApiParameter(
    "If-Match",
    TAGS,
    OpenApiParameter.HEADER,
    description="ETags, or `*`: the change is made only if the object has one of them.",
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    TAGS,
    OpenApiParameter.HEADER,
    description="ETags that the caller has, or `*`: 304 if the object has one of them.",
)
IF_MODIFIED_SINCE = OpenApiParameter(
    "If-Modified-Since",
    str,
    OpenApiParameter.HEADER,
    description="An HTTP date: 304 unless the object was changed since. Another text is ignored.",
)
IF_UNMODIFIED_SINCE = OpenApiParameter(
    "If-Unmodified-Since",
    str,
    OpenApiParameter.HEADER,
    description="An HTTP date: 412 if the object was changed since. Another text is ignored.",
)
ETAG = OpenApiParameter(
    "ETag",
    str,
    OpenApiParameter.HEADER,
    response=[200, 201],
    description="Names this state of the object, for If-Match and If-None-Match.",
)
NOT_MODIFIED: Schema = {
    "description": "The caller has it: one of If-None-Match is its ETag.",
    "headers": {"ETag": {"schema": {"type": "string"}}},
}


def parameters(auto_schema: Any) -> list[OpenApiParameter]:
    """The headers of an operation on one object, and of one that creates one."""
    view = auto_schema.view
    if not isinstance(view, ConditionalMixin):
        return []
    has_dates = bool(view.last_modified_fields)
    if getattr(view, "detail", None) is False or auto_schema._is_list_view():
        creates = auto_schema.method == "POST" and getattr(view, "action", "create") == "create"
        return [ETAG] if creates else []
    if auto_schema.method == "GET":
        return [ETAG, IF_NONE_MATCH, *([IF_MODIFIED_SINCE] if has_dates else [])]
    return [ETAG, IF_MATCH, *([IF_UNMODIFIED_SINCE] if has_dates else [])]


def responses(auto_schema: Any) -> dict[str, Schema]:
    return {"304": NOT_MODIFIED} if IF_NONE_MATCH in parameters(auto_schema) else {}
