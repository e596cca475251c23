"""Scopes: who may do what, as one table."""

import pytest

from app.accounts import services
from app.accounts.models import User
from app.rest.test import APIClient
from tests.accounts.conftest import MakeToken

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

READ, WRITE, AGENT = "GET /api/v1/hosts/", "POST /api/v1/hosts/", "POST /api/v1/hosts/observe/"
DESCRIBE, REMOVE = "OPTIONS /api/v1/hosts/", "DELETE /api/v1/hosts/1/"
ALL = {READ, WRITE, AGENT, DESCRIBE, REMOVE}

# Scopes of a token -> what it may do. What it may not is a 403.
TOKENS = [
    (("read",), {READ, DESCRIBE}),
    (("write",), {READ, WRITE, DESCRIBE, REMOVE}),
    (("read", "write"), {READ, WRITE, DESCRIBE, REMOVE}),
    (("agent",), {AGENT}),
    (("read", "agent"), {READ, DESCRIBE, AGENT}),
    (("read", "write", "agent"), ALL),
]
# What a user is -> what a session of theirs may do.
SESSIONS = [
    ({}, {READ, DESCRIBE}),
    ({"role": "operator"}, {READ, WRITE, DESCRIBE, REMOVE}),
    ({"is_staff": True}, {READ, WRITE, DESCRIBE, REMOVE}),
    ({"is_superuser": True}, {READ, WRITE, DESCRIBE, REMOVE}),
]


async def _permitted(client: APIClient) -> set[str]:
    """What of ALL is not refused: an empty body is a 400, a host that is not there a 404."""
    permitted = set()
    for what in ALL:
        method, path = what.split()
        response = await getattr(client, method.lower())(path)
        assert response.status_code < 500
        if response.status_code not in {401, 403}:
            permitted.add(what)
    return permitted


@pytest.mark.parametrize(("scopes", "permitted"), TOKENS)
async def test_a_token_may_do_what_its_scopes_say(
    client: APIClient, make_token: MakeToken, scopes: tuple[str, ...], permitted: set[str]
) -> None:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await make_token(*scopes)}")
    assert await _permitted(client) == permitted


@pytest.mark.parametrize(("kind", "permitted"), SESSIONS)
async def test_a_session_may_do_what_its_user_may(
    client: APIClient, kind: dict[str, object], permitted: set[str]
) -> None:
    user = await services.create_user(username="ada", **kind)  # type: ignore[arg-type]
    await client.force_login(user)
    assert await _permitted(client) == permitted


async def test_nobody_may_do_anything(client: APIClient) -> None:
    assert await _permitted(client) == set()


async def test_a_demoted_users_write_token_may_only_read(
    client: APIClient, make_token: MakeToken, operator: User
) -> None:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await make_token('write')}")
    await User.objects.filter(pk=operator.pk).aupdate(role="viewer")
    assert await _permitted(client) == {READ, DESCRIBE}


async def test_a_credential_that_names_no_scopes_has_none(
    client: APIClient, operator: User
) -> None:
    client.force_authenticate(operator, token=object())
    assert await _permitted(client) == set()


async def test_a_refused_token_is_told_which_scope_it_lacks(
    client: APIClient, make_token: MakeToken
) -> None:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await make_token('read')}")
    for path, scope in (("/api/v1/hosts/", "write"), ("/api/v1/hosts/observe/", "agent")):
        detail = (await client.post(path, {})).json()["detail"]
        assert detail == f"This needs a token with the scope '{scope}'; this one has: read."


async def test_a_refused_viewer_is_told_which_scope_the_role_lacks(
    client: APIClient, viewer: User
) -> None:
    await client.force_login(viewer)
    detail = (await client.post("/api/v1/hosts/", {})).json()["detail"]
    assert detail == "This needs the scope 'write'; as a viewer you have: read."
    detail = (await client.post("/api/v1/hosts/observe/", {})).json()["detail"]
    assert "it is for agents" in detail
