"""The OpenAPI schema over HTTP, and two readers of it from local files: Swagger UI and Redoc.

A schema says the same until the process ends: it is made with the first request and kept.
"""

import asyncio
from typing import Any

from drf_spectacular import renderers as spectacular
from drf_spectacular import views as drf
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer, TemplateHTMLRenderer

from app.rest.response import Response
from app.rest.schemas import SchemaGenerator
from app.rest.views import APIView

WRITERS: Any = (spectacular.OpenApiJsonRenderer, spectacular.OpenApiYamlRenderer)


class Documents:
    """The schema in each format, made once."""

    def __init__(self) -> None:
        self._texts: dict[str, bytes] = {}
        self._lock = asyncio.Lock()

    async def get(self, name: str) -> bytes:
        async with self._lock:
            if not self._texts:
                schema = await SchemaGenerator().aget_schema()
                for writer in WRITERS:
                    self._texts[writer.format] = writer().render(schema, renderer_context={})
                    await asyncio.sleep(0)
        return self._texts[name]


documents = Documents()


class WrittenRenderer(BaseRenderer):
    """Of what is written already; an error is written by the format's own renderer."""

    writer: type[BaseRenderer]

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        if isinstance(data, bytes):
            return data
        written: bytes = self.writer().render(data, accepted_media_type, renderer_context)
        return written


def written(writer: Any) -> type[WrittenRenderer]:
    facts = {"writer": writer, "media_type": writer.media_type, "format": writer.format}
    return type(f"Written{writer.__name__}", (WrittenRenderer,), facts)


class SchemaView(APIView):
    """This API as OpenAPI 3.1: JSON, or YAML by `Accept` or `?format=yaml`."""

    schema = None
    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]
    renderer_classes = [
        written(spectacular.OpenApiJsonRenderer2),
        written(spectacular.OpenApiJsonRenderer),
        written(spectacular.OpenApiYamlRenderer2),
        written(spectacular.OpenApiYamlRenderer),
    ]

    async def get(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return Response(await documents.get(request.accepted_renderer.format))


class ReaderView(APIView):
    """A page that reads the schema with a script of this server."""

    schema = None
    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]
    renderer_classes = [TemplateHTMLRenderer]


class SwaggerView(ReaderView, drf.SpectacularSwaggerView):
    async def get(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return drf.SpectacularSwaggerView.get(self, request, *args, **kwargs)


class RedocView(ReaderView, drf.SpectacularRedocView):
    template_name = "app_rest/redoc.html"  # without fonts from elsewhere

    async def get(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return drf.SpectacularRedocView.get(self, request, *args, **kwargs)
