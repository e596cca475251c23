"""GET usage/?resolution=: what containers used over time, from roll-ups and raw samples alike."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
import pytest_asyncio
from django.utils import timezone

from app.db.testing import assert_num_queries
from app.fleet import rollups, services
from app.fleet.history import Span
from app.fleet.models import Container
from app.fleet.services import Sample
from app.rest.test import APIClient
from tests.fleet.samples import container, report

pytestmark = [pytest.mark.asyncio]

USAGE = "/api/v1/usage/"
NOW = timezone.now()
# Two hours that are over, whatever the time of the test.
FIRST = (NOW - timedelta(hours=4)).replace(minute=0, second=0, microsecond=0)


@pytest_asyncio.fixture(loop_scope="session")
async def ids(transaction: None) -> list[int]:
    """Two containers of a workload; the first uses 1 and 3 cores, the second 0.5, in each hour."""
    await services.create_workload(name="web", image="x")
    labels = {"stowage.workload": "web"}
    limits = {"cpu_reservation": 1.0, "cpu_limit": 4.0, "memory_limit_bytes": 1000}
    both = (container("a", labels=labels, **limits), container("b", labels=labels))
    observed = await services.observe_host(**report(*both))
    first, second = observed.containers["a"], observed.containers["b"]
    samples = []
    for hours in (0, 1):
        start = FIRST + timedelta(hours=hours)
        samples += [
            Sample(first, start, 1.0, 100),
            Sample(first, start + timedelta(minutes=30), 3.0, 300),
            Sample(second, start + timedelta(minutes=10), 0.5, 50),
        ]
    await services.record_usage(samples=samples)
    return [first, second]


def text(moment: datetime) -> str:
    return moment.isoformat().replace("+", "%2B")


async def history(client: APIClient, query: str) -> Any:
    response = await client.get(f"{USAGE}?since={text(FIRST)}&{query}")
    assert response.status_code == 200, response.text
    return response.json()


async def test_hours_are_the_same_before_and_after_rolling_up(
    ids: list[int], reader: APIClient
) -> None:
    raw = await history(reader, "resolution=1h")
    assert await rollups.roll_up(now=NOW) == 4
    assert (await history(reader, "resolution=1h"))["points"] == raw["points"]
    assert [point["at"] for point in raw["points"]] == [
        (FIRST + timedelta(hours=hours)).isoformat().replace("+00:00", "Z") for hours in (0, 1)
    ]
    assert raw["points"][0] | {"at": None} == {
        "at": None,
        "containers": 2,
        "samples": 3,
        "cpu_mean": 2.5,
        "cpu_max": 3.5,
        "memory_mean": 250.0,
        "memory_max": 350,
    }


async def test_coarser_steps_add_hours_up(ids: list[int], reader: APIClient) -> None:
    await rollups.roll_up(now=NOW)
    points = (await history(reader, "resolution=1d"))["points"]
    assert sum(point["samples"] for point in points) == 6
    assert {point["cpu_max"] for point in points} <= {3.5}


async def test_minutes_come_from_raw_samples(ids: list[int], reader: APIClient) -> None:
    points = (await history(reader, f"resolution=15m&container={ids[0]}"))["points"]
    assert [(point["cpu_mean"], point["samples"]) for point in points] == [(1.0, 1), (3.0, 1)] * 2


@pytest.mark.parametrize(
    ("query", "samples"),
    [("", 6), ("&workload=0", 0), ("&label=stowage.workload=web", 6), ("&label=a=b", 0)],
)
async def test_containers_are_chosen(
    ids: list[int], reader: APIClient, query: str, samples: int
) -> None:
    points = (await history(reader, f"resolution=1h{query}"))["points"]
    assert sum(point["samples"] for point in points) == samples


async def test_every_choice_is_of_its_containers_in_every_form(
    ids: list[int], reader: APIClient
) -> None:
    """By container, workload, host and label: as JSON, NDJSON and CSV the same, as SVG drawn."""
    other = container("z", labels={"zone": "z"})
    observed = await services.observe_host(**report(other, name="host-z"))
    (alone,) = observed.containers.values()
    await services.record_usage(samples=[Sample(alone, FIRST, 0.25, 10)])
    workload = (await Container.objects.aget(pk=ids[0])).workload_id
    first = (await Container.objects.aget(pk=ids[0])).host_id
    chosen = {
        f"container={ids[0]}": [2, 2],
        f"container={alone}": [1],
        f"workload={workload}": [3, 3],
        f"host={first}": [3, 3],
        f"host={observed.host_id}": [1],
        f"host={observed.host_id}&workload={workload}": [],
        "label=zone=z": [1],
        f"workload={workload}&until={text(FIRST + timedelta(hours=1))}": [3],
    }
    for rolled_up in (False, True):
        if rolled_up:
            assert await rollups.roll_up(now=NOW) == 5
        for query, samples in chosen.items():
            points = (await history(reader, f"resolution=1h&{query}"))["points"]
            assert [point["samples"] for point in points] == samples, query
            url = f"{USAGE}?since={text(FIRST)}&resolution=1h&{query}&format="
            lines = (await reader.get(f"{url}ndjson")).text.splitlines()
            assert [json.loads(line) for line in lines if line] == points, query
            rows = csv.DictReader(io.StringIO((await reader.get(f"{url}csv")).text))
            assert [int(row["samples"]) for row in rows] == samples, query
            drawn = await reader.get(f"{url}svg")
            assert ("No samples" in drawn.text) is (not samples), query


async def test_reservations_and_limits_of_now_stand_beside(
    ids: list[int], reader: APIClient
) -> None:
    now = (await history(reader, "resolution=1h"))["now"]
    assert (now["containers"], now["cpu_reservation"], now["cpu_limit"]) == (2, 1.0, 4.0)
    assert (now["cpu_unlimited"], now["memory_unlimited"]) == (1, 1)


async def test_history_takes_as_many_statements_for_any_span(
    ids: list[int], reader: APIClient
) -> None:
    await history(reader, "resolution=1h")
    with assert_num_queries(
        8
    ):  # token, containers, how far rolled up, totals; points in a transaction
        await history(reader, "resolution=1h")


async def test_history_of_a_container_stands_under_it(ids: list[int], reader: APIClient) -> None:
    url = f"/api/v1/containers/{ids[1]}/usage/?resolution=1h&since={text(FIRST)}"
    points = (await reader.get(url)).json()["points"]
    assert [point["cpu_max"] for point in points] == [0.5, 0.5]
    assert (await reader.get("/api/v1/containers/0/usage/?resolution=1h")).status_code == 404


async def test_lines_and_tables_hold_the_points(ids: list[int], reader: APIClient) -> None:
    query = f"resolution=1h&since={text(FIRST)}"
    points = (await history(reader, "resolution=1h"))["points"]
    lines = await reader.get(f"{USAGE}?{query}&format=ndjson")
    assert [json.loads(line) for line in lines.text.splitlines()] == points
    table = await reader.get(f"{USAGE}?{query}&format=csv")
    assert table["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [float(row["cpu_mean"]) for row in rows] == [point["cpu_mean"] for point in points]


async def test_samples_come_as_lines_and_tables_too(ids: list[int], reader: APIClient) -> None:
    lines = (await reader.get(f"{USAGE}?format=ndjson")).text.splitlines()
    assert len(lines) == 6
    rows = csv.DictReader(io.StringIO((await reader.get(f"{USAGE}?format=csv")).text))
    assert {row["container"] for row in rows} == {str(one) for one in ids}


async def test_chart_is_a_picture_with_all_its_lines(ids: list[int], reader: APIClient) -> None:
    url = f"{USAGE}?resolution=1h&since={text(FIRST)}&container={ids[0]}&format=svg"
    response = await reader.get(url)
    assert response["Content-Type"].startswith("image/svg+xml")
    root = ElementTree.fromstring(response.text)
    strokes = {path.get("stroke") for path in root.iter("{http://www.w3.org/2000/svg}path")}
    assert {"#0072b2", "#56b4e9", "#009e73", "#d55e00"} <= strokes
    assert "No samples" not in response.text


async def test_chart_of_nothing_says_so(ids: list[int], reader: APIClient) -> None:
    response = await reader.get(f"{USAGE}?resolution=1h&container=0&format=svg")
    assert "No samples in this span." in response.text


@pytest.mark.usefixtures("transaction")
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("resolution=2h", "resolution"),
        ("resolution=", "resolution"),
        ("resolution=1h&since=then", "since"),
        ("resolution=1h&until=0001-01-01T00:00:00Z", "until"),
        ("resolution=1h&since=9999-12-31T23:59:59-23:00", "since"),
        ("resolution=1h&since=8999-12-31T00:00:00Z", "until"),
        ("resolution=1h&since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "until"),
        ("resolution=1h&since=2020-01-01T00:00:00Z", "resolution"),
        ("resolution=1m&since=2020-01-01T00:00:00Z&until=2020-01-01T01:00:00Z", "since"),
        ("resolution=1h&since=1970-01-01T00:00:00Z", "resolution"),
        ("resolution=1h&container=x", "container"),
        ("format=svg", "resolution"),
    ],
)
async def test_span_that_cannot_be_read_is_named(reader: APIClient, query: str, field: str) -> None:
    response = await reader.get(f"{USAGE}?{query}")
    assert response.status_code == 400, response.text
    assert list(response.json()) == [field]


async def test_span_begins_with_the_step_that_holds_since() -> None:
    moment = datetime(2026, 3, 1, 13, 45, 10, tzinfo=UTC)
    for resolution, start in {
        "1m": datetime(2026, 3, 1, 13, 45, tzinfo=UTC),
        "15m": datetime(2026, 3, 1, 13, 45, tzinfo=UTC),
        "1h": datetime(2026, 3, 1, 13, tzinfo=UTC),
        "6h": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "1d": datetime(2026, 3, 1, tzinfo=UTC),
    }.items():
        assert Span.covering(moment, moment, resolution).since == start
