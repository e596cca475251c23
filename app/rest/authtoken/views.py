"""DRF's view that gives a token for a user name and a password."""

from typing import Any

from rest_framework.authtoken.models import Token
from rest_framework.authtoken.views import ObtainAuthToken as DRFObtainAuthToken

from app.rest.authtoken.serializers import AuthTokenSerializer
from app.rest.renderers import JSONRenderer
from app.rest.response import Response
from app.rest.views import APIView

__all__ = ["ObtainAuthToken", "obtain_auth_token"]


class ObtainAuthToken(APIView, DRFObtainAuthToken):
    renderer_classes = (JSONRenderer,)
    serializer_class = AuthTokenSerializer

    async def post(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        await serializer.ais_valid(raise_exception=True)
        token, _ = await Token.objects.aget_or_create(user=serializer.validated_data["user"])
        return Response({"token": token.key})


obtain_auth_token = ObtainAuthToken.as_view()
