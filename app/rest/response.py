"""DRF's Response, made and rendered in fewer steps. A renderer that must wait has `async def
prepare`; rendering itself only computes.
"""

from http.cookies import SimpleCookie
from typing import Any

from django.http.response import ResponseHeaders
from rest_framework.response import Response as DRFResponse
from rest_framework.serializers import Serializer

__all__ = ["Response", "set_header"]


def set_header(response: Any, name: str, value: Any) -> None:
    """`response[name] = value`, without encoding what is plain to try whether it can be."""
    if type(value) is str and value.isascii() and "\n" not in value and "\r" not in value:
        response.headers._store[name.lower()] = (name, value)
    else:
        response[name] = value


class Response(DRFResponse):
    def __init__(  # noqa: PLR0917 - as DRF's
        self,
        data: Any = None,
        status: Any = None,
        template_name: Any = None,
        headers: Any = None,
        exception: bool = False,
        content_type: str | None = None,
    ) -> None:
        is_plain = status is None or (type(status) is int and 100 <= status <= 599)
        if not is_plain or isinstance(data, Serializer):
            super().__init__(data, status, template_name, headers, exception, content_type)
            return
        # What the constructors of Django's four classes leave behind for these arguments.
        self.headers = ResponseHeaders({})
        self.headers._store["content-type"] = _HTML
        self._charset = self._handler_class = self._reason_phrase = None
        self._resource_closers: list[Any] = []
        self.cookies = SimpleCookie()
        self.closed = False
        if status is not None:
            self.status_code = int(status)
        self.context_data = self.using = self._request = None
        self._post_render_callbacks: list[Any] = []
        self._container = [b""]
        self._is_rendered = False
        self.data = data
        self.template_name = template_name
        self.exception = exception
        self.content_type = content_type
        if headers:
            for name, value in headers.items():
                self[name] = value

    @property
    def rendered_content(self) -> Any:
        """DRF's. Raises AssertionError without a renderer, or when it gave text of no charset."""
        renderer = getattr(self, "accepted_renderer", None)
        if self.content_type is not None or getattr(renderer, "charset", "") is not None:
            return super().rendered_content
        if "renderer_context" not in vars(self) or "accepted_media_type" not in vars(self):
            return super().rendered_content
        self.renderer_context["response"] = self
        set_header(self, "Content-Type", renderer.media_type)  # type: ignore[union-attr]
        rendered = renderer.render(  # type: ignore[union-attr]
            self.data, self.accepted_media_type, self.renderer_context
        )
        if isinstance(rendered, str):
            raise AssertionError(  # noqa: TRY004 - as DRF
                "renderer returned unicode, and did not specify a charset value."
            )
        if not rendered:
            del self["Content-Type"]
        return rendered


_HTML = ("Content-Type", "text/html; charset=utf-8")
