"""Every write there is: `?dry_run=all` answers and refuses as the write itself, and keeps nothing;
`If-Match` of a version that is over is 412 with the current one.
"""

from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from app import db
from app.accounts.models import Team
from app.fleet import services
from app.fleet.services import Sample
from app.rest.test import APIClient
from tests.clients import ClientOf
from tests.fleet.samples import container, report

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

TABLES = (
    *("host", "image", "image_hosts", "workload", "quota", "policy_override", "revision"),
    *("container", "usage", "usage_mark", "usage_batch", "oom_kill", "event"),
)
RELIST = {
    "host": {"name": "new", "cpus": 2, "memory_bytes": 2**30, "engine": "docker"},
    "containers": [{"engine_id": "new", "name": "new", "state": "running", "image": "x:1"}],
}


class Write:
    """One write: where, what is right, and what is refused (the field that is named)."""

    def __init__(self, view: str, action: str, method: str, path: str, *bodies: Any) -> None:
        self.view, self.action, self.method, self.path = view, action, method, path
        self.body = bodies[0] if bodies else None
        self.wrong = bodies[1:]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


# {host} and others are the ids of what there is; {later} is a moment after the host's last report.
WRITES = [
    Write("host", "create", "post", "hosts/",
          {"name": "b", "cpus": 1, "memory_bytes": 9}, {"name": "host-a"},
          {"name": "b", "cpus": -1, "memory_bytes": 9}),
    Write("host", "update", "put", "hosts/{host}/",
          {"name": "b", "cpus": 8, "memory_bytes": 2**34}, {"name": "b"}),
    Write("host", "partial_update", "patch", "hosts/{host}/", {"cpus": 8}, {"cpus": 0}),
    Write("host", "destroy", "delete", "hosts/{host}/?force=true"),
    Write("host", "partial_bulk_update", "patch", "hosts/",
          [{"id": "{host}", "labels": {"a": "b"}}], [{"id": 0, "labels": {}}]),
    Write("host", "observe", "post", "hosts/observe/", RELIST | {"observed_at": "{later}"},
          RELIST | {"observed_at": "then"}, RELIST),
    Write("workload", "create", "post", "workloads/",
          {"name": "b", "image": "x"}, {"name": "web", "image": "x"}, {"name": "b", "image": "X"}),
    Write("workload", "update", "put", "workloads/{workload}/",
          {"name": "web", "image": "y"}, {"name": "web"}),
    Write("workload", "partial_update", "patch", "workloads/{workload}/",
          {"replicas": 3}, {"replicas": -1}, {"placement": {"a": 1}}),
    Write("workload", "destroy", "delete", "workloads/{workload}/"),
    Write("workload", "partial_bulk_update", "patch", "workloads/",
          [{"id": "{workload}", "add_labels": {"a": "b"}}], [{"id": "{workload}"}]),
    Write("workload", "rollback", "post", "workloads/{workload}/rollback/",
          {"revision": 1}, {"revision": 9}),
    Write("quota", "create", "post", "quotas/", {"team": "{free}", "cpus": 1}, {"team": "{team}"}),
    Write("quota", "update", "put", "quotas/{quota}/", {"team": "{team}", "cpus": 2}, {"cpus": 2}),
    Write("quota", "partial_update", "patch", "quotas/{quota}/", {"cpus": 2}, {"cpus": -2}),
    Write("quota", "destroy", "delete", "quotas/{quota}/"),
    Write("policy", "create", "post", "policies/", {"team": "{team}", "constants": {}},
          {"team": "{team}", "constants": {"speed": 1}}),
    Write("policy", "update", "put", "policies/{policy}/",
          {"constants": {"samples_min": 7}}, {"constants": {"samples_min": 0}}),
    Write("policy", "partial_update", "patch", "policies/{policy}/",
          {"constants": {"samples_min": 7}}, {"constants": []}),
    Write("policy", "destroy", "delete", "policies/{policy}/"),
    Write("usage", "create", "post", "usage/",
          [{"container": "{container}", "at": "{later}", "cpu_cores": 1, "memory_bytes": 1}],
          [{"container": 0, "at": "{later}", "cpu_cores": 1, "memory_bytes": 1}],
          [{"container": "{container}", "at": "{later}", "cpu_cores": -1, "memory_bytes": 1}]),
]  # fmt: skip


def write_actions(resolver: URLResolver, prefix: str = "") -> set[tuple[str, str]]:
    """Of every address of the fleet: its viewset and the actions that write."""
    found: set[tuple[str, str]] = set()
    for one in resolver.url_patterns:
        if isinstance(one, URLResolver):
            found |= write_actions(one)
            continue
        assert isinstance(one, URLPattern)
        view = getattr(one.callback, "cls", None)
        if view is not None and view.__module__.startswith("app.fleet."):
            name = (one.name or "").split("-")[0]
            for method, action in (getattr(one.callback, "actions", None) or {}).items():
                if method in {"post", "put", "patch", "delete"}:
                    found.add((name, action))
    return found


async def test_every_write_is_in_the_table() -> None:
    assert write_actions(get_resolver()) == {(one.view, one.action) for one in WRITES}


@pytest_asyncio.fixture(loop_scope="session")
async def everything(transaction: None, client_with: ClientOf) -> APIClient:
    return await client_with("read", "write", "agent")


@pytest_asyncio.fixture(loop_scope="session")
async def names(transaction: None) -> dict[str, Any]:
    """What there is, by the words of the table."""
    now = timezone.now()
    team = await Team.objects.acreate(name="Core", slug="core")
    free = await Team.objects.acreate(name="Free", slug="free")
    workload = await services.create_workload(name="web", image="x")
    await services.update_workload(workload_id=workload.pk, image="x:2")
    one = container("a", labels={"stowage.workload": "web"})
    observed = await services.observe_host(**report(one, observed_at=now - timedelta(minutes=1)))
    quota = await services.create_quota(team=team, cpus=4)
    policy = await services.create_policy(workload=workload, constants={})
    sampled = Sample(observed.containers["a"], now - timedelta(seconds=30), 0.5, 2**20)
    await services.record_usage(samples=[sampled])
    return {
        "{host}": observed.host_id,
        "{container}": observed.containers["a"],
        "{workload}": workload.pk,
        "{team}": team.pk,
        "{free}": free.pk,
        "{quota}": quota.pk,
        "{policy}": policy.pk,
        "{later}": now.isoformat(),
    }


def filled_in(value: Any, names: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: filled_in(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [filled_in(one, names) for one in value]
    if isinstance(value, str) and value in names:
        return names[value]
    return value


async def state() -> dict[str, Any]:
    """All rows of all tables of the fleet."""
    return {
        table: (await db.fetch(f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text))"
                               f" FROM fleet_{table} t"))
        for table in TABLES
    }  # fmt: skip


@pytest.mark.parametrize("write", WRITES, ids=str)
async def test_dry_run_is_the_write_without_its_effect(
    everything: APIClient, names: dict[str, Any], write: Write, hops: list[str]
) -> None:
    path = "/api/v1/" + write.path.format(**{key[1:-1]: value for key, value in names.items()})
    dry = f"{path}{'&' if '?' in path else '?'}dry_run=all"
    send = getattr(everything, write.method)
    body = filled_in(write.body, names)
    before = await state()
    for wrong in write.wrong:
        answers = [await send(url, filled_in(wrong, names)) for url in (dry, path)]
        assert {answer.status_code for answer in answers} == {400}, answers[0].text
        assert answers[0].json() == answers[1].json()
    unclear = await send(dry.replace("=all", "=maybe"), body)
    assert (unclear.status_code, list(unclear.json())) == (400, ["dry_run"])
    tried = await send(dry, body)
    assert await state() == before
    done = await send(path, body)
    assert tried.status_code == done.status_code < 300, (tried.text, done.text)
    assert await state() != before
    if done.content:
        assert shape_of(tried.json()) == shape_of(done.json())
    assert hops == []


def shape_of(answer: Any) -> Any:
    """What differs for good is left out: ids and moments."""
    if isinstance(answer, list):
        return [shape_of(one) for one in answer]
    passed_over = {"id", "host", "containers", "created_at", "updated_at", "conditions"}
    return {key: value for key, value in answer.items() if key not in passed_over}


async def test_ids_of_what_a_dry_report_would_have_made_are_null(
    everything: APIClient, names: dict[str, Any]
) -> None:
    body = RELIST | {"observed_at": names["{later}"]}
    url = "/api/v1/hosts/observe/?dry_run=all"
    assert (await everything.post(url, body)).json() == {"host": None, "containers": {"new": None}}
    known = body | {"host": RELIST["host"] | {"name": "host-a", "memory_bytes": 2**33}}
    known["containers"] = [*known["containers"], RELIST["containers"][0] | {"engine_id": "a"}]
    assert (await everything.post(url, known)).json() == {
        "host": names["{host}"],
        "containers": {"new": None, "a": names["{container}"]},
    }


OF_AN_OBJECT = [write for write in WRITES if "{" in write.path]


@pytest.mark.parametrize("write", OF_AN_OBJECT, ids=str)
async def test_version_that_is_over_is_refused_with_the_current_one(
    everything: APIClient, names: dict[str, Any], write: Write
) -> None:
    path = "/api/v1/" + write.path.format(**{key[1:-1]: value for key, value in names.items()})
    send, body = getattr(everything, write.method), filled_in(write.body, names)
    one = path.partition("?")[0].replace("rollback/", "")
    current = (await everything.get(one)).json()["version"]
    before = await state()
    for query in ("", f"{'&' if '?' in path else '?'}dry_run=all"):
        refused = await send(path + query, body, HTTP_IF_MATCH=f'"{current + 1}"')
        assert (refused.status_code, refused.json()["version"]) == (412, current)
        assert refused["ETag"].strip('"').split("-")[0] == str(current)
    assert await state() == before
    done = await send(path, body, HTTP_IF_MATCH=f'"{current}"')
    assert done.status_code < 300, done.text
