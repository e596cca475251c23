"""The one function that DRF's conftest calls of the package of this name."""

from typing import Any

from settings import env


def config() -> dict[str, Any]:
    return env.database()
