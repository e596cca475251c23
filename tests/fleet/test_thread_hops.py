"""No request of the domain enters a thread, whatever its route and method."""

from typing import Any

import pytest
import pytest_asyncio
from django.urls import URLPattern, resolve

from app import db
from app.accounts.models import Team
from app.fleet import services, urls
from app.fleet.models import Event, Revision
from app.rest.test import APIClient
from tests.fleet.samples import report
from tests.fleet.test_containers import observation
from tests.fleet.test_ingest import sample

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

HOST = {"name": "new", "cpus": 2, "memory_bytes": 2**34}
WORKLOAD = {"name": "new", "image": "nginx:1"}

# Who asks, the method, the address under /api/v1/, the body, the status.
REQUESTS: list[tuple[str, str, str, Any, int]] = [
    ("reader", "get", "hosts/", None, 200),
    ("writer", "post", "hosts/", HOST, 201),
    ("reader", "get", "hosts/{host}/", None, 200),
    ("writer", "put", "hosts/{host}/", HOST, 200),
    ("writer", "patch", "hosts/{host}/", {"cpus": 8}, 200),
    ("writer", "patch", "hosts/", [{"id": 0}], 400),
    ("writer", "patch", "workloads/", [{"id": 0}], 400),
    ("writer", "delete", "hosts/{host}/?force=true", None, 204),
    ("agent", "post", "hosts/observe/", observation(), 200),
    ("reader", "get", "hosts/{host}/containers/", None, 200),
    ("reader", "get", "images/", None, 200),
    ("reader", "get", "images/{image}/", None, 200),
    ("reader", "get", "workloads/", None, 200),
    ("writer", "post", "workloads/", WORKLOAD, 201),
    ("reader", "get", "workloads/{workload}/", None, 200),
    ("writer", "put", "workloads/{workload}/", WORKLOAD, 200),
    ("writer", "patch", "workloads/{workload}/", {"replicas": 2}, 200),
    ("writer", "delete", "workloads/{workload}/", None, 204),
    ("reader", "get", "workloads/{workload}/containers/", None, 200),
    ("reader", "get", "workloads/{workload}/revisions/", None, 200),
    ("writer", "post", "workloads/{workload}/rollback/", {"revision": 1}, 200),
    ("reader", "get", "quotas/", None, 200),
    ("reader", "get", "quotas/{quota}/", None, 200),
    ("writer", "post", "quotas/", {"cpus": 1}, 400),
    ("writer", "put", "quotas/{quota}/", {"team": 0}, 400),
    ("writer", "patch", "quotas/{quota}/", {"cpus": 2}, 200),
    ("writer", "delete", "quotas/{quota}/", None, 204),
    ("reader", "get", "policies/", None, 200),
    ("reader", "get", "policies/{policy}/", None, 200),
    ("reader", "get", "policies/defaults/", None, 200),
    ("writer", "post", "policies/", {"constants": {}}, 400),
    ("writer", "put", "policies/{policy}/", {"constants": {"samples_min": 5}}, 200),
    ("writer", "patch", "policies/{policy}/", {"constants": {}}, 200),
    ("writer", "delete", "policies/{policy}/", None, 204),
    ("reader", "get", "revisions/", None, 200),
    ("reader", "get", "revisions/{revision}/", None, 200),
    ("reader", "get", "containers/?label=a=b&state=running&search=x&ordering=-id", None, 200),
    ("reader", "get", "containers/{container}/", None, 200),
    ("reader", "get", "containers/{container}/usage/", None, 200),
    ("reader", "get", "usage/?container={container}&since=2026-01-01T00:00:00Z", None, 200),
    ("agent", "post", "usage/", "samples", 201),
    ("agent", "post", "usage/?on_error=skip", [{}], 200),
    ("reader", "post", "placements/simulate/", {"memory_reservation_bytes": 1}, 200),
    ("reader", "post", "placements/repack/", {}, 200),
    ("reader", "get", "events/", None, 200),
    ("reader", "get", "events/{event}/", None, 200),
    ("reader", "get", "reports/density/", None, 200),
    ("reader", "get", "reports/rightsizing/", None, 200),
    ("reader", "get", "reports/rightsizing/?by=container&format=csv", None, 200),
    ("writer", "post", "hosts/", {}, 400),
    ("reader", "get", "hosts/0/", None, 404),
    ("reader", "post", "hosts/", HOST, 403),
    ("reader", "options", "hosts/", None, 200),
    ("writer", "options", "workloads/{workload}/", None, 200),
    ("reader", "head", "hosts/", None, 200),
]


@pytest_asyncio.fixture(loop_scope="session")
async def ids(placed_events: None) -> dict[str, int]:
    """One object of each kind."""
    workload = await services.create_workload(name="w", image="x")
    observed = await services.observe_host(**report(labels={"stowage.workload": "w"}))
    (row,) = await db.fetch("SELECT image_id FROM fleet_container")
    team = await Team.objects.acreate(name="Core", slug="core")
    quota = await services.create_quota(team=team, cpus=1)
    policy = await services.create_policy(workload=workload, constants={"samples_min": 10})
    return {
        "policy": policy.pk,
        "quota": quota.pk,
        "workload": workload.pk,
        "revision": (await Revision.objects.aget()).pk,
        "host": observed.host_id,
        "container": observed.containers["c1"],
        "image": row["image_id"],
        "event": (await Event.objects.alatest("id")).pk,
    }


@pytest.mark.parametrize(("who", "method", "path", "body", "status"), REQUESTS)
async def test_request_enters_no_thread(  # noqa: PLR0917 - a row of the table
    who: str,
    method: str,
    path: str,
    body: Any,
    status: int,
    ids: dict[str, int],
    hops: list[str],
    writer: APIClient,
    reader: APIClient,
    agent: APIClient,
) -> None:
    client = {"writer": writer, "reader": reader, "agent": agent}[who]
    if body == "samples":
        body = [sample(ids["container"])]
    call = getattr(client, method)
    url = f"/api/v1/{path.format(**ids)}"
    response = await (call(url) if body is None else call(url, body))
    assert response.status_code == status, response.content
    assert hops == []


async def test_every_route_and_method_is_in_the_table() -> None:
    asked = set()
    for _, method, path, _, _ in REQUESTS:
        address = path.partition("?")[0].format_map(dict.fromkeys(NAMES, 1))
        match = resolve(f"/api/v1/{address}")
        asked.add((match.url_name, method))
    offered = {
        (pattern.name, method)
        for pattern in urls.urlpatterns
        if isinstance(pattern, URLPattern) and hasattr(pattern.callback, "actions")
        for method in pattern.callback.actions
        if method != "head"
    }
    assert offered - asked == set()


NAMES = ("policy", "quota", "workload", "revision", "host", "container", "image", "event")
