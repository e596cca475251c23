"""DRF's Response. Rendering only computes; a renderer that must wait has `async def prepare`."""

from rest_framework.response import Response

__all__ = ["Response"]
