"""Several agents against one API: a token each, bound to its host; clocks that differ."""

from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from django.utils import timezone

from app.accounts import services as accounts
from app.accounts.models import User
from app.fleet.models import Container, Event, Host, Usage
from app.rest.test import APIClient
from tests.fleet.test_containers import observation
from tests.fleet.test_ingest import sample

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("placed_events")]

OBSERVE, USAGE = "/api/v1/hosts/observe/", "/api/v1/usage/"


def observed(host: str, *engine_ids: str) -> dict[str, Any]:
    """What the agent of `host` says of its containers."""
    body = observation()
    (one,) = body["containers"]
    containers = [one | {"engine_id": engine_id, "name": engine_id} for engine_id in engine_ids]
    return body | {"host": body["host"] | {"name": host}, "containers": containers}


async def agent_of(host: str) -> APIClient:
    user = await User.objects.filter(username="agents").afirst()
    user = user or await accounts.create_user(username="agents", role="operator")
    _, text = await accounts.create_token(user=user, name=host, scopes=["agent"], host_name=host)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


async def test_two_agents_report_each_their_own_host(hops: list[str]) -> None:
    first, second = await agent_of("a"), await agent_of("b")
    ids = {}
    for agent, host in ((first, "a"), (second, "b")):
        answer = await agent.post(OBSERVE, observed(host, f"{host}1"))
        ids |= answer.json()["containers"]
        stored = await agent.post(USAGE, [sample(ids[f"{host}1"])])
        assert (stored.status_code, stored.json()["stored"]) == (201, 1)
    assert await Usage.objects.acount() == 2
    assert hops == []


async def test_another_host_is_refused_and_nothing_of_it_is_stored() -> None:
    agent = await agent_of("a")
    refused = await agent.post(OBSERVE, observed("b", "b1"))
    assert refused.status_code == 403
    assert refused.json()["detail"] == (
        "This token is bound to the host 'a', and reports 'b'. Give that agent a token of its own,"
        " or correct its AGENT_HOST_NAME."
    )
    assert not await Host.objects.aexists()


async def test_samples_of_another_hosts_container_are_those_of_an_unknown_one() -> None:
    first, second = await agent_of("a"), await agent_of("b")
    await first.post(OBSERVE, observed("a", "a1"))
    theirs = (await second.post(OBSERVE, observed("b", "b1"))).json()["containers"]["b1"]
    refused = await first.post(USAGE, [sample(theirs)])
    assert (refused.status_code, list(refused.json()["errors"][0]["errors"])) == (
        400,
        ["container"],
    )
    mine = await Container.objects.aget(engine_id="a1")
    skipped = await first.post(f"{USAGE}?on_error=skip", [sample(theirs), sample(mine.pk)])
    assert skipped.json()["stored"] == 1
    assert [usage.container_id async for usage in Usage.objects.all()] == [mine.pk]


async def test_token_without_a_host_reports_any(agent: APIClient) -> None:
    for host in ("a", "b"):
        assert (await agent.post(OBSERVE, observed(host, f"{host}1"))).status_code == 200


async def test_clock_of_a_host_is_compared_and_its_change_is_an_event(agent: APIClient) -> None:
    skews: list[tuple[float, int]] = []
    for ahead in (0, 90, 91, 0):
        date = format_datetime(timezone.now() + timedelta(seconds=ahead), usegmt=True)
        await agent.post(OBSERVE, observed("a", "a1"), HTTP_DATE=date)
        changes = await Event.objects.filter(kind="host.clock_changed").acount()
        skews.append(((await Host.objects.aget()).clock_skew_seconds or 0.0, changes))
    assert [round(skew / 10) * 10 for skew, _ in skews] == [0, 90, 90, 0]
    assert [changes for _, changes in skews] == [0, 1, 1, 2]


@pytest.mark.parametrize("date", ["", "yesterday", "Sat, 99 Foo 2026 00:00:00 GMT", "0" * 5000])
async def test_date_that_is_none_tells_nothing(agent: APIClient, date: str) -> None:
    answer = await agent.post(OBSERVE, observed("a", "a1"), HTTP_DATE=date)
    assert answer.status_code == 200
    assert (await Host.objects.aget()).clock_skew_seconds is None


async def test_skew_is_shown_of_the_host(agent: APIClient, reader: APIClient) -> None:
    date = format_datetime(timezone.now() - timedelta(hours=1), usegmt=True)
    answer = await agent.post(OBSERVE, observed("a", "a1"), HTTP_DATE=date)
    host = (await reader.get(f"/api/v1/hosts/{answer.json()['host']}/")).json()
    assert -3602 < host["clock_skew_seconds"] < -3598
