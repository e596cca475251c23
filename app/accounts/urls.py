"""`router` and `urlpatterns` go under /api/v1/; `login_urlpatterns` beside the browsable API."""

from django.urls import path

from app.accounts.login_views import LoginView, LogoutView
from app.accounts.views import MeView, TokenViewSet
from app.rest.routers import SimpleRouter

router = SimpleRouter()
router.register("tokens", TokenViewSet, basename="token")

urlpatterns = [path("me/", MeView.as_view(), name="me")]

login_urlpatterns = (
    [
        path("login/", LoginView.as_view(), name="login"),
        path("logout/", LogoutView.as_view(), name="logout"),
    ],
    "rest_framework",  # the namespace that DRF's browsable pages link to
)
