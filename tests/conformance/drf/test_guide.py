"""What DRF's API guide documents and its own suite does not test, on `app.rest`."""

import pytest
from django.core.cache import cache, caches
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_page
from django.views.decorators.vary import vary_on_cookie, vary_on_headers

from app.rest.decorators import action, api_view, authentication_classes, permission_classes
from app.rest.permissions import AllowAny
from app.rest.response import Response
from app.rest.routers import SimpleRouter
from app.rest.throttling import SimpleRateThrottle
from app.rest.views import APIView
from app.rest.viewsets import ViewSet

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.conformance.drf.test_guide")]


class Counting:
    authentication_classes = []
    permission_classes = [AllowAny]
    answers = 0

    def count(self):
        Counting.answers += 1
        return Response({"answers": Counting.answers})


class CachedViewSet(Counting, ViewSet):
    @method_decorator(cache_page(60 * 60 * 2))
    @method_decorator(vary_on_cookie)
    async def list(self, request, format=None):  # noqa: A002 - DRF's name
        return self.count()

    @action(detail=False)
    @method_decorator(cache_page(60 * 60 * 2))
    async def extra(self, request):
        return self.count()


class CachedView(Counting, APIView):
    @method_decorator(cache_page(60 * 60 * 2))
    @method_decorator(vary_on_headers("Authorization"))
    async def get(self, request, format=None):  # noqa: A002 - DRF's name
        return self.count()


@method_decorator(cache_page(60), name="dispatch")
class CachedDispatch(Counting, APIView):
    async def get(self, request):
        return self.count()


@cache_page(60 * 15)
@vary_on_cookie
@api_view(["GET"])
@authentication_classes([])
@permission_classes([AllowAny])
async def cached_function(request):
    return Counting().count()


class CachedThrottle(SimpleRateThrottle):
    cache = caches.create_connection("default")  # any cache but DRF's default one
    rate = "1/minute"

    def get_cache_key(self, request, view):
        return "throttled"


class ThrottledView(Counting, APIView):
    throttle_classes = [CachedThrottle]

    async def get(self, request):
        return self.count()


router = SimpleRouter()
router.register("viewset", CachedViewSet, basename="viewset")
urlpatterns = [
    path("throttled/", ThrottledView.as_view()),
    path("view/", CachedView.as_view()),
    path("dispatch/", CachedDispatch.as_view()),
    path("function/", cached_function),
    path("", include(router.urls)),
]


@pytest.mark.parametrize(
    "url", ["/view/", "/dispatch/", "/function/", "/viewset/", "/viewset/extra/"]
)
async def test_answer_of_a_decorated_view_is_cached(client, url):
    cache.clear()
    first, second = await client.get(url), await client.get(url)
    assert first.status_code == 200, first.text
    assert first.json() == second.json()
    assert "max-age" in first["Cache-Control"]


@pytest.mark.hops("Django's caches are synchronous inside")
async def test_throttle_counts_in_the_cache_that_it_names(client):
    cache.clear()
    assert (await client.get("/throttled/")).status_code == 200
    refused = await client.get("/throttled/")
    assert (refused.status_code, refused["Retry-After"]) == (429, "60")
    assert len(cache.get("throttled")) == 1
    cache.clear()
    assert (await client.get("/throttled/")).status_code == 200
