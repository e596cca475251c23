"""/metrics: what a worker has done, as Prometheus reads it."""

import re
from typing import Any

import pytest

from app.ops import middleware, views
from app.ops.metrics import BUCKETS_SECONDS, Metrics
from app.rest.handlers import ASGIHandler
from app.rest.test import APIClient

LINE = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [-+0-9.e]+')


def _values(page: str) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_every_line_is_a_type_or_a_sample() -> None:
    metrics = Metrics()
    metrics.record_request("GET", 200, 0.002)
    for line in metrics.render({"size": 3, "queries": 10}).splitlines():
        assert line.startswith("# TYPE ") or LINE.fullmatch(line), line


def test_requests_are_counted_by_method_and_status() -> None:
    metrics = Metrics()
    for method, status in (("GET", 200), ("GET", 200), ("POST", 400), ("BREW", 405)):
        metrics.record_request(method, status, 0.01)
    values = _values(metrics.render({}))
    assert values['stowage_requests_total{method="GET",status="200"}'] == 2
    assert values['stowage_requests_total{method="POST",status="400"}'] == 1
    assert values['stowage_requests_total{method="other",status="405"}'] == 1


def test_buckets_are_cumulative_and_end_with_the_count() -> None:
    metrics = Metrics()
    for seconds in (0.0005, 0.001, 0.0011, 60.0):
        metrics.record_request("GET", 200, seconds)
    values = _values(metrics.render({}))
    name = "stowage_request_duration_seconds"
    assert values[f'{name}_bucket{{le="0.001"}}'] == 2
    assert values[f'{name}_bucket{{le="0.0025"}}'] == 3
    assert values[f'{name}_bucket{{le="{BUCKETS_SECONDS[-1]}"}}'] == 3
    assert values[f'{name}_bucket{{le="+Inf"}}'] == values[f"{name}_count"] == 4
    assert values[f"{name}_sum"] == pytest.approx(60.0026)


def test_the_pool_is_shown_as_gauges_and_counters() -> None:
    page = Metrics().render({"in_use": 2, "timeouts": 5})
    assert "# TYPE stowage_database_pool_in_use gauge" in page
    assert "# TYPE stowage_database_pool_timeouts_total counter" in page
    assert _values(page)["stowage_database_pool_timeouts_total"] == 5


@pytest.mark.asyncio
async def test_with_the_setting_requests_are_counted_and_shown(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.METRICS = True
    fresh = Metrics()
    monkeypatch.setattr(middleware, "metrics", fresh)
    monkeypatch.setattr(views, "metrics", fresh)
    client = APIClient(app=ASGIHandler())
    await client.get("/api/v1/")
    await client.get("/api/v1/nothing/")
    response = await client.get("/metrics", HTTP_HOST="10.1.2.3")
    assert response["Content-Type"] == "text/plain; version=0.0.4"
    values = _values(response.text)
    assert values['stowage_requests_total{method="GET",status="200"}'] == 1
    assert values['stowage_requests_total{method="GET",status="404"}'] == 1
    assert values["process_peak_resident_memory_bytes"] > 2**20


@pytest.mark.asyncio
async def test_without_the_setting_there_is_no_such_page(client: APIClient) -> None:
    assert (await client.get("/metrics")).status_code == 404
