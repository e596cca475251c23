"""The browsable API, prepared with awaits and rendered in place."""

from rest_framework.renderers import AdminRenderer, BrowsableAPIRenderer

__all__ = ["AdminRenderer", "BrowsableAPIRenderer"]
