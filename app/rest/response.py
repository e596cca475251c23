"""DRF's Response, made and rendered in fewer steps. A renderer that must wait has `async def
prepare`; rendering itself only computes.
"""

from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any

from django.http.response import ResponseHeaders
from rest_framework.response import Response as DRFResponse
from rest_framework.serializers import Serializer

from app.rest.renderers import writes_pages

__all__ = ["LISTS", "Response", "set_header"]


def set_header(response: Any, name: str, value: Any) -> None:
    """`response[name] = value`, without encoding what is plain to try whether it can be."""
    if type(value) is str and value.isascii() and "\n" not in value and "\r" not in value:
        response.headers._store[name.lower()] = (name, value)
    else:
        response[name] = value


class _Made:
    """An attribute that few responses need, made for whoever looks at it."""

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self.name = name
        self.make = make

    def __get__(self, response: Any, owner: Any = None) -> Any:
        if response is None:
            return self
        value = response.__dict__[self.name] = self.make()
        return value


class _Data:
    """`data`, of an answer whose bytes are there, made for whoever looks at it."""

    def __get__(self, response: Any, owner: Any = None) -> Any:
        if response is None:
            return self
        written = response.__dict__.get("_written")
        if written is None:
            raise AttributeError("This response has no data.")
        value = response.__dict__["data"] = written[1]()
        return value


class Response(DRFResponse):
    # What the constructors of Django's four classes leave behind for usual arguments.
    _charset = _handler_class = _reason_phrase = None
    context_data = using = _request = None
    closed = _is_rendered = False
    cookies: Any = _Made("cookies", SimpleCookie)
    _resource_closers: Any = _Made("_resource_closers", list)
    _post_render_callbacks: Any = _Made("_post_render_callbacks", list)
    data: Any = _Data()

    @classmethod
    def written(cls, body: bytes, make_data: Callable[[], Any]) -> "Response":
        """What the stock JSON renderer would make `body` of. It does while nobody looks at `data`,
        which `make_data` makes: another renderer, middleware, who wants to change it.
        """
        response = cls()
        attributes = response.__dict__
        del attributes["data"]
        attributes["_written"] = body, make_data
        return response

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
        self.headers = made = _new(ResponseHeaders)
        made._store = {"content-type": _HTML}
        if status is not None:
            self.status_code = int(status)
        self._container = [b""]
        self.data = data
        self.template_name = template_name
        self.exception = exception
        self.content_type = content_type
        if headers:
            for name, value in headers.items():
                set_header(self, name, value)

    def render(self) -> Any:
        """Django's, which gives bytes to three setters."""
        if self._is_rendered or type(self) is not Response:
            return super().render()
        attributes = self.__dict__
        renderer = attributes.get("accepted_renderer")
        if (
            self.content_type is None
            and "renderer_context" in attributes
            and "accepted_media_type" in attributes
            and getattr(renderer, "charset", "") is None
        ):
            content = self._render_by(renderer)
        else:
            content = self.rendered_content
        if type(content) is not bytes:
            self.content = content
        else:
            self._container = [content]
            self._is_rendered = True
        response: Any = self
        for call in self.__dict__.get("_post_render_callbacks", ()):
            changed = call(response)
            response = response if changed is None else changed
        return response

    def _render_by(self, renderer: Any) -> Any:
        """DRF's `rendered_content`, of a renderer that gives bytes. Raises AssertionError when it
        gave text.
        """
        context = self.renderer_context
        context["response"] = self
        media_type = renderer.media_type
        pair = _content_types.get(media_type)
        if pair is None:
            set_header(self, "Content-Type", media_type)
            if len(_content_types) < MOST_TYPES:
                _content_types[media_type] = self.headers._store["content-type"]
        else:
            self.headers._store["content-type"] = pair
        attributes = self.__dict__
        written = None if "data" in attributes else attributes.get("_written")
        if written and writes_pages(renderer, self.accepted_media_type, context):
            rendered = written[0]
        else:
            rendered = renderer.render(self.data, self.accepted_media_type, context)
        if isinstance(rendered, str):
            raise AssertionError(  # noqa: TRY004 - as DRF
                "renderer returned unicode, and did not specify a charset value."
            )
        if not rendered:
            del self["Content-Type"]
        return rendered

    def __getstate__(self) -> Any:
        """DRF's, with the data, as who keeps a response expects it."""
        if "_written" in self.__dict__:
            _ = self.data
        state = super().__getstate__()
        state.pop("_written", None)
        return state

    @property
    def rendered_content(self) -> Any:
        """DRF's. Raises AssertionError without a renderer, or when it gave text of no charset."""
        renderer = getattr(self, "accepted_renderer", None)
        if self.content_type is not None or getattr(renderer, "charset", "") is not None:
            return super().rendered_content
        if "renderer_context" not in vars(self) or "accepted_media_type" not in vars(self):
            return super().rendered_content
        return self._render_by(renderer)


LISTS = "_serializers_of_lists"
"""Where a view has the serializers of lists that were made for its request."""

MOST_TYPES = 64
_content_types: dict[str, tuple[str, str]] = {}
_new: Any = object.__new__
_HTML = ("Content-Type", "text/html; charset=utf-8")
