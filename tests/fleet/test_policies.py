"""Constants of a team's or a workload's own: who may write them, which, and whose count."""

from typing import Any

import pytest
import pytest_asyncio

from app.accounts import services as accounts
from app.accounts.models import Team
from app.db.testing import assert_num_queries
from app.fleet import services
from app.fleet.models import Event, PolicyOverride, Workload
from app.fleet.policies import fetch_policies
from app.fleet.policy import DEFAULT, OVERRIDABLE, override_problems, resolve
from app.rest.test import APIClient

POLICIES = "/api/v1/policies/"
MARGIN = {"memory_limit_margin": 1.5}


def test_workloads_constants_count_before_the_teams_before_the_defaults() -> None:
    found = resolve(
        team={"memory_limit_margin": 1.3, "samples_min": 5}, workload={"memory_limit_margin": 1.5}
    )
    assert (found.policy.memory_limit_margin, found.policy.samples_min) == (1.5, 5)
    assert found.policy.change_min == DEFAULT.change_min
    assert found.as_dict() == {
        "memory_limit_margin": {"value": 1.5, "source": "workload"},
        "samples_min": {"value": 5, "source": "team"},
    }


def test_what_can_no_longer_be_set_is_passed_over() -> None:
    assert resolve(team={"gone": 1, "clock_skew_seconds": 2}, workload={}).policy == DEFAULT


def test_every_default_is_within_its_range() -> None:
    assert override_problems({name: getattr(DEFAULT, name) for name in OVERRIDABLE}) == {}


@pytest.mark.parametrize(
    "constants",
    [
        {"nothing": 1},
        {"clock_ahead_seconds": 60},
        {"histogram_bucket_growth": 1},
        {"histogram_bucket_growth": 2.1},
        {"histogram_cpu_first_cores": 0},
        {"histogram_memory_first_bytes": 1e7},
        {"histogram_half_life_hours": 0.5},
        {"startup_seconds": -1},
        {"window_hours": 49},
        {"window_hours": 0},
        {"stale_after_seconds": 5},
        {"use_percentile": 1.1},
        {"placement_buffer": 1},
        {"reference_cpus": 0},
        {"reference_memory_bytes": 0},
        {"memory_limit_margin": 0.9},
        {"memory_limit_margin": "1.2"},
        {"memory_limit_margin": True},
        {"memory_limit_margin": None},
        {"samples_min": 1.5},
        {"evidence_days": 91},
        [1],
        5,
    ],
)
def test_what_is_wrong_is_named_with_the_remedy(constants: Any) -> None:
    problems = override_problems(constants)
    name = next(iter(constants)) if isinstance(constants, dict) else "constants"
    assert list(problems) == [name]


@pytest_asyncio.fixture(loop_scope="session")
async def team(transaction: None) -> Team:
    return await Team.objects.acreate(name="Core", slug="core")


@pytest.mark.asyncio
class TestPolicies:
    async def test_constants_are_written_read_and_taken_back(
        self, team: Team, writer: APIClient
    ) -> None:
        created = await writer.post(POLICIES, {"team": team.pk, "constants": MARGIN})
        assert created.status_code == 201, created.text
        url = f"{POLICIES}{created.json()['id']}/"
        workload = await services.create_workload(name="w", image="x", team=team)
        found = await fetch_policies()
        assert found.effective(team_id=team.pk, workload_id=workload.pk).as_dict() == {
            "memory_limit_margin": {"value": 1.5, "source": "team"}
        }
        await writer.post(POLICIES, {"workload": workload.pk, "constants": {"samples_min": 7}})
        with assert_num_queries(1):
            found = await fetch_policies()
        both = found.effective(team_id=team.pk, workload_id=workload.pk)
        assert set(both.sources.values()) == {"team", "workload"}
        assert found.effective(team_id=None, workload_id=None).policy is DEFAULT
        assert (await writer.delete(url)).status_code == 204
        kinds = [event.kind async for event in Event.objects.filter(object_type="policy")]
        assert sorted(kinds) == ["policy.created", "policy.created", "policy.deleted"]

    async def test_versions_and_dry_runs_hold(self, team: Team, writer: APIClient) -> None:
        body = {"team": team.pk, "constants": MARGIN}
        dry = await writer.post(f"{POLICIES}?dry_run=all", body)
        assert (dry.status_code, dry.json()["id"]) == (201, None)
        created = await writer.post(POLICIES, body)
        url = f"{POLICIES}{created.json()['id']}/"
        assert created["ETag"] == '"1"'
        changed = await writer.patch(url, {"constants": {}}, HTTP_IF_MATCH='"1"')
        assert (changed.status_code, changed["ETag"]) == (200, '"2"')
        late = await writer.patch(url, {"constants": MARGIN}, HTTP_IF_MATCH='"1"')
        assert (late.status_code, late.json()["version"]) == (412, 2)

    async def test_wrong_constants_are_refused_by_name(self, team: Team, writer: APIClient) -> None:
        wrong = {"team": team.pk, "constants": {"memory_limit_margin": 0, "speed": 1}}
        response = await writer.post(POLICIES, wrong)
        assert response.status_code == 400
        assert set(response.json()["constants"]) == {"memory_limit_margin", "speed"}

    async def test_constants_are_of_one_and_stay_with_it(
        self, team: Team, writer: APIClient
    ) -> None:
        workload = await services.create_workload(name="w", image="x")
        both = {"team": team.pk, "workload": workload.pk, "constants": {}}
        for body in (both, {"constants": {}}):
            assert (await writer.post(POLICIES, body)).status_code == 400
        created = await writer.post(POLICIES, {"workload": workload.pk, "constants": {}})
        url = f"{POLICIES}{created.json()['id']}/"
        assert (await writer.patch(url, {"team": team.pk})).status_code == 400
        again = await writer.post(POLICIES, {"workload": workload.pk, "constants": {}})
        assert again.status_code == 400
        assert "workload" in again.json()

    async def test_teams_constants_are_staffs(self, team: Team, client: APIClient) -> None:
        user = await accounts.create_user(username="dev", password="correct horse battery")
        user.role = "operator"
        await user.asave()
        _, text = await accounts.create_token(user=user, name="t", scopes=["write"])
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
        refused = await client.post(POLICIES, {"team": team.pk, "constants": {}})
        assert refused.status_code == 403
        workload = await services.create_workload(name="w", image="x")
        mine = await client.post(POLICIES, {"workload": workload.pk, "constants": MARGIN})
        assert mine.status_code == 201, mine.text

    async def test_constants_go_with_their_workload(self, writer: APIClient) -> None:
        workload = await services.create_workload(name="w", image="x")
        await services.create_policy(workload=workload, constants={})
        assert (await writer.delete(f"/api/v1/workloads/{workload.pk}/")).status_code == 204
        assert not await PolicyOverride.objects.aexists()
        assert not await Workload.objects.aexists()

    async def test_defaults_are_listed(self, writer: APIClient) -> None:
        answer = (await writer.get(f"{POLICIES}defaults/")).json()
        assert answer["memory_limit_margin"] == {
            "default": 1.15,
            "lowest": 1,
            "highest": 10,
            "is_overridable": True,
        }
        assert set(answer) == set(OVERRIDABLE)
        assert all(one["is_overridable"] for one in answer.values())
