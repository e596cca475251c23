"""What callers may see and change of themselves: who they are, and their own tokens."""

from typing import Any

from app import db
from app.accounts import services
from app.accounts.models import Membership, Token
from app.accounts.permissions import ANY, HasScope, ManagesOwnTokens, granted_scopes
from app.accounts.serializers import MembershipSerializer, TokenSerializer, UserSerializer
from app.rest import mixins, viewsets
from app.rest.dry_runs import is_dry_run
from app.rest.exceptions import ValidationError
from app.rest.request import Request
from app.rest.response import Response
from app.rest.views import APIView


class MeView(APIView):
    """The caller: the user, their teams, and what this request may do."""

    permission_classes = [HasScope]
    required_scopes = {"GET": ANY}

    async def get(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        memberships = [
            membership async for membership in Membership.objects.with_team_of(request.user.pk)
        ]
        token = request.auth if isinstance(request.auth, Token) else None
        return Response(
            {
                **await UserSerializer(request.user).adata,
                "teams": await MembershipSerializer(memberships, many=True).adata,
                "scopes": sorted(granted_scopes(request)),
                "token": None if token is None else await TokenSerializer(token).adata,
            }
        )


class TokenViewSet(
    mixins.CreateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet,
):
    """Your own tokens. A token's text is in the answer to its creation and never again; deleting
    one revokes it at once, and keeps its row for the record."""

    serializer_class = TokenSerializer
    permission_classes = [ManagesOwnTokens]
    search_fields = ["name", "prefix"]
    ordering_fields = ["created_at", "last_used_at", "expires_at"]

    def get_queryset(self) -> Any:
        return Token.objects.of_user(self.request.user.pk).newest_first()

    async def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        if "watch" in request.query_params:
            message = "Tokens can't be watched: no event tells of them. Leave it out."
            raise ValidationError({"watch": [message]})
        response: Response = await super().list(request, *args, **kwargs)
        return response

    async def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        if not is_dry_run(request):
            return await self._create(request)
        async with db.rehearsal():
            response = await self._create(request)
        response.data |= {"id": None, "token": None}  # none was given out
        return response

    async def _create(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        await serializer.ais_valid(raise_exception=True)
        token, text = await services.create_token(
            user=request.user, granted_by=request.auth, **serializer.validated_data
        )
        created = await self.get_serializer(token).adata
        return Response({**created, "token": text}, status=201)

    async def perform_destroy(self, instance: Token) -> None:
        if not is_dry_run(self.request):
            await services.revoke_token(token=instance)
            return
        async with db.rehearsal():
            await services.revoke_token(token=instance)
