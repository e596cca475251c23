"""`manage.py density`: the density report in the terminal, once or live."""

import asyncio
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from app import db
from app.fleet.density import Report
from app.fleet.density_queries import build_host, fetch_hosts
from app.fleet.policy import DEFAULT


class Command(BaseCommand):
    help = "Print how full the fleet is: packing, usage, overcommit and slack of each host."

    pause = staticmethod(asyncio.sleep)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", action="append", default=[], help="only this; repeatable")
        parser.add_argument("--window-hours", type=float, default=DEFAULT.window_hours)
        parser.add_argument(
            "--live",
            type=float,
            nargs="?",
            const=5.0,
            metavar="SECONDS",
            help="print it anew every 5 seconds, or every so many, until Ctrl-C",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            import rich  # noqa: F401 - in an extra, which a container does without
        except ImportError as error:
            raise CommandError("This needs rich: pip install 'stowage[embedded]'.") from error
        if not 0 < options["window_hours"] <= DEFAULT.window_hours_max:
            raise CommandError(f"--window-hours: write at most {DEFAULT.window_hours_max:g}.")
        if options["live"] is not None and options["live"] <= 0:
            raise CommandError("--live: write a number of seconds above 0.")
        with suppress(KeyboardInterrupt):
            asyncio.run(self._run(options))

    async def _run(self, options: dict[str, Any]) -> None:
        await db.open()
        try:
            await self.show(options)
        finally:
            await db.close()

    async def show(self, options: dict[str, Any]) -> None:
        """Print the report, once, or again and again until cancelled."""
        from rich.console import Console
        from rich.live import Live

        from app.fleet.density_tables import tabulate

        console = Console(file=self.stdout._out)  # type: ignore[arg-type]  # noqa: SLF001
        table = tabulate(await _report(options), width=console.width)
        if options["live"] is None:
            console.print(table)
            return
        with Live(table, console=console, auto_refresh=False) as live:
            while True:
                await self.pause(options["live"])
                table = tabulate(await _report(options), width=console.width)
                live.update(table, refresh=True)


async def _report(options: dict[str, Any]) -> Report:
    at, window = timezone.now(), options["window_hours"]
    rows = await fetch_hosts(at=at, window_hours=window, hosts=options["host"])
    return Report.of(map(build_host, rows), at=at, window_hours=window)
