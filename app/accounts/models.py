"""Who may speak to the API: people, their teams, and the tokens of programs.

Every rule about one row stands in the database as a constraint: no way of writing gets round it.
"""

from functools import lru_cache
from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import PermissionsMixin
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db.models import CheckConstraint, F, Q, UniqueConstraint
from django.utils import timezone

from app.accounts.querysets import MembershipQuerySet, TeamQuerySet, TokenQuerySet, UserQuerySet
from app.db import models


class Role(models.TextChoices):
    """What a person may do: a viewer reads, an operator reads and writes."""

    VIEWER = "viewer"
    OPERATOR = "operator"


class Scope(models.TextChoices):
    """What a token may do. `write` includes `read`; `agent` is for ingest and nothing else."""

    READ = "read"
    WRITE = "write"
    AGENT = "agent"


_OPERATOR = Role.OPERATOR.value
VIEWER_SCOPES = frozenset({Scope.READ.value})
OPERATOR_SCOPES = frozenset({Scope.READ.value, Scope.WRITE.value})
ALL_SCOPES = frozenset(Scope.values)


@lru_cache(maxsize=256)
def _effective(given: tuple[str, ...], grantable: frozenset[str]) -> frozenset[str]:
    scopes = {*given, Scope.READ.value} if Scope.WRITE.value in given else set(given)
    return frozenset(scopes) & grantable


LABEL = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
validate_label = RegexValidator(LABEL, "Write lower-case letters, digits and hyphens in between.")


class UserManager(models.Manager.from_queryset(UserQuerySet), DjangoUserManager):  # type: ignore[misc]
    """Django's own, for `createsuperuser` and the admin, on the project's QuerySet."""

    use_in_migrations = False


class User(AbstractBaseUser, PermissionsMixin, models.Model):
    """A person, or a service that holds tokens. Groups and permissions are there for the admin."""

    username = models.CharField(
        max_length=150,
        unique=True,
        validators=[UnicodeUsernameValidator()],
        error_messages={"unique": "A user with that name exists already."},
    )
    email = models.EmailField(blank=True)
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.VIEWER)
    is_active = models.BooleanField(
        default=True, help_text="Switch off instead of deleting: what the user did stays readable."
    )
    is_staff = models.BooleanField(default=False, help_text="May enter the admin.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["email"]

    class Meta:
        constraints = [
            CheckConstraint(condition=Q(role__in=Role.values), name="user_role_known"),
            CheckConstraint(condition=~Q(username=""), name="user_username_not_empty"),
        ]

    @property
    def is_operator(self) -> bool:
        return self.role == _OPERATOR or self.is_staff or self.is_superuser

    @property
    def scopes(self) -> frozenset[str]:
        """What the person may do when logged in without a token."""
        return OPERATOR_SCOPES if self.is_operator else VIEWER_SCOPES

    @property
    def grantable_scopes(self) -> frozenset[str]:
        """What a token of this user may do at most: a token never reaches further than its user."""
        return ALL_SCOPES if self.is_operator else VIEWER_SCOPES


class Team(models.Model):
    """People who own workloads together."""

    name = models.CharField(max_length=150)
    slug = models.SlugField(max_length=63, unique=True, validators=[validate_label])
    members: "models.ManyToManyField[User, Membership]" = models.ManyToManyField(
        User, through="Membership", related_name="teams"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            CheckConstraint(condition=~Q(name=""), name="team_name_not_empty"),
            CheckConstraint(
                condition=Q(slug__regex=LABEL),
                name="team_slug_is_label",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """One person in one team, with the role that the person has there."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.VIEWER)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["team", "user"], name="membership_unique"),
            CheckConstraint(condition=Q(role__in=Role.values), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.team_id}"


class Token(models.Model):
    """A program's credential. Only a digest is kept of its secret, which is shown once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(
        max_length=100, help_text="What it is for, so that it can be found again."
    )
    prefix = models.CharField(max_length=12, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    scopes = ArrayField(models.CharField(max_length=16, choices=Scope.choices))
    host_name = models.CharField(
        max_length=253,
        blank=True,
        default="",
        db_default="",
        help_text="An agent's: the one host that it may report. Empty for any.",
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = TokenQuerySet.as_manager()

    class Meta:
        constraints = [
            CheckConstraint(condition=~Q(name=""), name="token_name_not_empty"),
            CheckConstraint(
                condition=Q(digest__regex="^[0-9a-f]{64}$"), name="token_digest_is_sha256"
            ),
            CheckConstraint(
                condition=Q(scopes__len__gt=0, scopes__contained_by=Scope.values),
                name="token_scopes_known",
            ),
            CheckConstraint(
                condition=Q(host_name="") | Q(scopes=[Scope.AGENT.value]),
                name="token_of_host_is_agents",
            ),
            CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("created_at")),
                name="token_expires_after_creation",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"

    @property
    def effective_scopes(self) -> frozenset[str]:
        """What it was given, and what `write` includes, within what its user may still grant."""
        return _effective(tuple(self.scopes), self.user.grantable_scopes)
