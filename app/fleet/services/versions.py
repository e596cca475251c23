"""Optimistic locking: a writer may say which version of an object it has seen."""

from collections.abc import Container

from app.errors import Conflict

Versions = Container[int] | None
"""The versions that a write may start from; None: any."""


class VersionMismatchError(Conflict):
    """The object has been written since the writer read it. `version` is the current one."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"The current version is {version}. Read the object again, then repeat the change.",
            code="version_mismatch",
        )
        self.version = version


def check_version(version: int, versions: Versions) -> None:
    """Raises VersionMismatchError unless `version` is one of `versions`."""
    if versions is not None and version not in versions:
        raise VersionMismatchError(version)
