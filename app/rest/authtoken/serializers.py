"""DRF's AuthTokenSerializer, asking for the user asynchronously."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework.authtoken.serializers import AuthTokenSerializer as DRFAuthTokenSerializer

from app.rest.authentication import user_of
from app.rest.exceptions import ValidationError
from app.rest.serializers import Serializer

__all__ = ["AuthTokenSerializer"]


class AuthTokenSerializer(Serializer, DRFAuthTokenSerializer):
    async def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Adds `user`. Raises ValidationError when the credentials are nobody's."""
        username, password = attrs.get("username"), attrs.get("password")
        if not username or not password:
            message = _('Must include "username" and "password".')
            raise ValidationError(message, code="authorization")
        request = self.context.get("request")
        user = await user_of(request, username=username, password=password)
        if user is None:
            message = _("Unable to log in with provided credentials.")
            raise ValidationError(message, code="authorization")
        return {**attrs, "user": user}
