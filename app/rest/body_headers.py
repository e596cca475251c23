"""What the headers of a body say about it, checked before it is read.

Content-Encoding   415 (RFC 9110, 15.5.16): nothing is decoded here, so nothing can swell
Content-Type       415 for a charset that is none, 400 for parameters that can't be read
Content-Length     400 for what is no number
"""

from collections.abc import Mapping
from encodings.aliases import aliases
from functools import lru_cache
from typing import Any

from django.utils.http import parse_header_parameters

from app.rest.exceptions import UnsupportedContent, ValidationError

__all__ = ["check_body_headers", "codec_of", "parameters_of"]

_NO_TEXT = {
    "base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec",
    "idna", "punycode", "mbcs", "utf_7", "undefined", "unicode_escape", "raw_unicode_escape",
}  # fmt: skip
# Python keeps each name that it was asked for and does not know, for ever: it is not asked.
_CODECS = {
    name: codec
    for name, codec in {**aliases, **{one: one for one in aliases.values()}}.items()
    if codec not in _NO_TEXT
}


def codec_of(charset: str) -> str | None:
    """Python's name for a charset of text; None if there is none, or it is of something else."""
    return _CODECS.get(charset.strip().lower().replace("-", "_"))


def parameters_of(content_type: str) -> tuple[str, dict[str, str]]:
    """The media type in lower case, and its parameters. Raises ValidationError."""
    try:
        return parse_header_parameters(content_type)
    except (LookupError, TypeError, ValueError):
        message = "Its parameters can't be read. Send the media type with plain parameters."
        raise ValidationError({"Content-Type": [message]}) from None


def check_body_headers(meta: Mapping[str, Any]) -> None:
    """Raises UnsupportedContent or ValidationError, each naming the header and the remedy."""
    coding = meta.get("HTTP_CONTENT_ENCODING")
    if coding is not None and coding.strip().lower() not in ("", "identity"):
        message = (
            f"{_shown(coding)} is not decoded here. Send the body as it is, without"
            " Content-Encoding."
        )
        raise UnsupportedContent({"Content-Encoding": [message]}, {"Accept-Encoding": "identity"})
    length = meta.get("CONTENT_LENGTH") or "0"
    is_number = length.isascii() and length.isdigit()
    if not is_number and "HTTP_TRANSFER_ENCODING" not in meta:
        message = f"{_shown(length)} is no length. Send the number of bytes of the body."
        raise ValidationError({"Content-Length": [message]})
    content_type = meta.get("CONTENT_TYPE", "")
    if ";" in content_type and not _is_sound(content_type):
        _check_charset(content_type)


@lru_cache(maxsize=128)
def _is_sound(content_type: str) -> bool:
    if len(content_type) > 256:
        return False  # strangers shall not fill the memory
    try:
        _check_charset(content_type)
    except (UnsupportedContent, ValidationError):
        return False
    return True


def _check_charset(content_type: str) -> None:
    _, parameters = parameters_of(content_type)
    charset = parameters.get("charset")
    if charset is not None and codec_of(charset) is None:
        message = f"The charset {_shown(charset)} is not known here. Send UTF-8."
        raise UnsupportedContent({"Content-Type": [message]})


def _shown(text: str) -> str:
    return text if len(text) <= 50 else f"{text[:50]}..."
