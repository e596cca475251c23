"""Tokens in the Authorization header, over HTTP: which are let in, and what the others are told."""

import hmac
import logging
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from app.accounts import services, tokens
from app.accounts.models import Token, User
from app.db.testing import assert_num_queries
from app.rest.test import APIClient
from tests.accounts.conftest import MakeToken

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

ME = "/api/v1/me/"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Token", "TOKEN"])
async def test_either_scheme_lets_a_good_token_in(
    client: APIClient, make_token: MakeToken, scheme: str
) -> None:
    response = await client.get(ME, HTTP_AUTHORIZATION=f"{scheme} {await make_token('read')}")
    assert response.status_code == 200
    assert response.json()["username"] == "ada"
    assert response.json()["token"]["name"] == "test"


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("Bearer", "no token"),
        ("Bearer   ", "no token"),
        ("Bearer one two", "more than a scheme and one token"),
        ("Bearer nonsense", "not a token of this API"),
        ("Token 9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b", "not a token of this API"),
        ("Bearer stw_0123456789ab_" + "0" * 63, "not a token of this API"),
        ("Bearer stw_0123456789ab_" + "0" * 64, "No such token"),
        ("Bearer stw_\x00123456789a_" + "0" * 64, "not a token of this API"),
        ("Bearer \xff\xfe", "not a token of this API"),
        ("Bearer " + "x" * 8000, "not a token of this API"),
    ],
)
async def test_a_wrong_header_is_401_and_says_what_is_wrong(
    client: APIClient, header: str, told: str
) -> None:
    response = await client.get(ME, HTTP_AUTHORIZATION=header)
    assert response.status_code == 401
    assert told in response.json()["detail"]
    assert response["WWW-Authenticate"] == 'Bearer realm="stowage", error="invalid_token"'


@pytest.mark.parametrize("header", [None, "", "Basic YWRhOnB3", "Negotiate abc", "Bearerstw_x"])
async def test_no_credentials_or_another_scheme_is_401_with_a_challenge(
    client: APIClient, header: str | None
) -> None:
    headers = {} if header is None else {"HTTP_AUTHORIZATION": header}
    response = await client.get(ME, **headers)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith('Bearer realm="stowage"')


async def test_the_right_prefix_with_another_secret_is_told_no_more_than_a_wrong_prefix(
    client: APIClient, make_token: MakeToken
) -> None:
    credential = tokens.parse(await make_token("read"))
    assert credential is not None
    await Token.objects.aupdate(revoked_at=timezone.now())
    forged = credential._replace(secret="0" * 64)
    unknown = credential._replace(prefix="0" * 12)
    answers = [
        (await client.get(ME, HTTP_AUTHORIZATION=f"Bearer {wrong.text}")).content
        for wrong in (forged, unknown)
    ]
    assert answers[0] == answers[1]


async def test_expired_token_is_401_and_says_when(client: APIClient, make_token: MakeToken) -> None:
    text = await make_token("read")
    await Token.objects.aupdate(
        created_at=timezone.now() - timedelta(days=2),
        expires_at=timezone.now() - timedelta(days=1),
    )
    response = await client.get(ME, HTTP_AUTHORIZATION=f"Bearer {text}")
    assert response.status_code == 401
    assert response.json()["detail"].startswith("The token expired at 20")


async def test_token_that_has_yet_to_expire_is_let_in(
    client: APIClient, make_token: MakeToken
) -> None:
    text = await make_token("read", expires_at=timezone.now() + timedelta(minutes=1))
    response = await client.get(ME, HTTP_AUTHORIZATION=f"Bearer {text}")
    assert response.status_code == 200


async def test_revoked_token_is_401_at_once(client: APIClient, make_token: MakeToken) -> None:
    text = await make_token("read")
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    assert (await client.get(ME)).status_code == 200
    await services.revoke_token(token=await Token.objects.aget())
    response = await client.get(ME)
    assert response.status_code == 401
    assert "revoked" in response.json()["detail"]


async def test_token_of_a_user_who_is_switched_off_is_401(
    client: APIClient, make_token: MakeToken, operator: User
) -> None:
    text = await make_token("read")
    await User.objects.filter(pk=operator.pk).aupdate(is_active=False)
    response = await client.get(ME, HTTP_AUTHORIZATION=f"Bearer {text}")
    assert response.status_code == 401
    assert "switched off" in response.json()["detail"]


async def test_digests_are_compared_in_constant_time(
    client: APIClient, make_token: MakeToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    text = await make_token("read")
    monkeypatch.setattr(tokens, "hmac", type("Module", (), {"compare_digest": compare}))
    await client.get(ME, HTTP_AUTHORIZATION=f"Bearer {text}")
    digest = (await Token.objects.aget()).digest
    assert compared == [(digest, digest)]


async def test_first_use_is_recorded_and_further_uses_within_a_minute_write_nothing(
    client: APIClient, make_token: MakeToken
) -> None:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await make_token('read')}")
    assert (await Token.objects.aget()).last_used_at is None
    await client.get(ME)
    first = (await Token.objects.aget()).last_used_at
    assert first is not None
    with assert_num_queries(2):  # the token with its user; the memberships
        await client.get(ME)
    assert (await Token.objects.aget()).last_used_at == first


async def test_use_after_a_minute_is_recorded_again(
    client: APIClient, make_token: MakeToken
) -> None:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await make_token('read')}")
    old = timezone.now() - timedelta(seconds=61)
    await Token.objects.aupdate(last_used_at=old)
    await client.get(ME)
    assert (await Token.objects.aget()).last_used_at > old


async def test_a_use_that_cannot_be_recorded_does_not_fail_the_request(
    client: APIClient,
    make_token: MakeToken,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(**_: object) -> bool:
        raise OperationalError("cannot execute UPDATE in a read-only transaction")

    text = await make_token("read")
    monkeypatch.setattr(services, "record_token_use", fail)
    with caplog.at_level(logging.WARNING, "app.accounts"):
        response = await client.get(ME, HTTP_AUTHORIZATION=f"Bearer {text}")
    assert response.status_code == 200
    assert "could not be recorded" in caplog.text
    assert text not in caplog.text


async def test_neither_answer_nor_log_of_a_refusal_repeats_the_token(
    client: APIClient, make_token: MakeToken, caplog: pytest.LogCaptureFixture
) -> None:
    text = await make_token("read")
    await Token.objects.aupdate(revoked_at=timezone.now())
    with caplog.at_level(logging.DEBUG):
        response = await client.get(ME, HTTP_AUTHORIZATION=f"Bearer {text}")
    secret = text.rpartition("_")[2]
    assert secret not in response.text
    assert secret not in caplog.text


async def test_a_request_with_a_token_enters_no_thread(
    client: APIClient, make_token: MakeToken, hops: list[str]
) -> None:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await make_token('write')}")
    assert (await client.get(ME)).status_code == 200
    assert (await client.post("/api/v1/tokens/", {"name": "n", "scopes": ["read"]})).data["id"]
    assert (await client.get("/api/v1/hosts/")).status_code == 200
    client.credentials(HTTP_AUTHORIZATION="Bearer nonsense")
    assert (await client.get(ME)).status_code == 401
    assert not hops


async def test_a_request_with_a_session_enters_no_thread(
    client: APIClient, operator: User, hops: list[str]
) -> None:
    await client.force_login(operator)
    assert (await client.get(ME)).status_code == 200
    response = await client.post("/api/v1/tokens/", {"name": "n", "scopes": ["read"]})
    assert response.status_code == 201, response.json()
    assert not hops
