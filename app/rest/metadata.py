"""DRF's metadata for OPTIONS, with permissions and the object asked asynchronously."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework import metadata as drf
from rest_framework.metadata import BaseMetadata

from app.rest.bridges import bridged
from app.rest.request import override_method

__all__ = ["BaseMetadata", "SimpleMetadata"]


class SimpleMetadata(drf.SimpleMetadata):
    @bridged
    async def determine_metadata(self, request: Any, view: Any) -> dict[str, Any]:
        actions = (
            await self._permitted_actions(request, view) if hasattr(view, "get_serializer") else {}
        )
        metadata: dict[str, Any] = {
            "name": view.get_view_name(),
            "description": view.get_view_description(),
            "renders": [renderer.media_type for renderer in view.renderer_classes],
            "parses": [parser.media_type for parser in view.parser_classes],
        }
        if actions:
            metadata["actions"] = actions
        return metadata

    async def _permitted_actions(self, request: Any, view: Any) -> dict[str, Any]:
        """What may be sent with POST and PUT, for those that this caller may use here."""
        actions = {}
        for method in ("POST", "PUT"):
            if method not in view.allowed_methods:
                continue
            with override_method(view, request, method) as cloned:
                try:
                    await view.check_permissions(cloned)
                    if method == "PUT" and hasattr(view, "get_object"):
                        await view.get_object()
                except (exceptions.APIException, PermissionDenied, Http404):
                    continue
                actions[method] = self.get_serializer_info(view.get_serializer())
        return actions
