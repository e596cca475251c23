"""The benchmark's resources, and Stowage's own beside them."""

from django.urls import include, path

from app import urls
from app.ops import error_pages
from app.rest.routers import SimpleRouter
from load.bench.stowage.views import EmptyView, HostViewSet, SampleViewSet

router = SimpleRouter()
router.register("hosts", HostViewSet)
router.register("samples", SampleViewSet)

urlpatterns = [
    path("bench/empty/", EmptyView.as_view()),
    path("bench/", include(router.urls)),
    *urls.urlpatterns,
]

handler400 = error_pages.bad_request
handler403 = error_pages.permission_denied
handler404 = error_pages.not_found
handler500 = error_pages.server_error
