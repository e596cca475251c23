"""A filter selects the same objects on the list, by SQL, and in a watch, by a predicate."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from app.accounts.models import Team
from app.fleet import policy_views, quotas, views
from app.fleet.models import (
    Container,
    Event,
    Host,
    Image,
    PolicyOverride,
    Quota,
    Revision,
    Workload,
)
from app.fleet.predicates import UnknowableError, predicate_of
from app.rest.request import Request
from app.rest.test import APIRequestFactory

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIMES = [None, AT - timedelta(microseconds=1), AT, AT + timedelta(hours=1)]
NAMES = ["web", "WEB", "w%b", "w_b", "w\\b", "straße", "STRASSE", "İstanbul", "istanbul", "ﬁn", "Ǆ"]
LABELS: list[dict[str, Any]] = [
    {},
    {"zone": "a"},
    {"zone": "a", "rack": "1"},
    {"zone": "b", "rack": ""},
    {"zone": "a=b"},
    {"a.b": "a"},
]
TEXTS = [*NAMES, "", "no such", " web", "we", "%", "_", "\\", "ß", "SS", "i", "ı", "I", "FI", "ǆ"]
LABELLED = ["zone", "zone=a", "zone=", "rack=", "rack", "zone=a=b", "a.b", "=", "none", "zone=A"]
MOMENTS = [AT.isoformat(), (AT + timedelta(microseconds=1)).isoformat(), "2026-03-01T13:00:00%2B01"]
BOOLEANS = ["true", "false"]


def each(*values: Any) -> list[list[Any]]:
    return [[value] for value in values]


PAIRS = [["zone=a", "rack"], ["zone", "zone=b"], ["zone=a", "zone=b"]]
"""Given twice: all must hold."""

TABLE: dict[Any, dict[str, list[list[Any]]]] = {
    views.HostViewSet: {
        "name": each(*TEXTS),
        "engine": each("docker", "processes"),
        "label": [*each(*LABELLED), *PAIRS],
        "seen_since": each(*MOMENTS),
        "seen_before": each(*MOMENTS),
        "search": each(*TEXTS, "w b", "web,WEB"),
    },
    views.ImageViewSet: {
        "reference": each(*TEXTS),
        "digest": each("", "sha256:1", "SHA256:1"),
        "search": each(*TEXTS),
    },
    views.WorkloadViewSet: {
        "name": each(*TEXTS),
        "team": each(0, "TEAM", 2**63 - 1),
        "image": each(*TEXTS),
        "label": [*each(*LABELLED), *PAIRS],
        "search": each(*TEXTS),
    },
    views.RevisionViewSet: {
        "workload": each(0, "WORKLOAD"),
        "number": each(0, 1, 2),
    },
    views.ContainerViewSet: {
        "host": each(0, "HOST"),
        "workload": each(0, "WORKLOAD"),
        "image": each(0, "IMAGE"),
        "name": each(*TEXTS),
        "engine_id": each("e1", "E1", ""),
        "state": [["running"], ["exited"], ["running", "paused"]],
        "live": each(*BOOLEANS),
        "oom_killed": each(*BOOLEANS),
        "label": [*each(*LABELLED), *PAIRS],
        "started_since": each(*MOMENTS),
        "started_before": each(*MOMENTS),
        "search": each(*TEXTS, "e1"),
    },
    views.EventViewSet: {
        "after": each(0, 3),
        "kind": each("workload.created", "WORKLOAD.created", "host.created"),
        "object_type": each("host", "workload", "hosts"),
        "object_id": each(0, 1, 2),
        "since": each(*MOMENTS),
        "until": each(*MOMENTS),
    },
    quotas.QuotaViewSet: {"team": each(0, "TEAM")},
    policy_views.PolicyViewSet: {"team": each(0, "TEAM"), "workload": each(0, "WORKLOAD")},
}
UNKNOWABLE = {(views.ImageViewSet, "host"): each(1)}
"""Filters through another table, which a watch refuses."""


@pytest_asyncio.fixture(loop_scope="session")
async def ids(transaction: None) -> dict[str, int]:
    """Objects at the edges of every filter; the ids that the table names."""
    team = await Team.objects.acreate(name="team", slug="team")
    other = await Team.objects.acreate(name="other", slug="other")
    await Quota.objects.abulk_create([Quota(team=team, cpus=1), Quota(team=other, cpus=1)])
    images = [Image(reference=name, digest="") for name in NAMES]
    images = await Image.objects.abulk_create([*images, Image(reference="o", digest="sha256:1")])
    hosts = await Host.objects.abulk_create(
        Host(
            name=name,
            cpus=1,
            memory_bytes=1,
            labels=LABELS[number % len(LABELS)],
            engine=["docker", "processes"][number % 2],
            last_seen_at=TIMES[number % len(TIMES)],
        )
        for number, name in enumerate(NAMES)
    )
    workloads = await Workload.objects.abulk_create(
        Workload(
            name=name,
            image=NAMES[-number],
            labels=LABELS[-number % len(LABELS)],
            team_id=team.pk if number % 2 else None,
        )
        for number, name in enumerate(NAMES)
    )
    await Revision.objects.abulk_create(
        Revision(workload=workloads[-1 - number % 2], number=number // 2 + 1, spec={})
        for number in range(4)
    )
    await Container.objects.abulk_create(
        Container(
            engine_id=f"e{number}",
            name=name,
            host=hosts[-1 - number % 2],
            workload=workloads[-1 - number % 2] if number % 3 else None,
            image=images[-1 - number % 2] if number % 4 else None,
            state=["running", "paused", "exited", "removed", "created"][number % 5],
            oom_killed=bool(number % 2),
            labels=LABELS[number % len(LABELS)],
            started_at=TIMES[number % len(TIMES)],
        )
        for number, name in enumerate(NAMES)
    )
    await PolicyOverride.objects.acreate(team=team, constants={})
    await PolicyOverride.objects.acreate(workload=workloads[-1], constants={})
    await Event.objects.abulk_create(
        Event(position=n, kind=f"{kind}.created", object_type=kind, object_id=n // 2, at=TIMES[n])
        for n, kind in enumerate(["host", "workload", "workload"], 1)
    )
    await Event.objects.acreate(position=4, kind="host.updated", object_type="host", object_id=9)
    return {
        "TEAM": team.pk,
        "HOST": hosts[-1].pk,
        "WORKLOAD": workloads[-1].pk,
        "IMAGE": images[-1].pk,
    }


async def filtered(kind: Any, name: str, values: list[Any], ids: dict[str, int]) -> Any:
    """The list's QuerySet, as a request for it makes it."""
    words = [str(ids.get(value, value)) for value in values]
    query = "&".join(f"{name}={word if '%2B' in word else quote(word)}" for word in words)
    view = kind()
    view.request = Request(APIRequestFactory().get(f"/?{query}"))
    view.action, view.kwargs, view.format_kwarg = "list", {}, None
    return await view.filter_queryset(view.get_queryset())


@pytest.mark.asyncio
@pytest.mark.timeout(20)  # some 200 requests of lists, each compared
async def test_list_and_watch_select_the_same(ids: dict[str, int]) -> None:
    differences, selected = [], set()
    for kind, name, values in cases():
        every = [instance async for instance in kind.queryset.all()]
        queryset = await filtered(kind, name, values, ids)
        listed = {pk async for pk in queryset.values_list("pk", flat=True)}
        matches = predicate_of(queryset)
        watched = {one.pk for one in every if matches is None or matches(one)}
        if 0 < len(listed) < len(every):
            selected.add((kind, name))
        if listed != watched:
            wrong = [str(one) for one in every if one.pk in listed ^ watched]
            differences.append((kind.__name__, name, values, wrong))
    assert differences == []
    assert selected == {(kind, name) for kind, name, _ in cases()}


def cases() -> Iterator[tuple[Any, str, list[Any]]]:
    for kind, filters in TABLE.items():
        for name, choices in filters.items():
            for values in choices:
                yield kind, name, values


def test_table_has_every_filter_of_every_watched_list() -> None:
    from app.fleet.urls import router
    from app.fleet.watching import KINDS, WatchedMixin

    kinds = {kind for _, kind, _ in router.registry if issubclass(kind, WatchedMixin)}
    kinds = {kind for kind in kinds if kind.queryset.model in KINDS}  # samples: test_usage_watch.py
    assert kinds == set(TABLE)
    for kind in kinds:
        names = set(kind.filterset_class.base_filters)
        if getattr(kind, "search_fields", None):
            names.add("search")
        unknowable = {name for one, name in UNKNOWABLE if one is kind}
        assert names == set(TABLE[kind]) | unknowable


@pytest.mark.asyncio
@pytest.mark.parametrize(("kind", "name"), UNKNOWABLE)
async def test_filter_through_another_table_is_not_guessed(
    kind: Any, name: str, transaction: None
) -> None:
    queryset = await filtered(kind, name, UNKNOWABLE[kind, name][0], {})
    with pytest.raises(UnknowableError, match=name):
        predicate_of(queryset)
