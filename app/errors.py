"""The domain's errors. No HTTP in here: `app.rest.exceptions` maps each to a status once.

DomainError
├── NotFound      what was named does not exist
├── Conflict      it exists already, or something else stands in the way
│   └── Outdated  it has changed since it was read; `version` is the current one
├── Invalid       a value is not acceptable; `fields` names each and the remedy
├── Denied        the caller may not do this
└── Unavailable   a part is gone for now; `retry_after_seconds` says when to try again
"""

from collections.abc import Mapping
from typing import Any


class DomainError(Exception):
    """Base of every error that a service or a query raises on purpose.

    `detail` is a sentence for the person who made the request; `code` is stable, for programs.
    """

    code = "error"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class NotFound(DomainError):  # noqa: N818 - the design's names, read aloud as what happened
    code = "not_found"


class Conflict(DomainError):  # noqa: N818
    """`fields` maps a field's name to its messages, where one is to blame."""

    code = "conflict"

    def __init__(
        self, detail: str, *, code: str | None = None, fields: dict[str, list[str]] | None = None
    ) -> None:
        super().__init__(detail, code=code)
        self.fields = fields or {}


class Outdated(Conflict):
    """The object has been written since the writer read it. `version` is the current one."""

    code = "version_mismatch"

    def __init__(self, version: int) -> None:
        super().__init__(
            f"The current version is {version}. Read the object again, then repeat the change."
        )
        self.version = version


class Invalid(DomainError):  # noqa: N818
    """`fields` maps a field's name to its messages (an item's place to those of its fields); empty
    when no single field is to blame.
    """

    code = "invalid"

    def __init__(
        self, detail: str, *, code: str | None = None, fields: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail, code=code)
        self.fields = fields or {}


class Denied(DomainError):  # noqa: N818
    code = "denied"


class Unavailable(DomainError):  # noqa: N818
    code = "unavailable"

    def __init__(
        self, detail: str, *, code: str | None = None, retry_after_seconds: int = 1
    ) -> None:
        super().__init__(detail, code=code)
        self.retry_after_seconds = retry_after_seconds
