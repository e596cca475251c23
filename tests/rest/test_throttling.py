"""Throttles count in one step: as many requests as the rate allows, however many come together."""

import asyncio
import sys

import pytest
from django.urls import path

from app.rest import throttling
from app.rest.permissions import AllowAny
from app.rest.response import Response
from app.rest.throttling import AnonRateThrottle, History, MemoryStore, ScopedRateThrottle
from app.rest.views import APIView

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.rest.test_throttling")]


class FivePerMinute(AnonRateThrottle):
    rate = "5/min"


class TwoPerHour(ScopedRateThrottle):
    THROTTLE_RATES = {"reports": "2/hour"}


class Throttled(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = [FivePerMinute]

    async def get(self, request):
        await asyncio.sleep(0)
        return Response({})


class Scoped(Throttled):
    throttle_classes = [TwoPerHour]
    throttle_scope = "reports"


class Keeping(Throttled):
    """Asks the same throttle each time."""

    kept = FivePerMinute()

    def get_throttles(self):
        return [self.kept]


urlpatterns = [
    path("throttled/", Throttled.as_view()),
    path("scoped/", Scoped.as_view()),
    path("keeping/", Keeping.as_view()),
]


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""

    class Clock:
        now = 1_000_000.0

        def __call__(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(throttling.SimpleRateThrottle, "timer", clock)
    return clock


async def test_requests_over_the_rate_are_refused_and_told_when_to_return(client, clock):
    for left in (4, 3, 2, 1, 0):
        response = await client.get("/throttled/")
        assert response.status_code == 200
        assert response["RateLimit-Policy"] == '"anon";q=5;w=60'
        assert response["RateLimit"] == f'"anon";r={left};t={56 + left}'
        clock.now += 1 if left else 0
    response = await client.get("/throttled/")
    assert response.status_code == 429
    assert response["Retry-After"] == "56"
    assert response["RateLimit"] == '"anon";r=0;t=56'
    clock.now += 56
    assert (await client.get("/throttled/")).status_code == 200


async def test_throttle_that_is_kept_tells_of_each_request(client, clock):
    for _ in range(6):
        refused = await client.get("/keeping/")
    assert (refused.status_code, refused["Retry-After"]) == (429, "60")
    clock.now += 61
    for left in (4, 3):
        assert (await client.get("/keeping/"))["RateLimit"] == f'"anon";r={left};t=60'


async def test_requests_that_come_together_do_not_slip_through(client):
    responses = await asyncio.gather(*[client.get("/throttled/") for _ in range(50)])
    assert sorted(response.status_code for response in responses) == [200] * 5 + [429] * 45


async def test_scope_of_the_view_names_the_rate(client, clock):
    codes = [(await client.get("/scoped/")).status_code for _ in range(3)]
    assert codes == [200, 200, 429]


async def test_memory_of_the_store_is_bounded():
    store = MemoryStore(capacity=3)
    for key in "abcde":
        await store.hit(key, 1, 60, 0)
    assert list(store.histories) == ["c", "d", "e"]


async def test_while_redis_is_gone_the_worker_counts_alone(client, settings, caplog):
    settings.CACHE_URL = "redis://127.0.0.1:1/0"
    codes = [(await client.get("/throttled/")).status_code for _ in range(7)]
    assert codes == [200] * 5 + [429] * 2
    assert caplog.text.count("Redis cannot be reached") == 1


async def test_history_takes_sixteen_bytes_a_request():
    history = History()
    for number in range(100_000):
        history.drop_until(number - 600)
        history.add(number, limit=History.EXACT, duration=600)
    assert (history.count, history.oldest(0)) == (600, 99_400)
    assert sys.getsizeof(history.times) + sys.getsizeof(history.numbers) < 16 * 2 * 600 + 2000
