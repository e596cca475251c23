"""What the OpenAPI schema says of accounts. Imported by app.rest.schemas when a schema is made."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiViewExtension
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view

from app.accounts.models import Scope
from app.accounts.permissions import ANY, required_scope
from app.accounts.serializers import MembershipSerializer, TokenSerializer, UserSerializer
from app.rest import serializers


def scopes_of(auto_schema: Any) -> list[str]:
    """The scope that the operation needs; OpenAPI 3.1 lists such after a security scheme."""
    scope = required_scope(auto_schema.method, auto_schema.view)
    return [] if scope == ANY else [scope]


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "app.accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_requirement(self, auto_schema: Any) -> Any:
        return {self.name: scopes_of(auto_schema)}

    def get_security_definition(self, auto_schema: Any) -> Any:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "stw_<prefix>_<secret>",
            "description": "A token of `/api/v1/tokens/`, or of `manage.py create_token`.",
        }


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "app.accounts.authentication.SessionAuthentication"
    name = "session"

    def get_security_requirement(self, auto_schema: Any) -> Any:
        scopes = scopes_of(auto_schema)
        return [] if Scope.AGENT in scopes else {self.name: scopes}

    def get_security_definition(self, auto_schema: Any) -> Any:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "The session of someone who logged in. Writes need `X-CSRFToken`, too.",
        }


class CallerSerializer(UserSerializer):
    email = serializers.CharField(help_text="An address, or empty.")
    teams = MembershipSerializer(many=True)
    scopes = serializers.ListField(child=serializers.ChoiceField(Scope.choices))
    token = TokenSerializer(allow_null=True)

    class Meta(UserSerializer.Meta):
        fields = [*UserSerializer.Meta.fields, "teams", "scopes", "token"]


DRY_RUN = OpenApiParameter(
    "dry_run",
    {"type": "string", "enum": ["all"]},
    description="`all`: validate, run, answer as usual, and take everything back.",
)


class CreatedTokenSerializer(TokenSerializer):
    id = serializers.IntegerField(allow_null=True, help_text="Of a dry run there is none.")
    token = serializers.CharField(
        read_only=True, allow_null=True, help_text="Shown here and never again; null in a dry run."
    )

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]


class MeExtension(OpenApiViewExtension):
    target_class = "app.accounts.views.MeView"

    def view_replacement(self) -> Any:
        @extend_schema(responses=CallerSerializer)
        class View(self.target_class):  # type: ignore[name-defined]
            __doc__ = self.target_class.__doc__

        return View


class TokensExtension(OpenApiViewExtension):
    target_class = "app.accounts.views.TokenViewSet"

    def view_replacement(self) -> Any:
        from app.accounts.models import Token

        @extend_schema_view(
            create=extend_schema(
                parameters=[DRY_RUN],
                responses={201: CreatedTokenSerializer},
            ),
            destroy=extend_schema(parameters=[DRY_RUN]),
        )
        class View(self.target_class):  # type: ignore[name-defined]
            __doc__ = self.target_class.__doc__
            queryset = Token.objects.none()

        return View
