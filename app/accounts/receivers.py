"""What happens when someone logs in, beside the session."""

from typing import Any

from app.accounts import services
from app.accounts.models import User


async def record_login(sender: Any, user: User, **kwargs: Any) -> None:
    await services.record_login(user=user)
