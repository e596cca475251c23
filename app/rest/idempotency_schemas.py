"""What the OpenAPI schema says of `app.rest.idempotency`: the header."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from app.rest.idempotency import MAX_KEY_LENGTH, IdempotentMixin

KEY = OpenApiParameter(
    "Idempotency-Key",
    {
        "type": "string",
        "pattern": rf'^("[!#-\[\]-~]{{1,{MAX_KEY_LENGTH}}}"|[!#-~]{{1,{MAX_KEY_LENGTH}}})$',
    },
    OpenApiParameter.HEADER,
    description="A word of your own, such as a UUID: the request that is sent again with it is not"
    " carried out again, but answered as it was.",
)


def parameters(auto_schema: Any) -> list[OpenApiParameter]:
    view = auto_schema.view
    if not isinstance(view, IdempotentMixin) or auto_schema.method not in view.idempotent_methods:
        return []
    view.request = view.request or _Request(auto_schema.method)
    return [KEY] if view.takes_idempotency_key() else []


class _Request:
    def __init__(self, method: str) -> None:
        self.method = method
