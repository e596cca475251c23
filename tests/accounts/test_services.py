"""Writing users, teams and tokens: what is stored, and what is refused with which words."""

from datetime import timedelta

import pytest
import pytest_asyncio
from django.contrib.auth.hashers import check_password
from django.db import IntegrityError
from django.utils import timezone

from app import db
from app.accounts import services, tokens
from app.accounts.models import Membership, Team, Token, User
from app.errors import Conflict, Denied, Invalid, NotFound

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

PASSWORD = "correct horse battery staple"


@pytest_asyncio.fixture
async def operator(transaction: None) -> User:
    return await services.create_user(username="ada", role="operator")


@pytest_asyncio.fixture
async def viewer(transaction: None) -> User:
    return await services.create_user(username="vera")


async def test_new_user_is_a_viewer_and_the_password_is_hashed() -> None:
    user = await services.create_user(username="ada", password=PASSWORD)
    stored = await User.objects.aget(username="ada")
    assert (stored.pk, stored.role, stored.is_staff, stored.is_superuser) == (
        user.pk,
        "viewer",
        False,
        False,
    )
    assert stored.password != PASSWORD
    assert check_password(PASSWORD, stored.password)


async def test_user_without_password_can_log_in_with_none(operator: User) -> None:
    assert not operator.has_usable_password()


@pytest.mark.parametrize("username", ["", "a b", "x" * 151, "semi;colon"])
async def test_impossible_username_is_invalid(username: str) -> None:
    with pytest.raises(Invalid) as caught:
        await services.create_user(username=username)
    assert "username" in caught.value.fields


async def test_unknown_role_is_invalid() -> None:
    with pytest.raises(Invalid) as caught:
        await services.create_user(username="ada", role="captain")
    assert "role" in caught.value.fields


@pytest.mark.parametrize("password", ["short", "password123", "1234567890123"])
async def test_weak_password_is_invalid_and_says_why(password: str) -> None:
    with pytest.raises(Invalid) as caught:
        await services.create_user(username="ada", password=password)
    assert caught.value.fields["password"]


async def test_renewing_a_hash_never_brings_back_an_old_password() -> None:
    user = await services.create_user(username="ada", password=PASSWORD)
    stale = await User.objects.aget(pk=user.pk)
    await services.set_password(user=user, password="another good password")
    await services.renew_hash(user=stale, password=PASSWORD)
    stored = await User.objects.aget(pk=user.pk)
    assert check_password("another good password", stored.password)


async def test_taken_username_is_a_conflict_that_leaves_the_transaction_usable(
    operator: User,
) -> None:
    with pytest.raises(Conflict, match="'ada'"):
        await services.create_user(username="ada")
    assert await User.objects.acount() == 1


async def test_administrator_may_do_everything() -> None:
    user = await services.create_administrator(username="root", password=PASSWORD)
    assert user.is_superuser
    assert user.is_staff
    assert user.scopes == {"read", "write"}


async def test_token_is_stored_as_prefix_and_digest_only(operator: User) -> None:
    token, text = await services.create_token(user=operator, name="ci", scopes=["write", "read"])
    credential = tokens.parse(text)
    assert credential is not None
    row = (await db.fetch("SELECT * FROM accounts_token"))[0]
    assert (row["prefix"], row["digest"]) == (credential.prefix, credential.digest)
    assert credential.secret not in str(row)
    assert token.scopes == ["read", "write"]


@pytest.mark.parametrize("scopes", [[], ["reed"], ["read", "admin"], ["READ"], [""]])
async def test_unknown_or_no_scope_is_invalid_and_names_the_scopes(
    operator: User, scopes: list[str]
) -> None:
    with pytest.raises(Invalid) as caught:
        await services.create_token(user=operator, name="ci", scopes=scopes)
    assert "read, write, agent" in caught.value.fields["scopes"][0]
    assert not await Token.objects.aexists()


@pytest.mark.parametrize("scope", ["write", "agent"])
async def test_a_viewers_token_may_only_read(viewer: User, scope: str) -> None:
    with pytest.raises(Denied, match=scope):
        await services.create_token(user=viewer, name="ci", scopes=["read", scope])
    token, _ = await services.create_token(user=viewer, name="ci", scopes=["read"])
    assert token.effective_scopes == {"read"}


async def test_expiry_in_the_past_is_invalid(operator: User) -> None:
    with pytest.raises(Invalid) as caught:
        await services.create_token(
            user=operator, name="ci", scopes=["read"], expires_at=timezone.now()
        )
    assert "expires_at" in caught.value.fields


async def test_only_an_agents_token_is_bound_to_a_host(operator: User) -> None:
    with pytest.raises(Invalid) as caught:
        await services.create_token(
            user=operator, name="ci", scopes=["agent", "read"], host_name="a"
        )
    assert list(caught.value.fields) == ["host_name"]
    token, _ = await services.create_token(
        user=operator, name="agent", scopes=["agent"], host_name="a"
    )
    assert (await Token.objects.aget(pk=token.pk)).host_name == "a"


async def test_a_token_cannot_make_one_with_more_scopes_or_a_longer_life(operator: User) -> None:
    end = timezone.now() + timedelta(days=1)
    granting, _ = await services.create_token(
        user=operator, name="short", scopes=["write"], expires_at=end
    )
    for scopes, expires_at in (
        (["agent"], end),
        (["read"], None),
        (["read"], end + timedelta(seconds=1)),
    ):
        with pytest.raises(Denied):
            await services.create_token(
                user=operator,
                name="more",
                scopes=scopes,
                expires_at=expires_at,
                granted_by=granting,
            )
    token, _ = await services.create_token(
        user=operator, name="same", scopes=["read", "write"], expires_at=end, granted_by=granting
    )
    assert token.expires_at == end


async def test_demoting_a_user_takes_the_scope_from_their_tokens(operator: User) -> None:
    token, _ = await services.create_token(user=operator, name="ci", scopes=["write", "agent"])
    assert token.effective_scopes == {"read", "write", "agent"}
    operator.role = "viewer"
    assert token.effective_scopes == {"read"}


async def test_revoking_twice_keeps_the_first_moment(operator: User) -> None:
    token, _ = await services.create_token(user=operator, name="ci", scopes=["read"])
    await services.revoke_token(token=token)
    first = token.revoked_at
    assert first is not None
    await services.revoke_token(token=token)
    assert token.revoked_at == first


async def test_use_is_recorded_at_most_once_a_minute(operator: User) -> None:
    token, _ = await services.create_token(user=operator, name="ci", scopes=["read"])
    start = timezone.now()
    recorded = [
        await services.record_token_use(token=token, used_at=start + timedelta(seconds=seconds))
        for seconds in (0, 1, 59, 60, 61, 120)
    ]
    assert recorded == [True, False, False, True, False, True]
    await token.arefresh_from_db()
    assert token.last_used_at == start + timedelta(seconds=120)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", ""),
        ("digest", "not a digest"),
        ("scopes", []),
        ("scopes", ["admin"]),
        ("host_name", "a host, for a token that reads"),
        ("expires_at", timezone.now() - timedelta(days=1)),
    ],
)
async def test_the_database_refuses_what_the_service_would(
    operator: User, column: str, value: object
) -> None:
    token, _ = await services.create_token(user=operator, name="ci", scopes=["read"])
    with pytest.raises(IntegrityError):
        async with db.atomic():
            await Token.objects.filter(pk=token.pk).aupdate(**{column: value})


async def test_members_join_once_change_role_and_leave(operator: User) -> None:
    team = await services.create_team(name="Dock crew", slug="dock")
    await services.add_member(team=team, user=operator)
    await services.add_member(team=team, user=operator, role="operator")
    assert [m.role async for m in Membership.objects.with_team_of(operator.pk)] == ["operator"]
    assert [t.slug async for t in Team.objects.of_user(operator.pk)] == ["dock"]
    assert [u.username async for u in User.objects.in_team(team.pk)] == ["ada"]
    await services.remove_member(team=team, user=operator)
    with pytest.raises(NotFound, match="ada"):
        await services.remove_member(team=team, user=operator)


@pytest.mark.parametrize("slug", ["", "Dock", "-dock", "dock-", "do ck", "do_ck", "d" * 64])
async def test_team_slug_must_be_a_label(slug: str) -> None:
    with pytest.raises(Invalid) as caught:
        await services.create_team(name="Dock crew", slug=slug)
    assert "slug" in caught.value.fields


async def test_taken_team_slug_is_a_conflict() -> None:
    await services.create_team(name="Dock crew", slug="dock")
    with pytest.raises(Conflict):
        await services.create_team(name="Another", slug="dock")


async def test_unknown_role_in_a_team_is_invalid(operator: User) -> None:
    team = await services.create_team(name="Dock crew", slug="dock")
    with pytest.raises(Invalid):
        await services.add_member(team=team, user=operator, role="captain")
