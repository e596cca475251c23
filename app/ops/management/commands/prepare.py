from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandParser

from app.accounts import services
from app.accounts.commands import AsyncCommand
from app.accounts.models import Role, Token, User
from app.accounts.tokens import parse
from app.ops import secrets

AGENT = "agent"
TOKEN_NAME = "agent of this stack"  # noqa: S105 - what it is called, not what it is


class Command(AsyncCommand):
    help = (
        "Bring the tables up to date, and give the agent a token in a file. Safe to run again: "
        "a token that still holds is kept."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--agent-token-file", type=Path, help="Where the agent reads it.")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=options["verbosity"])
        super().handle(*args, **options)

    async def ahandle(self, **options: Any) -> None:
        path: Path | None = options["agent_token_file"]
        if path is None:
            return
        if await holds(secrets.read(path)):
            self.stdout.write(f"The agent's token in {path} holds.")
            return
        user = await User.objects.filter(username=AGENT).afirst()
        if user is None:  # an operator, for only those may hold tokens that write
            user = await services.create_user(username=AGENT, role=Role.OPERATOR)
        await Token.objects.filter(user=user, name=TOKEN_NAME).adelete()
        _, text = await services.create_token(user=user, name=TOKEN_NAME, scopes=["agent"])
        secrets.write(path, text)
        self.stdout.write(f"The agent has a new token, in {path}.")


async def holds(text: str) -> bool:
    """Whether that is a token that the API accepts now."""
    credential = parse(text)
    if credential is None:
        return False
    token = await Token.objects.filter(prefix=credential.prefix, revoked_at=None).afirst()
    return token is not None and credential.matches(token.digest)
