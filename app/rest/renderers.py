"""DRF's renderers. JSON goes through orjson wherever that gives DRF's very bytes.

The browsable API's renderer is in `browsable`.
"""

import copy
import marshal
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

__all__ = [
    "AdminRenderer",  # noqa: F822 - see __getattr__
    "BaseRenderer",
    "BrowsableAPIRenderer",  # noqa: F822
    "HTMLFormRenderer",
    "JSONRenderer",
    "MultiPartRenderer",
    "StaticHTMLRenderer",
    "TemplateHTMLRenderer",
]


def __getattr__(name: str) -> Any:
    """The browsable API is imported where it is on, which it isn't in production."""
    if name in {"AdminRenderer", "BrowsableAPIRenderer"}:
        from app.rest import browsable

        return getattr(browsable, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
# Of 0.00001, which Python writes as 1e-05; not of a moment's seconds.
_SMALL = re.compile(rb"0\.0000(?<!\d0\.0000)")
_FLOATS_AS_BYTES = 2  # the version of marshal's format, which has no numbered references
_NON_FINITE = re.compile(rb"g.{6}[\xf0-\xff][\x7f\xff]", re.DOTALL)  # packed, after its letter
_LINE_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


class JSONRenderer(drf.JSONRenderer):
    """DRF's bytes. What orjson would write otherwise (or not at all) DRF's own encoder writes."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        if data is None:
            return b""
        if not self.is_compact(accepted_media_type, renderer_context or {}):
            return self._render_as_drf(data, accepted_media_type, renderer_context)
        rendered = self._render_compact(data)
        if rendered is None:
            return self._render_as_drf(data, accepted_media_type, renderer_context)
        return rendered

    def is_compact(self, accepted_media_type: str | None, renderer_context: Any) -> bool:
        """Whether it is to write UTF-8 without spaces, and nothing that is no JSON."""
        if self.ensure_ascii or not (self.compact and self.strict):
            return False
        is_plain = accepted_media_type == self.media_type and "indent" not in renderer_context
        if is_plain and type(self).get_indent is drf.JSONRenderer.get_indent:
            return True
        return self.get_indent(accepted_media_type, renderer_context) is None

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
        if _EXPONENT.search(rendered) is not None or _SMALL.search(rendered) is not None:
            return None
        if b"null" in rendered and _may_have_non_finite(data):
            return None
        return rendered if rendered.isascii() else _escaped(rendered)


def write_page(page: dict[str, Any]) -> bytes:
    """What the stock renderer makes of a page that orjson is known to write so (`records`): of
    moments in UTC, and of nothing that `is_written_alike` would deny.
    """
    return _escaped(orjson.dumps(page, option=orjson.OPT_UTC_Z))


def is_written_alike(data: Any) -> bool:
    """Whether orjson by itself writes plain data as DRF's encoder does."""
    try:
        rendered = orjson.dumps(data, option=_OPTIONS)
    except (TypeError, RecursionError):
        return False
    is_odd = _has_odd_float(rendered) or (b"null" in rendered and _may_have_non_finite(data))
    return not is_odd


def writes_pages(renderer: Any, accepted_media_type: str | None, renderer_context: Any) -> bool:
    """Whether `write_page` writes what this renderer would."""
    return (
        type(renderer) is JSONRenderer
        and JSONRenderer.render is _RENDER
        and renderer.is_compact(accepted_media_type, renderer_context)
    )


_RENDER = JSONRenderer.render


def _has_odd_float(rendered: bytes) -> bool:
    """Whether there may be a float that Python writes otherwise than orjson."""
    return _EXPONENT.search(rendered) is not None or _SMALL.search(rendered) is not None


def _escaped(rendered: bytes) -> bytes:
    if not rendered.isascii():
        for raw, escaped in _LINE_SEPARATORS:
            rendered = rendered.replace(raw, escaped)
    return rendered


def _may_have_non_finite(data: Any) -> bool:
    """Looks first at the bytes that marshal packs: the exponent of a NaN or an infinity is all
    ones. Going through every value takes ten times as long as writing them all.
    """
    try:
        packed = marshal.dumps(data, _FLOATS_AS_BYTES)
    except ValueError:  # there is a value that it does not know
        pass
    else:
        if _NON_FINITE.search(packed) is None:
            return False
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
