"""Optimistic locking: a writer may say which version of an object it has seen."""

from collections.abc import Container

from app.errors import Outdated

Versions = Container[int] | None
"""The versions that a write may start from; None: any."""


def check_version(version: int, versions: Versions) -> None:
    """Raises Outdated unless `version`, of a row that is locked, is one of `versions`."""
    if versions is not None and version not in versions:
        raise Outdated(version)
