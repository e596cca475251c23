"""The composition root: what is mounted where."""

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("app.ops.urls")),
    path("api/v1/", include("app.fleet.urls")),
]
