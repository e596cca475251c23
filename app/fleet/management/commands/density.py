"""`manage.py density`: the density report in the terminal, once or live."""

import asyncio
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from app import db
from app.fleet.bounds import BOUNDS
from app.fleet.density import Report
from app.fleet.density_queries import build_host, fetch_hosts
from app.fleet.policies import fetch_own, fetch_policies
from app.fleet.policy import COUNTED, DEFAULT


class Command(BaseCommand):
    help = "Print how full the fleet is: packing, usage, overcommit and slack of each host."

    pause = staticmethod(asyncio.sleep)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", action="append", default=[], help="only this; repeatable")
        parser.add_argument("--window-hours", type=float)
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
        hours = options["window_hours"]
        if hours is not None and not 0 < hours <= BOUNDS.window_hours_max:
            raise CommandError(f"--window-hours: write at most {BOUNDS.window_hours_max:g}.")
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
    own = await fetch_own(await fetch_policies(), COUNTED)
    rows = await fetch_hosts(at=at, window_hours=window, hosts=options["host"], own=own)
    hosts = map(build_host, rows)
    return Report.of(hosts, at=at, window_hours=window or DEFAULT.window_hours, own=own)
