"""Logging in with a name and a password, for Django's `aauthenticate()`."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from app.accounts import passwords, services
from app.accounts.models import User


class PasswordBackend(ModelBackend):
    """Django's, with the hash computed in a thread: its own blocks the event loop meanwhile."""

    async def aauthenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        if username is None or password is None:
            return None
        name = User.normalize_username(username)
        user = await User.objects.filter(username=name).afirst()
        if user is None:
            # As long as a wrong password takes, so that the time does not tell which names exist.
            await passwords.hash_password(password)
            return None
        is_right, is_weak = await passwords.verify_password(password, user.password)
        if not is_right or not self.user_can_authenticate(user):
            return None
        if is_weak:
            await services.renew_hash(user=user, password=password)
        return user

    async def aget_user(self, user_id: int) -> User | None:
        user = await User.objects.filter(pk=user_id).afirst()
        return user if user is not None and self.user_can_authenticate(user) else None
