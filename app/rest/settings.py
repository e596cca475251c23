"""DRF's settings, read from `REST_FRAMEWORK` under DRF's keys."""

from rest_framework.settings import (
    DEFAULTS,
    IMPORT_STRINGS,
    APISettings,
    api_settings,
    import_from_string,
    perform_import,
    reload_api_settings,
)

__all__ = [
    "DEFAULTS",
    "IMPORT_STRINGS",
    "APISettings",
    "api_settings",
    "import_from_string",
    "perform_import",
    "reload_api_settings",
]
