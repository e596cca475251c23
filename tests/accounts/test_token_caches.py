"""Tokens that are believed for a second: quick, and never longer; nobody shares an instance."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from django.db import OperationalError
from django.utils import timezone

from app import db
from app.accounts import services, token_caches, tokens
from app.accounts.models import Token, User
from app.accounts.querysets import TokenQuerySet
from app.accounts.token_caches import TokenCache
from app.db.testing import capture_queries
from app.rest.test import APIClient

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

ME, HOSTS = "/api/v1/me/", "/api/v1/hosts/"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The cache is on, empty, and its clock stands still until it is moved."""
    settings.STOWAGE = settings.STOWAGE | {"TOKEN_CACHE_SECONDS": 1.0}
    clock = Clock()
    monkeypatch.setattr(token_caches.token_cache, "_clock", clock)
    token_caches.token_cache.forget_all()
    yield clock
    token_caches.token_cache.forget_all()


@pytest_asyncio.fixture(loop_scope="session")
async def token(transaction: None) -> tuple[Token, str]:
    user = await services.create_user(username="ada", role="operator")
    made, text = await services.create_token(user=user, name="ci", scopes=["read", "write"])
    await services.record_token_use(token=made, used_at=timezone.now())
    return made, text


def asking(text: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


async def status(text: str) -> int:
    return int((await asking(text).get(HOSTS)).status_code)


async def reads_tokens(text: str) -> bool:
    """Whether a request with this token asks the database for tokens."""
    with capture_queries() as queries:
        assert await status(text) == 200
    return any("accounts_token" in query["sql"] for query in queries)


async def test_second_request_within_a_second_asks_for_no_token(
    clock: Clock, token: tuple[Token, str], hops: list[str]
) -> None:
    assert await reads_tokens(token[1])
    clock.now += 0.9
    assert not await reads_tokens(token[1])
    clock.now += 0.1
    assert await reads_tokens(token[1])
    assert hops == []


async def test_a_busy_clients_token_is_read_before_it_is_due(
    clock: Clock, token: tuple[Token, str]
) -> None:
    assert await reads_tokens(token[1])
    assert not await reads_tokens(token[1])
    clock.now += 0.74
    assert not await reads_tokens(token[1])
    clock.now += 0.02
    assert await reads_tokens(token[1])
    clock.now += 0.74
    assert not await reads_tokens(token[1])


async def test_one_request_reads_for_all_that_come_at_once(
    clock: Clock, token: tuple[Token, str]
) -> None:
    texts = [token[1]]
    for number in range(9):
        made, text = await services.create_token(
            user=token[0].user, name=f"t{number}", scopes=["read"]
        )
        await services.record_token_use(token=made, used_at=timezone.now())
        texts.append(text)
    for text in texts * 2:
        assert await status(text) == 200
    clock.now += 0.8
    with capture_queries() as queries:
        assert await asyncio.gather(*map(status, texts)) == [200] * 10
    assert sum("accounts_token" in query["sql"] for query in queries) == 1
    clock.now += 0.6  # all were renewed
    assert [await reads_tokens(text) for text in texts] == [False] * 10


async def test_a_token_is_believed_while_it_cannot_be_renewed(
    clock: Clock, token: tuple[Token, str], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    for _ in range(2):
        assert await status(token[1]) == 200

    async def fail(self: Any, prefixes: list[str]) -> list[Any]:
        raise OperationalError("The database is gone.")

    with monkeypatch.context() as broken:
        broken.setattr(TokenQuerySet, "rows_by_prefix", fail)
        clock.now += 0.8
        assert await status(token[1]) == 200
    assert "could not be read ahead" in caplog.text
    assert await reads_tokens(token[1])  # the next one tries again


async def test_revoking_here_is_known_at_once(clock: Clock, token: tuple[Token, str]) -> None:
    made, text = token
    assert await status(text) == 200
    await services.revoke_token(token=made)
    assert await status(text) == 401


@pytest.mark.parametrize(
    ("statement", "after"),
    [
        ("UPDATE accounts_token SET revoked_at = now()", 401),
        ("UPDATE accounts_user SET is_active = false", 401),
        ("UPDATE accounts_token SET scopes = '{agent}'", 403),
        ("DELETE FROM accounts_token", 401),
    ],
)
async def test_change_by_another_worker_is_known_within_a_second(
    clock: Clock, token: tuple[Token, str], statement: str, after: int
) -> None:
    assert await status(token[1]) == 200
    await db.execute(statement)
    clock.now += 1.0
    assert await status(token[1]) == after


async def test_expiry_is_not_waited_for(clock: Clock, token: tuple[Token, str]) -> None:
    made, text = token
    soon = timezone.now() + timedelta(milliseconds=30)
    await db.execute(
        "UPDATE accounts_token SET expires_at = %s, created_at = %s",
        soon,
        made.created_at - timedelta(days=1),
    )
    assert await status(text) == 200
    while timezone.now() <= soon:
        pass
    assert await status(text) == 401


async def test_another_secret_with_the_same_prefix_is_refused(
    clock: Clock, token: tuple[Token, str]
) -> None:
    made, text = token
    assert await status(text) == 200
    assert await status(tokens.Credential(made.prefix, "0" * 64).text) == 401


async def test_what_a_request_does_to_its_user_stays_with_it(
    clock: Clock, token: tuple[Token, str]
) -> None:
    made, text = token
    credential = tokens.parse(text)
    assert credential is not None
    cache = TokenCache(clock=clock)
    [row] = await Token.objects.rows_by_prefix([made.prefix])
    kept = cache.put(row, clock.now)
    key = (credential.prefix, credential.digest)
    first, second = cache.get(*key), cache.get(*key)
    assert first is not None
    assert second is not None
    first.user.username = first.name = "changed"
    kept.user.role = "viewer"
    assert (second.user.username, second.name, second.user.role) == ("ada", "ci", "operator")
    assert first == second
    assert isinstance(first.user, User)
    await second.user.arefresh_from_db()


async def test_cache_is_bounded_and_the_oldest_goes_first(
    clock: Clock, token: tuple[Token, str]
) -> None:
    cache = TokenCache(capacity=2, clock=clock)
    kept = [token[0], *[await another(token[0].user) for _ in range(2)]]
    for one in kept:
        [row] = await Token.objects.rows_by_prefix([one.prefix])
        cache.put(row, clock.now)
    assert [cache.get(one.prefix, one.digest) is not None for one in kept] == [False, True, True]


async def test_what_nobody_used_in_its_time_is_let_go(
    clock: Clock, token: tuple[Token, str]
) -> None:
    cache = TokenCache(clock=clock)
    kept = [token[0], await another(token[0].user)]
    for one in kept:
        [row] = await Token.objects.rows_by_prefix([one.prefix])
        cache.put(row, clock.now)
    assert cache.get(kept[0].prefix, kept[0].digest) is not None
    clock.now += 0.9
    assert cache.due() == [kept[0].prefix]
    assert len(cache) == 2
    clock.now += 0.1
    assert cache.due() == [kept[0].prefix]
    assert len(cache) == 1


async def another(user: User) -> Token:
    made, _ = await services.create_token(user=user, name="another", scopes=["read"])
    return made


async def test_one_query_reads_all_that_are_about_to_be_due(
    clock: Clock, token: tuple[Token, str]
) -> None:
    busy = [token[1]]
    for name in ("one", "other"):
        made, text = await services.create_token(user=token[0].user, name=name, scopes=["read"])
        await services.record_token_use(token=made, used_at=timezone.now())
        busy.append(text)
    for text in busy * 2:
        assert await status(text) == 200
    clock.now += 1.0
    assert [await reads_tokens(text) for text in busy] == [True, False, False]
    clock.now += 1.0
    await db.execute("UPDATE accounts_token SET revoked_at = now() WHERE name = 'other'")
    assert [await status(text) for text in busy] == [200, 200, 401]


async def test_without_seconds_nothing_is_kept(settings: Any, token: tuple[Token, str]) -> None:
    assert settings.STOWAGE["TOKEN_CACHE_SECONDS"] == 0
    await status(token[1])
    assert len(token_caches.token_cache) == 0
