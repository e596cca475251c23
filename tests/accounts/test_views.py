"""/me/ and /tokens/: what callers see and change of themselves."""

from datetime import timedelta

import pytest
from django.utils import timezone

from app.accounts import services
from app.accounts.models import Token, User
from app.db.testing import assert_num_queries
from app.rest.test import APIClient
from tests.accounts.conftest import MakeToken

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

TOKENS = "/api/v1/tokens/"


async def test_me_is_the_user_the_teams_and_what_the_token_may_do(
    client: APIClient, make_token: MakeToken, operator: User
) -> None:
    for slug in ("quay", "dock"):
        team = await services.create_team(name=slug.title(), slug=slug)
        await services.add_member(team=team, user=operator, role="operator")
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await make_token('write')}")
    me = (await client.get("/api/v1/me/")).json()
    assert (me["username"], me["role"], me["scopes"]) == ("ada", "operator", ["read", "write"])
    assert me["teams"] == [
        {"team": "dock", "role": "operator"},
        {"team": "quay", "role": "operator"},
    ]
    assert me["token"]["scopes"] == ["write"]
    assert not {"password", "digest"} & (me.keys() | me["token"].keys())


async def test_an_agents_token_may_ask_who_it_is(client: APIClient, make_token: MakeToken) -> None:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await make_token('agent')}")
    assert (await client.get("/api/v1/me/")).json()["scopes"] == ["agent"]


async def test_me_without_a_token_has_none(client: APIClient, viewer: User) -> None:
    await client.force_login(viewer)
    me = (await client.get("/api/v1/me/")).json()
    assert (me["token"], me["scopes"]) == (None, ["read"])


async def test_a_created_token_is_shown_once_and_works(client: APIClient, viewer: User) -> None:
    await client.force_login(viewer)
    created = await client.post(TOKENS, {"name": "dashboard", "scopes": ["read"]})
    assert created.status_code == 201
    text = created.json()["token"]
    listed = await client.get(TOKENS)
    assert listed.json()["results"] == [
        {key: value for key, value in created.json().items() if key != "token"}
    ]
    assert text.rpartition("_")[2] not in listed.text
    by_token = APIClient()
    by_token.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    assert (await by_token.get("/api/v1/me/")).json()["username"] == "vera"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["read"]}, "name"),
        ({"name": "", "scopes": ["read"]}, "name"),
        ({"name": "x" * 101, "scopes": ["read"]}, "name"),
        ({"name": "n"}, "scopes"),
        ({"name": "n", "scopes": []}, "scopes"),
        ({"name": "n", "scopes": ["admin"]}, "scopes"),
        ({"name": "n", "scopes": "read"}, "scopes"),
        ({"name": "n", "scopes": 5}, "scopes"),
        ({"name": "n", "scopes": None}, "scopes"),
        ({"name": "n", "scopes": [["read"]]}, "scopes"),
        ({"name": "n", "scopes": [None]}, "scopes"),
        ({"name": "n", "scopes": [{"read": True}]}, "scopes"),
        ({"name": "a\x00b", "scopes": ["read"]}, "name"),
        ({"name": ["n"], "scopes": ["read"]}, "name"),
        (
            {"name": "n", "scopes": ["read"], "expires_at": "9999-12-31T23:59:59-14:00"},
            "expires_at",
        ),
        ({"name": "n", "scopes": ["read"], "expires_at": "yesterday"}, "expires_at"),
        ({"name": "n", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "n", "scopes": ["read"], "user": 1}, "user"),
    ],
)
async def test_a_bad_token_is_refused_by_field(
    client: APIClient, operator: User, body: dict[str, object], field: str
) -> None:
    await client.force_login(operator)
    response = await client.post(TOKENS, body)
    assert response.status_code == 400
    assert field in response.json()
    assert not await Token.objects.aexists()


async def test_a_viewer_is_refused_a_token_that_writes(client: APIClient, viewer: User) -> None:
    await client.force_login(viewer)
    response = await client.post(TOKENS, {"name": "n", "scopes": ["write"]})
    assert response.status_code == 403
    assert "vera is a viewer" in response.json()["detail"]


async def test_a_token_that_only_reads_makes_no_tokens(
    client: APIClient, make_token: MakeToken
) -> None:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await make_token('read')}")
    assert (await client.get(TOKENS)).status_code == 200
    assert (await client.post(TOKENS, {"name": "n", "scopes": ["read"]})).status_code == 403


async def test_a_token_that_expires_makes_none_that_does_not(
    client: APIClient, make_token: MakeToken
) -> None:
    text = await make_token("write", expires_at=timezone.now() + timedelta(hours=1))
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    response = await client.post(TOKENS, {"name": "n", "scopes": ["read"]})
    assert response.status_code == 403
    assert "lasts longer" in response.json()["detail"]


async def test_deleting_a_token_revokes_it_and_keeps_the_record(
    client: APIClient, make_token: MakeToken
) -> None:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await make_token('write')}")
    token = await Token.objects.aget()
    assert (await client.delete(f"{TOKENS}{token.pk}/")).status_code == 204
    assert (await client.get(TOKENS)).status_code == 401
    assert (await Token.objects.aget()).revoked_at is not None


async def test_nobody_sees_or_revokes_the_tokens_of_another(
    client: APIClient, make_token: MakeToken, viewer: User
) -> None:
    await make_token("read")
    token = await Token.objects.aget()
    await client.force_login(viewer)
    assert (await client.get(TOKENS)).json()["results"] == []
    assert (await client.get(f"{TOKENS}{token.pk}/")).status_code == 404
    assert (await client.delete(f"{TOKENS}{token.pk}/")).status_code == 404
    assert (await Token.objects.aget()).revoked_at is None


@pytest.mark.parametrize("method", ["put", "patch"])
async def test_a_token_cannot_be_changed(
    client: APIClient, make_token: MakeToken, method: str
) -> None:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await make_token('write')}")
    token = await Token.objects.aget()
    response = await getattr(client, method)(f"{TOKENS}{token.pk}/", {"scopes": ["agent"]})
    assert response.status_code == 405


async def test_listing_tokens_costs_three_queries_however_many_there_are(
    client: APIClient, make_token: MakeToken
) -> None:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await make_token('read')}")
    for _ in range(20):
        await make_token("read")
    await client.get(TOKENS)
    with assert_num_queries(3):  # the caller's token, the count, the page
        response = await client.get(TOKENS)
    assert response.json()["count"] == 21


async def test_dry_run_answers_as_the_write_and_keeps_nothing(
    client: APIClient, make_token: MakeToken, hops: list[str]
) -> None:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await make_token('write')}")
    own = await Token.objects.aget()
    body = {"name": "n", "scopes": ["read"]}
    for wrong in ({"name": "n"}, body | {"expires_at": "2020-01-01T00:00:00Z"}):
        refused = [await client.post(TOKENS + query, wrong) for query in ("?dry_run=all", "")]
        assert {one.status_code for one in refused} == {400}
        assert refused[0].json() == refused[1].json()
    agents = await client.post(f"{TOKENS}?dry_run=all", body | {"scopes": ["agent"]})
    assert agents.status_code == 403
    tried = await client.post(f"{TOKENS}?dry_run=all", body)
    assert (tried.status_code, tried.json()["id"], tried.json()["token"]) == (201, None, None)
    assert await Token.objects.acount() == 1
    assert (await client.delete(f"{TOKENS}{own.pk}/?dry_run=all")).status_code == 204
    assert (await client.delete(f"{TOKENS}0/?dry_run=all")).status_code == 404
    for send in (
        client.post(f"{TOKENS}?dry_run=1", body),
        client.delete(f"{TOKENS}{own.pk}/?dry_run=1"),
    ):
        unclear = await send
        assert (unclear.status_code, list(unclear.json())) == (400, ["dry_run"])
    assert (await client.get(TOKENS)).status_code == 200, "still valid"
    done = await client.post(TOKENS, body)
    assert (done.status_code, done.json().keys()) == (201, tried.json().keys())
    assert hops == []


async def test_watching_tokens_is_refused_by_name(client: APIClient, make_token: MakeToken) -> None:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await make_token('read')}")
    refused = await client.get(f"{TOKENS}?watch=true")
    assert (refused.status_code, list(refused.json())) == (400, ["watch"])
