"""`manage.py maintain_partitions`: what the API does every hour, by hand or from cron."""

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from app import db
from app.fleet import partitions


class Command(BaseCommand):
    help = "Make the partitions of usage for the days ahead and drop those past keeping."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--keep-days", type=int, default=partitions.keep_days())
        parser.add_argument("--ahead-days", type=int, default=partitions.AHEAD_DAYS)

    def handle(self, *args: Any, **options: Any) -> None:
        done = asyncio.run(_maintain(options["keep_days"], options["ahead_days"]))
        for verb, days in (("Made", done.made), ("Dropped", done.dropped)):
            names = ", ".join(day.isoformat() for day in days) or "none"
            self.stdout.write(f"{verb}: {names}")


async def _maintain(keep_days: int, ahead_days: int) -> partitions.Maintained:
    await db.open()
    try:
        return await partitions.maintain_partitions(
            now=timezone.now(), keep_days=keep_days, ahead_days=ahead_days
        )
    finally:
        await db.close()
