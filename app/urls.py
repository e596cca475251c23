"""The composition root: what is mounted where.

/                   to the API
/healthz /readyz    for orchestrators; answered by `app.ops.middleware` before the rest
/auth/              log in and out, where the browsable API is on
/api/v1/schema/     the API's description (OpenAPI), where it is on; docs/ and redoc/ show it
/api/v1/            the API; what it has no view for is answered by `unknown_endpoint`
"""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, URLResolver, include, path, re_path, reverse
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.settings import api_settings

from app.accounts import urls as accounts
from app.fleet import urls as fleet
from app.ops import error_pages
from app.rest.permissions import AllowAny
from app.rest.routers import APIRootView, DefaultRouter

# What the root lists beside the routers' resources: under which word, and the route's name.
MORE_ADDRESSES = {
    "me": "me",
    "reports/density": "density-report",
    "reports/rightsizing": "rightsizing-report",
    "placements/simulate": "placement-simulate",
    "placements/repack": "placement-repack",
}


class StowageView(APIRootView):
    """Fleets of containers: what runs where, what it uses, and how many more would fit."""

    permission_classes = [AllowAny]  # the list of addresses is no secret, and the way to log in


class Router(DefaultRouter):
    """One root for the resources of every app."""

    APIRootView = StowageView

    def get_api_root_view(self, api_urls: Any = None) -> Any:
        resources = {
            prefix: self.routes[0].name.format(basename=basename)
            for prefix, _, basename in self.registry
        }
        return StowageView.as_view(api_root_dict=resources | MORE_ADDRESSES)


ROUTERS = [accounts.router, fleet.router]

router = Router()
for one in ROUTERS:
    router.registry.extend(one.registry)


async def home(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(reverse("api-root"))


urlpatterns: list[URLPattern | URLResolver] = [
    path("", home, name="home"),
    path("api/v1/", include([*router.urls, *accounts.urlpatterns, *fleet.urlpatterns])),
    re_path("^api/", error_pages.unknown_endpoint),
]

renderers: Any = api_settings.DEFAULT_RENDERER_CLASSES
if any(issubclass(renderer, BrowsableAPIRenderer) for renderer in renderers):
    urlpatterns.append(path("auth/", include(accounts.login_urlpatterns)))

if settings.OPENAPI:
    from app.rest.schema_views import RedocView, SchemaView, SwaggerView

    described = [path("schema/", SchemaView.as_view(), name="schema")]
    if apps.is_installed("drf_spectacular_sidecar"):
        described += [
            path("docs/", SwaggerView.as_view(), name="docs"),
            path("redoc/", RedocView.as_view(), name="redoc"),
        ]
    urlpatterns.insert(1, path("api/v1/", include(described)))

handler400 = error_pages.bad_request
handler403 = error_pages.permission_denied
handler404 = error_pages.not_found
handler500 = error_pages.server_error
