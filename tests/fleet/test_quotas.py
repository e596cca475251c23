"""Teams' quotas: who may write them, and that workloads are held to them, races included."""

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from app.accounts import services as accounts
from app.accounts.models import Team
from app.db.testing import assert_num_queries
from app.errors import Denied
from app.fleet import services
from app.fleet.models import Quota, Workload
from app.rest.test import APIClient
from tests.clients import ClientOf

QUOTAS = "/api/v1/quotas/"
WORKLOADS = "/api/v1/workloads/"


@pytest_asyncio.fixture(loop_scope="session")
async def team(transaction: None) -> Team:
    return await Team.objects.acreate(name="Core", slug="core")


def workload(team: Team, name: str = "web", **more: Any) -> dict[str, Any]:
    return {"team": team.pk, "name": name, "image": "x", **more}


@pytest.mark.asyncio
class TestQuotas:
    async def test_quota_shows_what_is_reserved(self, team: Team, writer: APIClient) -> None:
        created = await writer.post(QUOTAS, {"team": team.pk, "cpus": 4, "memory_bytes": 1000})
        assert created.status_code == 201, created.text
        body = workload(team, replicas=2, cpu_reservation=1.5, memory_reservation_bytes=100)
        await writer.post(WORKLOADS, body)
        await writer.post(WORKLOADS, workload(team, "free"))
        quota = (await writer.get(f"{QUOTAS}{created.json()['id']}/")).json()
        assert (quota["reserved_cpus"], quota["reserved_memory_bytes"]) == (3.0, 200)
        await writer.get(QUOTAS)  # whoever lists first in 5 s asks for the position of the events
        with assert_num_queries(3):  # the token, the count, the page
            assert (await writer.get(QUOTAS)).json()["results"] == [quota]

    async def test_workload_over_the_quota_is_refused_with_the_figures(
        self, team: Team, writer: APIClient
    ) -> None:
        await services.create_quota(team=team, cpus=4)
        first = await writer.post(WORKLOADS, workload(team, replicas=3, cpu_reservation=1))
        assert first.status_code == 201
        refused = await writer.post(WORKLOADS, workload(team, "two", replicas=2, cpu_reservation=1))
        assert refused.status_code == 403
        assert "3 of 4 are reserved, and this asks for 2 more" in refused.json()["detail"]
        assert await Workload.objects.acount() == 1

    async def test_change_over_the_quota_is_refused_and_a_smaller_one_is_not(
        self, team: Team, writer: APIClient
    ) -> None:
        created = await writer.post(WORKLOADS, workload(team, replicas=6, cpu_reservation=1))
        url = f"{WORKLOADS}{created.json()['id']}/"
        await services.create_quota(team=team, cpus=4)
        refused = await writer.patch(url, {"replicas": 7})
        assert "6 of 4 are reserved, and this asks for 1 more" in refused.json()["detail"]
        assert (await writer.patch(url, {"replicas": 5})).status_code == 200
        assert (await writer.patch(url, {"image": "y"})).status_code == 200

    async def test_memory_is_held_too_and_other_teams_are_not(
        self, team: Team, writer: APIClient
    ) -> None:
        await services.create_quota(team=team, memory_bytes=2**30)
        other = await Team.objects.acreate(name="Other", slug="other")
        big = {"memory_reservation_bytes": 2**30 + 1}
        refused = await writer.post(WORKLOADS, workload(team, **big))
        assert refused.status_code == 403
        assert "0 of 1073741824 are reserved" in refused.json()["detail"]
        created = await writer.post(WORKLOADS, workload(other, **big))
        assert created.status_code == 201
        moved = await writer.patch(f"{WORKLOADS}{created.json()['id']}/", {"team": team.pk})
        assert moved.status_code == 403

    async def test_dry_run_is_held_to_the_quota(self, team: Team, writer: APIClient) -> None:
        await services.create_quota(team=team, cpus=1)
        body = workload(team, cpu_reservation=2)
        assert (await writer.post(f"{WORKLOADS}?dry_run=all", body)).status_code == 403

    async def test_rolling_back_is_held_to_the_quota(self, team: Team, writer: APIClient) -> None:
        created = await writer.post(WORKLOADS, workload(team, replicas=6, cpu_reservation=1))
        url = f"{WORKLOADS}{created.json()['id']}/"
        assert (await writer.patch(url, {"replicas": 1})).status_code == 200
        await services.create_quota(team=team, cpus=4)
        for query in ("?dry_run=all", ""):
            refused = await writer.post(f"{url}rollback/{query}", {"revision": 1})
            assert refused.status_code == 403
            assert "1 of 4 are reserved, and this asks for 5 more" in refused.json()["detail"]
        assert (await writer.get(url)).json()["replicas"] == 1

    async def test_team_has_one_quota_and_keeps_it(self, team: Team, writer: APIClient) -> None:
        quota = await services.create_quota(team=team, cpus=1)
        again = await writer.post(QUOTAS, {"team": team.pk, "cpus": 2})
        assert (again.status_code, list(again.json())) == (400, ["team"])
        other = await Team.objects.acreate(name="Other", slug="other")
        url = f"{QUOTAS}{quota.pk}/"
        moved = await writer.patch(url, {"team": other.pk})
        assert (moved.status_code, list(moved.json())) == (400, ["team"])
        lifted = await writer.patch(url, {"cpus": None}, HTTP_IF_MATCH='"1"')
        assert (lifted.json()["cpus"], lifted["ETag"][:3]) == (None, '"2-')
        assert (await writer.delete(url, HTTP_IF_MATCH='"1"')).status_code == 412
        assert (await writer.delete(url)).status_code == 204

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"cpus": -1}, "cpus"),
            ({"memory_bytes": "much"}, "memory_bytes"),
            ({"team": 0}, "team"),
            ({"team": None}, "team"),
            ({"gpus": 1}, "gpus"),
        ],
    )
    async def test_bad_quota_is_refused(
        self, team: Team, writer: APIClient, change: dict[str, Any], field: str
    ) -> None:
        response = await writer.post(QUOTAS, {"team": team.pk} | change)
        assert (response.status_code, list(response.json())) == (400, [field])

    async def test_only_staff_write_quotas(self, team: Team, reader: APIClient) -> None:
        user = await accounts.create_user(
            username="operator", password="correct horse battery", role="operator"
        )
        _, text = await accounts.create_token(user=user, name="t", scopes=["read", "write"])
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
        assert (await client.post(QUOTAS, {"team": team.pk})).status_code == 403
        assert (await client.get(QUOTAS)).status_code == 200
        assert (await reader.post(QUOTAS, {"team": team.pk})).status_code == 403
        assert await Quota.objects.acount() == 0


@pytest.mark.asyncio
@pytest.mark.usefixtures("committed")
async def test_workloads_created_at_the_same_moment_stay_within_the_quota() -> None:
    team = await Team.objects.acreate(name="Core", slug="core")
    await services.create_quota(team=team, cpus=3)

    async def create(number: int) -> bool:
        try:
            await services.create_workload(
                team=team, name=f"w{number}", image="x", cpu_reservation=1.0
            )
        except Denied:
            return False
        return True

    assert sum(await asyncio.gather(*(create(number) for number in range(8)))) == 3
    assert await Workload.objects.acount() == 3


@pytest.mark.asyncio
@pytest.mark.usefixtures("committed")
async def test_workloads_changed_at_the_same_moment_stay_within_the_quota(
    client_with: ClientOf,
) -> None:
    """Each scales up another one; each is told what was reserved when its turn came."""
    writer = await client_with("read", "write")
    team = await Team.objects.acreate(name="Core", slug="core")
    await services.create_quota(team=team, cpus=11)
    made = [
        await services.create_workload(team=team, name=f"w{n}", image="x", cpu_reservation=1.0)
        for n in range(8)
    ]
    answers = await asyncio.gather(
        *(writer.patch(f"{WORKLOADS}{one.pk}/", {"replicas": 2}) for one in made)
    )
    assert sorted(one.status_code for one in answers) == [200] * 3 + [403] * 5
    told = {one.json()["detail"] for one in answers if one.status_code == 403}
    assert all("11 of 11 are reserved, and this asks for 1 more" in one for one in told), told
    assert sum([one.replicas async for one in Workload.objects.all()]) == 11
