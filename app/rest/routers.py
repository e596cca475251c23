"""DRF's routers, registering coroutine actions under DRF's names."""

from typing import Any

from adrf.routers import DefaultRouter as AdrfDefaultRouter
from adrf.routers import SimpleRouter as AdrfSimpleRouter
from rest_framework.routers import APIRootView as DRFAPIRootView
from rest_framework.routers import BaseRouter, DynamicRoute, Route
from rest_framework.schemas import SchemaGenerator

from app.rest import views

__all__ = [
    "APIRootView",
    "BaseRouter",
    "DefaultRouter",
    "DynamicRoute",
    "Route",
    "SchemaGenerator",
    "SimpleRouter",
]


class APIRootView(views.APIView, DRFAPIRootView):
    """The default basic root view for DefaultRouter."""

    async def get(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return DRFAPIRootView.get(self, request, *args, **kwargs)


class SimpleRouter(AdrfSimpleRouter):
    """A viewset's action may also carry adrf's name (`alist`), if it lacks DRF's."""

    def get_routes(self, viewset: Any) -> list[Any]:
        """DRF's; the list's route takes the methods of `app.rest.bulk` that the viewset has."""
        bulk = _bulk_actions(viewset)
        return [
            route._replace(mapping={**route.mapping, **bulk})
            if bulk and isinstance(route, Route) and "list" in route.mapping.values()
            else route
            for route in super().get_routes(viewset)
        ]

    def get_method_map(self, viewset: Any, method_map: dict[str, str]) -> dict[str, str]:
        bound = {}
        for method, action in method_map.items():
            twin = self.sync_to_async_action_map.get(action, action)
            if hasattr(viewset, action) and not _overrides_only_twin(viewset, action, twin):
                bound[method] = action
            elif hasattr(viewset, twin):
                bound[method] = twin
        return bound


def _bulk_actions(viewset: Any) -> dict[str, str]:
    """What the viewset's bulk mixins bind on the list's route."""
    bulk: dict[str, str] = {}
    for base in viewset.__mro__:
        bulk = vars(base).get("bulk_actions", {}) | bulk
    return bulk


def _overrides_only_twin(viewset: Any, action: str, twin: str) -> bool:
    """Whether the class nearest to `viewset` that defines either name defines only adrf's."""
    for base in viewset.__mro__:
        if action in vars(base):
            return False
        if twin in vars(base):
            return True
    return False


class DefaultRouter(SimpleRouter, AdrfDefaultRouter):
    APIRootView = APIRootView
