"""The management commands, without a process of their own; tests/ops/test_server.py runs them."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import load_command_class

from app.accounts.commands import AsyncCommand, in_one_line
from app.accounts.models import Token, User
from app.errors import Conflict, Denied, DomainError, Invalid, NotFound
from app.rest.test import APIClient

TOKEN_DEFAULTS = {"name": "ci", "expires_in_days": None, "host": ""}


async def _run(name: str, /, **options: Any) -> str:
    command = load_command_class("app.accounts", name)
    assert isinstance(command, AsyncCommand)
    command.stdout = StringIO()  # type: ignore[assignment]
    await command.ahandle(**options)
    return command.stdout.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.asyncio
async def test_created_token_is_printed_alone_and_works(client: APIClient, operator: User) -> None:
    printed = await _run("create_token", user="ada", scopes=["read", "agent"], **TOKEN_DEFAULTS)
    assert len(printed.splitlines()) == 1
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {printed.strip()}")
    assert (await client.get("/api/v1/me/")).json()["scopes"] == ["agent", "read"]


@pytest.mark.asyncio
async def test_days_are_counted_from_now(operator: User) -> None:
    await _run(
        "create_token", user="ada", scopes=["read"], **TOKEN_DEFAULTS | {"expires_in_days": 0.5}
    )
    token = await Token.objects.aget()
    assert token.expires_at is not None
    assert 11.9 < (token.expires_at - token.created_at).total_seconds() / 3600 < 12.1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"user": "nobody", "scopes": ["read"]}, NotFound),
        ({"user": "ada", "scopes": ["root"]}, Invalid),
        ({"user": "ada", "scopes": ["read"], "expires_in_days": -1}, Invalid),
        ({"user": "vera", "scopes": ["write"]}, Denied),
    ],
)
async def test_a_token_that_cannot_be_is_not_created(
    operator: User, viewer: User, options: dict[str, Any], error: type[DomainError]
) -> None:
    with pytest.raises(error):
        await _run("create_token", **(TOKEN_DEFAULTS | options))
    assert not await Token.objects.aexists()


@pytest.mark.asyncio
async def test_administrators_password_is_made_strong_and_printed_once(transaction: None) -> None:
    name, password = (await _run("create_administrator", username="admin", email="")).split()
    user = await User.objects.aget(username=name)
    assert user.is_superuser
    assert len(password) >= 24
    assert user.check_password(password)


@pytest.mark.asyncio
async def test_a_second_administrator_of_that_name_is_a_conflict(transaction: None) -> None:
    await _run("create_administrator", username="admin", email="")
    with pytest.raises(Conflict):
        await _run("create_administrator", username="admin", email="")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NotFound("There is no user 'x'."), "There is no user 'x'."),
        (Invalid("No.", fields={"scopes": ["Unknown: y."]}), "No. scopes: Unknown: y."),
    ],
)
def test_a_domain_error_reads_as_one_line(error: DomainError, message: str) -> None:
    assert in_one_line(error) == message
