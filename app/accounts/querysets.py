"""Reads of users, teams and tokens, each by its name."""

from datetime import datetime
from typing import TYPE_CHECKING, Self

from django.db.models import Q

from app.db import models

if TYPE_CHECKING:
    from app.accounts.models import Token


class UserQuerySet(models.QuerySet):
    def active(self) -> Self:
        return self.filter(is_active=True)

    def in_team(self, team_id: int) -> Self:
        return self.filter(memberships__team_id=team_id)


class TeamQuerySet(models.QuerySet):
    def of_user(self, user_id: int) -> Self:
        return self.filter(memberships__user_id=user_id)


class MembershipQuerySet(models.QuerySet):
    def with_team_of(self, user_id: int) -> Self:
        """The user's memberships with their teams, by the teams' slugs."""
        return self.filter(user_id=user_id).select_related("team").order_by("team__slug")


class TokenQuerySet(models.QuerySet):
    def of_user(self, user_id: int) -> Self:
        return self.filter(user_id=user_id)

    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def usable(self, at: datetime) -> Self:
        """Those that authenticate at that moment: neither revoked nor expired, of active users."""
        return self.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=at),
            revoked_at__isnull=True,
            user__is_active=True,
        )

    async def by_prefix(self, prefix: str) -> "Token":
        """The token with its user, in one query. Raises Token.DoesNotExist."""
        token: Token = await self.select_related("user").aget(prefix=prefix)
        return token
