"""Make the tables and users with a token each, and print the tokens as JSON.

python -m load.bench.stowage.prepare 100
"""

import asyncio
import json
import sys

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from app import db  # noqa: E402
from app.accounts import services  # noqa: E402
from app.accounts.models import Role, Scope  # noqa: E402


async def make_tokens(count: int) -> list[str]:
    texts = []
    for number in range(1, count + 1):
        user = await services.create_user(username=f"user-{number}", role=Role.OPERATOR)
        _, text = await services.create_token(user=user, name="bench", scopes=Scope.values)
        texts.append(text)
    await db.close()
    return texts


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    connection.close()
    print(json.dumps(asyncio.run(make_tokens(int(sys.argv[1])))))
