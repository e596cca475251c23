"""DRF's format suffixes: `format_suffix_patterns(urlpatterns)` serves `/hosts.json` too."""

from rest_framework.urlpatterns import apply_suffix_patterns, format_suffix_patterns

__all__ = ["apply_suffix_patterns", "format_suffix_patterns"]
