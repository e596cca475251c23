"""`manage.py maintain_partitions`: what the API does every few minutes, by hand or from cron."""

import asyncio
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from app import db
from app.fleet import partitions, upkeep


class Command(BaseCommand):
    help = "Roll up the hours that are over, make partitions ahead, drop those past keeping."

    def handle(self, *args: Any, **options: Any) -> None:
        for noun, done in zip(("Days", "Weeks"), asyncio.run(_maintain()), strict=True):
            for verb, days in (("made", done.made), ("dropped", done.dropped)):
                names = ", ".join(day.isoformat() for day in days) or "none"
                self.stdout.write(f"{noun} {verb}: {names}")


async def _maintain() -> tuple[partitions.Maintained, partitions.Maintained]:
    await db.open()
    try:
        return await upkeep.maintain(now=timezone.now())
    finally:
        await db.close()
