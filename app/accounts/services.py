"""Writes: each function is one transaction, takes keywords only, and raises app.errors."""

from collections.abc import Collection, Iterable
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from app import db
from app.accounts import passwords, tokens
from app.accounts.models import Membership, Role, Scope, Team, Token, User
from app.accounts.token_caches import LAST_USED_PRECISION, token_cache
from app.db import models
from app.errors import Conflict, Denied, Invalid, NotFound


async def create_user(
    *,
    username: str,
    password: str | None = None,
    email: str = "",
    role: str = Role.VIEWER,
    is_staff: bool = False,
    is_superuser: bool = False,
) -> User:
    """A new user. Without a password there is no way to log in, only tokens.

    Raises Invalid (each field with its reasons) and Conflict (the name is taken).
    """
    user = User(
        username=User.normalize_username(username),
        email=User.objects.normalize_email(email),
        role=role,
        is_staff=is_staff,
        is_superuser=is_superuser,
    )
    user.set_unusable_password()
    _check_fields(user)
    if password is not None:
        await passwords.validate_password(password, user)
        user.password = await passwords.hash_password(password)
    try:
        async with db.atomic():
            await user.asave(force_insert=True)
    except IntegrityError as error:
        raise Conflict(f"There is a user {user.username!r} already.") from error
    return user


async def create_administrator(*, username: str, password: str, email: str = "") -> User:
    """A user who may do everything. Raises as `create_user` does."""
    return await create_user(
        username=username,
        password=password,
        email=email,
        role=Role.OPERATOR,
        is_staff=True,
        is_superuser=True,
    )


async def set_password(*, user: User, password: str) -> None:
    """Change the password; every session of the user ends. Raises Invalid when it is too weak."""
    await passwords.validate_password(password, user)
    user.password = await passwords.hash_password(password)
    async with db.atomic():
        await user.asave(update_fields=["password"])


async def renew_hash(*, user: User, password: str) -> None:
    """Store the password that `user` has under today's hash, unless it was changed meanwhile.
    Sessions, which are tied to the hash, end."""
    renewed = await passwords.hash_password(password)
    async with db.atomic():
        unchanged = User.objects.filter(pk=user.pk, password=user.password)
        if await unchanged.aupdate(password=renewed):
            user.password = renewed


async def create_token(
    *,
    user: User,
    name: str,
    scopes: Iterable[str],
    expires_at: datetime | None = None,
    host_name: str = "",
    granted_by: Token | None = None,
) -> tuple[Token, str]:
    """A new token and its text, which is shown here and never again.

    With `host_name` an agent's token reports that host and no other.

    Raises Invalid: unknown or no scopes, an expiry in the past, a host for another scope than
    agent. Raises Denied: the user's role does
    not reach that far, or the token that asks (`granted_by`) has less or ends sooner: a token that
    was stolen must not make itself a better one.
    """
    wanted = _known_scopes(scopes)
    refused = wanted - user.grantable_scopes
    if refused:
        raise Denied(
            f"{user.username} is a {user.role}: a token of theirs may not have "
            f"{_listed(refused)}. Make them an operator first."
        )
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid(
            "The token would have expired already.",
            fields={"expires_at": ["This lies in the past. Give a time to come, or none."]},
        )
    if host_name and wanted != {Scope.AGENT.value}:
        reason = "Only a token whose one scope is 'agent' is bound to a host."
        raise Invalid("The token can't be bound to a host.", fields={"host_name": [reason]})
    if granted_by is not None:
        _check_within(granted_by, wanted, expires_at)
    credential = tokens.generate()
    token = Token(
        user=user,
        name=name,
        prefix=credential.prefix,
        digest=credential.digest,
        scopes=[scope for scope in Scope.values if scope in wanted],
        expires_at=expires_at,
        host_name=host_name,
    )
    _check_fields(token, references=["user"])
    async with db.atomic():
        await token.asave(force_insert=True)
    return token, credential.text


async def revoke_token(*, token: Token) -> Token:
    """From now on the token authenticates nobody. Revoking twice keeps the first moment."""
    async with db.atomic():
        await Token.objects.filter(pk=token.pk, revoked_at__isnull=True).aupdate(
            revoked_at=timezone.now()
        )
        await token.arefresh_from_db(fields=["revoked_at"])
    token_cache.forget(token)
    return token


async def record_token_use(*, token: Token, used_at: datetime) -> bool:
    """Note that the token was used, at most once a minute. Returns whether this call did.

    One statement. A row that another request is writing is skipped, not waited for: it writes the
    same minute. The ORM can't say SKIP LOCKED inside an UPDATE without a transaction around it.
    """
    rows = await db.fetch(
        "UPDATE accounts_token SET last_used_at = %s WHERE id = (SELECT id FROM accounts_token "
        "WHERE id = %s AND (last_used_at IS NULL OR last_used_at <= %s) FOR UPDATE SKIP LOCKED) "
        "RETURNING id",
        used_at,
        token.pk,
        used_at - LAST_USED_PRECISION,
    )
    return bool(rows)


async def record_login(*, user: User) -> None:
    async with db.atomic():
        user.last_login = timezone.now()
        await user.asave(update_fields=["last_login"])


async def create_team(*, name: str, slug: str) -> Team:
    """Raises Invalid, and Conflict when the slug is taken."""
    team = Team(name=name, slug=slug)
    _check_fields(team)
    try:
        async with db.atomic():
            await team.asave(force_insert=True)
    except IntegrityError as error:
        raise Conflict(f"There is a team {slug!r} already.") from error
    return team


async def add_member(*, team: Team, user: User, role: str = Role.VIEWER) -> Membership:
    """Put the user into the team, or change the role that the user has there."""
    membership = Membership(team=team, user=user, role=role)
    _check_fields(membership, references=["team", "user"])
    async with db.atomic():
        membership, _ = await Membership.objects.aupdate_or_create(
            team=team, user=user, defaults={"role": role}
        )
    return membership


async def remove_member(*, team: Team, user: User) -> None:
    """Raises NotFound when the user is no member."""
    async with db.atomic():
        removed, _ = await Membership.objects.filter(team=team, user=user).adelete()
    if not removed:
        raise NotFound(f"{user.username} is no member of {team.slug}.")


def _known_scopes(scopes: Iterable[str]) -> frozenset[str]:
    wanted = frozenset(scopes)
    unknown = wanted - frozenset(Scope.values)
    if unknown or not wanted:
        what = f"Unknown: {_listed(unknown)}." if unknown else "A token needs at least one scope."
        reason = f"{what} Scopes are {', '.join(Scope.values)}."
        raise Invalid("The scopes can't be granted.", fields={"scopes": [reason]})
    return wanted


def _check_within(granting: Token, scopes: frozenset[str], expires_at: datetime | None) -> None:
    missing = scopes - granting.effective_scopes
    if missing:
        raise Denied(f"This token lacks {_listed(missing)}, so it can't make one that has it.")
    end = granting.expires_at
    if end is not None and (expires_at is None or expires_at > end):
        raise Denied(
            f"This token expires at {end.isoformat()}: it can't make one that lasts longer."
        )


def _check_fields(instance: models.Model, *, references: Collection[str] = ()) -> None:
    """Each field's own rules, which need no query. `references` are the foreign keys, whose rows
    the database looks for."""
    try:
        instance.clean_fields(exclude=references)
    except ValidationError as error:
        raise Invalid("Some fields are not acceptable.", fields=error.message_dict) from error


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
