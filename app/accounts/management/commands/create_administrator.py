import secrets
from typing import Any

from django.core.management.base import CommandParser

from app.accounts import services
from app.accounts.commands import AsyncCommand


class Command(AsyncCommand):
    help = "Create a user who may do everything, and print a password made for them, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--username", default="admin")
        parser.add_argument("--email", default="")

    async def ahandle(self, **options: Any) -> None:
        password = secrets.token_urlsafe(18)
        user = await services.create_administrator(
            username=options["username"], password=password, email=options["email"]
        )
        self.stdout.write(f"{user.username}\n{password}")
