from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from app.accounts import services
from app.accounts.commands import AsyncCommand
from app.accounts.models import User
from app.errors import NotFound


class Command(AsyncCommand):
    help = "Create an API token and print it. It is shown this once: only a digest is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, help="Name of the user it acts for.")
        parser.add_argument(
            "--scope",
            action="append",
            required=True,
            dest="scopes",
            help="read, write or agent; repeat for several.",
        )
        parser.add_argument("--name", default="created on the command line", help="What it is for.")
        parser.add_argument("--host", default="", help="The one host that an agent's may report.")
        parser.add_argument("--expires-in-days", type=float, help="Without it, it never expires.")

    async def ahandle(self, **options: Any) -> None:
        user = await User.objects.filter(username=options["user"]).afirst()
        if user is None:
            raise NotFound(f"There is no user {options['user']!r}.")
        days = options["expires_in_days"]
        _, text = await services.create_token(
            user=user,
            name=options["name"],
            scopes=options["scopes"],
            host_name=options["host"],
            expires_at=None if days is None else timezone.now() + timedelta(days=days),
        )
        self.stdout.write(text)
