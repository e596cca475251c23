"""How accounts read over the API. A token's digest appears nowhere, its text once, in `create`."""

from typing import Any

from app.accounts.models import Membership, Scope, Token, User
from app.rest import serializers


class ScopesField(serializers.MultipleChoiceField):
    """Scopes, each once, in the order of `Scope`; a select in the browsable API's form."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=Scope.choices, allow_empty=False, **kwargs)

    def to_internal_value(self, data: Any) -> list[str]:
        chosen = super().to_internal_value(data)
        return [scope for scope in Scope.values if scope in chosen]

    def to_representation(self, value: Any) -> list[str]:
        return list(value)


class MembershipSerializer(serializers.ModelSerializer):
    team = serializers.SlugRelatedField(slug_field="slug", read_only=True)

    class Meta:
        model = Membership
        fields = ["team", "role"]


class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ["id", "username", "email", "role", "is_staff", "created_at", "last_login"]
        read_only_fields = fields


class TokenSerializer(serializers.ModelSerializer):
    scopes = ScopesField()

    class Meta:
        model = Token
        fields = [
            "id",
            "name",
            "prefix",
            "scopes",
            "host_name",
            "expires_at",
            "last_used_at",
            "revoked_at",
            "created_at",
        ]
        read_only_fields = ["prefix", "last_used_at", "revoked_at", "created_at"]
