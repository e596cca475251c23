"""DRF's exceptions, and the one table that turns everything else a request can raise into them.

    django.http.Http404, PermissionDenied   DRF's own handler
    app.errors.*                            _DOMAIN
    django.db errors                        _DATABASE, IntegrityError by SQLSTATE
    a body or a field that Django refuses   400, 413

What stands in no table is a fault of the server: it is raised on, logged, and answered with 500.
"""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import (
    BadRequest,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.db.models import ProtectedError, RestrictedError
from django.http.multipartparser import MultiPartParserError
from rest_framework import status
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    ErrorDetail,
    MethodNotAllowed,
    NotAcceptable,
    NotAuthenticated,
    NotFound,
    ParseError,
    PermissionDenied,
    Throttled,
    UnsupportedMediaType,
    ValidationError,
    _get_error_details,
    bad_request,
    server_error,
)
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import exception_handler as drf_exception_handler

from app import errors

__all__ = [
    "APIException",
    "AuthenticationFailed",
    "Conflict",
    "ErrorDetail",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotAuthenticated",
    "NotFound",
    "ParseError",
    "PermissionDenied",
    "PreconditionFailed",
    "PreconditionRequired",
    "RequestTooLarge",
    "ServiceUnavailable",
    "Throttled",
    "TooManyItems",
    "UnsupportedContent",
    "UnsupportedMediaType",
    "ValidationError",
    "bad_request",
    "exception_handler",
    "server_error",
]


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = "The request conflicts with what is stored."
    default_code = "conflict"


class PreconditionFailed(APIException):
    """`version` is the current one, where there is one; `headers` go with the answer."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_detail = "The resource has changed since it was read. Read it again, then retry."
    default_code = "precondition_failed"

    def __init__(
        self,
        detail: Any = None,
        code: str | None = None,
        *,
        version: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail, code)
        self.headers = headers or {}
        if version is not None:
            self.detail: Any = {"detail": str(detail or self.default_detail), "version": version}


class PreconditionRequired(APIException):
    """RFC 6585: the view wants to know which state of the resource the writer has seen."""

    status_code = status.HTTP_428_PRECONDITION_REQUIRED
    default_detail = "Send If-Match with the ETag of the resource as you read it."
    default_code = "precondition_required"


class RequestTooLarge(APIException):
    """The body is over `limit` bytes; raised before the rest of it is read."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "request_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit} bytes. Send less at a time.")


class UnsupportedContent(APIException):
    """The body is coded in a way that nobody decodes here; `headers` go with the answer."""

    status_code = status.HTTP_415_UNSUPPORTED_MEDIA_TYPE
    default_code = "unsupported_content"

    def __init__(self, detail: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.headers = headers or {}


class TooManyItems(APIException):
    """A list holds more than `limit` items."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_many_items"

    def __init__(self, limit: int, given: int | str) -> None:
        super().__init__(f"At most {limit} items at a time; got {given}. Send or name fewer.")


class ServiceUnavailable(APIException):
    """A part is gone for now; `wait` seconds become the Retry-After header."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The database cannot be reached. Try again shortly."
    default_code = "unavailable"

    def __init__(self, detail: Any = None, code: str | None = None, wait: int = 1) -> None:
        super().__init__(detail, code)
        self.wait = wait


def _invalid(error: errors.Invalid) -> APIException:
    fields: Any = error.fields or {api_settings.NON_FIELD_ERRORS_KEY: [error.detail]}
    return ValidationError(fields, error.code)


_DOMAIN: dict[type[errors.DomainError], Callable[[Any], APIException]] = {
    errors.NotFound: lambda error: NotFound(error.detail, error.code),
    errors.Outdated: lambda error: PreconditionFailed(
        error.detail,
        error.code,
        version=error.version,
        headers={"ETag": f'"{error.version}"'},
    ),
    errors.Conflict: lambda error: Conflict(error.fields or error.detail, error.code),
    errors.Invalid: _invalid,
    errors.Denied: lambda error: PermissionDenied(error.detail, error.code),
    errors.Unavailable: lambda error: ServiceUnavailable(
        error.detail, error.code, error.retry_after_seconds
    ),
}

_TAKEN = "An object with these values exists already, or another refers to this one."
_INTEGRITY: dict[str, Callable[[], APIException]] = {
    "23505": lambda: Conflict("An object with these values exists already.", "unique"),
    "23503": lambda: Conflict("Another object refers to this one, or what is named is gone."),
    "23P01": lambda: Conflict("The values overlap with those of another object."),
    "23514": lambda: ValidationError("The values break a rule of the stored data."),
    "23502": lambda: ValidationError("A value is missing."),
}


def _integrity(error: IntegrityError) -> APIException:
    cause = error.__cause__ or error.__context__
    return _INTEGRITY.get(getattr(cause, "sqlstate", None) or "", lambda: Conflict(_TAKEN))()


_TABLE: tuple[tuple[type[Exception], Callable[[Any], APIException]], ...] = (
    (ProtectedError, lambda _: Conflict("Other objects refer to this one. Remove them first.")),
    (RestrictedError, lambda _: Conflict("Other objects refer to this one. Remove them first.")),
    (IntegrityError, _integrity),
    (DataError, lambda _: ValidationError("A value is out of the range that can be stored.")),
    (OperationalError, lambda _: ServiceUnavailable()),
    (InterfaceError, lambda _: ServiceUnavailable()),
    (RequestDataTooBig, lambda _: RequestTooLarge(_body_limit())),
    (TooManyFieldsSent, lambda _: _too_many("fields")),
    (TooManyFilesSent, lambda _: _too_many("files")),
    (MultiPartParserError, lambda error: ParseError(f"Multipart form parse error - {error}")),
    (SuspiciousOperation, lambda _: ParseError("The request is malformed.")),
    (BadRequest, lambda _: ParseError("The request is malformed.")),
)


def _body_limit() -> int:
    from django.conf import settings

    return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0)


def _too_many(kind: str) -> APIException:
    from django.conf import settings

    most = getattr(settings, f"DATA_UPLOAD_MAX_NUMBER_{kind.upper()}")
    return ParseError(f"The form has more than {most} {kind}. Send fewer at a time.")


def to_api_exception(exc: Exception) -> Exception:
    """The APIException that stands for `exc`; `exc` itself where the tables have none."""
    if isinstance(exc, errors.DomainError):
        for kind, build in _DOMAIN.items():
            if isinstance(exc, kind):
                return build(exc)
    for known, translate in _TABLE:
        if isinstance(exc, known):
            return translate(exc)
    return exc


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's handler, after the tables of this module. None means a fault of the server."""
    translated = to_api_exception(exc)
    if translated is not exc:
        translated.__cause__ = exc
    response: Response | None = drf_exception_handler(translated, context)
    if response is not None:
        for name, value in getattr(translated, "headers", {}).items():
            response[name] = value
    return response


get_error_details = _get_error_details
