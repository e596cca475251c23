"""DRF's renderers. JSON goes through orjson wherever that gives DRF's very bytes.

The browsable API's renderer is in `browsable`.
"""

import copy
import math
import re
from typing import Any

import orjson
from rest_framework import renderers as drf
from rest_framework.renderers import (
    BaseRenderer,
    HTMLFormRenderer,
    MultiPartRenderer,
    StaticHTMLRenderer,
    TemplateHTMLRenderer,
)

from app.rest.browsable import AdminRenderer, BrowsableAPIRenderer

__all__ = [
    "AdminRenderer",
    "BaseRenderer",
    "BrowsableAPIRenderer",
    "HTMLFormRenderer",
    "JSONRenderer",
    "MultiPartRenderer",
    "StaticHTMLRenderer",
    "TemplateHTMLRenderer",
]

_OPTIONS = (
    orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)
# Python's encoder asks a subclass of dict for its `items()`: a QueryDict gives its last values.
_SUBCLASSES: tuple[tuple[type, Any], ...] = (
    (str, str.__str__),
    (dict, lambda value: dict(value.items())),
    (list, list),
    (tuple, list),
    (int, int),
    (float, float),
)
# A number with an exponent, which orjson writes as 1e16 and Python as 1e+16. It starts with a
# literal so that the search is a scan for one byte.
_EXPONENT = re.compile(rb"e(?<=\de)-?\d{1,3}(?:[,\]}]|$)")
_LINE_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


class JSONRenderer(drf.JSONRenderer):
    """DRF's bytes. What orjson would write otherwise (or not at all) DRF's own encoder writes."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        if data is None:
            return b""
        if self.ensure_ascii or not (self.compact and self.strict):
            return self._render_as_drf(data, accepted_media_type, renderer_context)
        if self._is_indented(accepted_media_type, renderer_context or {}):
            return self._render_as_drf(data, accepted_media_type, renderer_context)
        rendered = self._render_compact(data)
        if rendered is None:
            return self._render_as_drf(data, accepted_media_type, renderer_context)
        return rendered

    def _is_indented(self, accepted_media_type: str | None, renderer_context: Any) -> bool:
        is_plain = accepted_media_type == self.media_type and "indent" not in renderer_context
        if is_plain and type(self).get_indent is drf.JSONRenderer.get_indent:
            return False
        return self.get_indent(accepted_media_type, renderer_context) is not None

    def _render_as_drf(self, data: Any, *args: Any) -> bytes:
        try:
            rendered: bytes = super().render(data, *args)
        except UnicodeEncodeError:  # half of a surrogate pair, which an error echoes: escape it
            escaping = copy.copy(self)
            escaping.ensure_ascii = True
            rendered = escaping.render(data, *args)
        return rendered

    def _default(self, value: Any) -> Any:
        """What Python's encoder makes of a value that is none of JSON's own types."""
        for kind, convert in _SUBCLASSES:
            if isinstance(value, kind):
                return convert(value)
        return self.encoder_class().default(value)

    def _render_compact(self, data: Any) -> bytes | None:
        """orjson's output where it equals DRF's, else None."""
        try:
            rendered = orjson.dumps(data, self._default, _OPTIONS)
        except (TypeError, RecursionError):
            return None
        if _EXPONENT.search(rendered) or (b"null" in rendered and _may_have_non_finite(data)):
            return None
        for raw, escaped in _LINE_SEPARATORS:
            if raw in rendered:
                rendered = rendered.replace(raw, escaped)
        return rendered


def _may_have_non_finite(data: Any) -> bool:
    """Looks first for their names: going through every value takes ten times as long as writing
    them all.
    """
    text = repr(data)
    return ("nan" in text or "inf" in text) and _has_non_finite(data)


def _has_non_finite(data: Any) -> bool:
    """Whether a NaN or an infinity, which orjson writes as null, is anywhere in `data`."""
    if isinstance(data, float):
        return not math.isfinite(data)
    if isinstance(data, dict):
        return any(map(_has_non_finite, data.values()))
    if isinstance(data, list | tuple):
        return any(map(_has_non_finite, data))
    return False
