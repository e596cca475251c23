"""Recording that a token was used, with real commits: many requests at once, and one that holds the
row."""

import asyncio
from datetime import timedelta

import pytest
from django.utils import timezone

from app import db
from app.accounts import services
from app.accounts.models import Token
from app.rest.test import APIClient

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("committed")]


async def _token() -> tuple[Token, str]:
    user = await services.create_user(username="ada", role="operator")
    return await services.create_token(user=user, name="ci", scopes=["read"])


async def test_of_many_requests_at_once_one_records_the_use() -> None:
    token, text = await _token()
    now = timezone.now()
    recorded = await asyncio.gather(
        *(services.record_token_use(token=token, used_at=now) for _ in range(20))
    )
    assert recorded.count(True) == 1

    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    responses = await asyncio.gather(*(client.get("/api/v1/me/") for _ in range(20)))
    assert {response.status_code for response in responses} == {200}
    await token.arefresh_from_db()
    assert token.last_used_at == now


async def test_a_request_does_not_wait_for_whoever_holds_the_row() -> None:
    token, text = await _token()
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    held, release = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with db.atomic():
            await db.execute("SELECT 1 FROM accounts_token WHERE id = %s FOR UPDATE", token.pk)
            held.set()
            await release.wait()

    holder = asyncio.create_task(hold())
    await held.wait()
    try:
        async with asyncio.timeout(2):
            assert (await client.get("/api/v1/me/")).status_code == 200
    finally:
        release.set()
        await holder
    await token.arefresh_from_db()
    assert token.last_used_at is None


async def test_a_later_use_is_never_overwritten_by_an_earlier_one() -> None:
    token, _ = await _token()
    later = timezone.now()
    assert await services.record_token_use(token=token, used_at=later)
    assert not await services.record_token_use(token=token, used_at=later - timedelta(hours=1))
    await token.arefresh_from_db()
    assert token.last_used_at == later
