"""The density report for a terminal. Rich is in the extra `embedded`, so only the command imports
this.
"""

from collections import Counter
from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from app.fleet.density import Density, HostDensity, Report, Resource
from app.fleet.stowage_marks import amount, percent, plural

BAR_WIDTHS = range(10, 41)
USED, UNUSED, OVER, FREE, CRAMMED = "█", "▒", "▓", "·", "▶"
KEY = (
    f"{USED} used  {UNUSED} reserved, not used  {OVER} used beyond what is reserved  "
    f"{FREE} free  {CRAMMED} more than there is"
)


def tabulate(report: Report, *, width: int = 100) -> RenderableType:
    """Two lines a host, memory and cpu; then the fleet; then what is missing or silent.

    Fits a terminal of `width` columns, from 80.
    """
    gap = 1 if width >= 100 else 0
    table = Table(box=box.SIMPLE_HEAD, title=_title(report), title_justify="left", padding=(0, gap))
    table.add_column("host", no_wrap=True, max_width=16, min_width=12)
    for heading in ("", "allocatable", "packed and used"):
        table.add_column(heading, no_wrap=True)
    for heading in ("packing", "usage", "overcommit", "slack"):
        table.add_column(heading, justify="right", no_wrap=True)
    bar_width = max(BAR_WIDTHS[0], min(BAR_WIDTHS[-1], width - 70 - 16 * gap))
    for host in report.hosts:
        name = Text(host.host.name, style="dim strike" if host.is_stale else "bold")
        for resource in (Resource.MEMORY, Resource.CPU):
            _add_row(table, name, host.densities[resource], bar_width)
            name = Text(_below(host), style="dim")
        table.add_section()
    name = Text("fleet", style="bold reverse")
    for resource in (Resource.MEMORY, Resource.CPU):
        _add_row(table, name, report.densities[resource], bar_width)
        name = Text("")
    notes = [Text(line, style="yellow") for line in _notes(report)]
    return Group(table, Text(KEY, style="dim"), *notes)


def _title(report: Report) -> Text:
    return Text(
        f"Density at {report.at:%Y-%m-%d %H:%M:%S} UTC, P95 over {report.window_hours:g} h",
        style="bold",
    )


def _below(host: HostDensity) -> str:
    counted = plural(host.containers_counted, "container")
    return f"{counted}, not heard from" if host.is_stale else counted


def _add_row(table: Table, name: Text, density: Density, bar_width: int) -> None:
    table.add_row(
        name,
        str(density.resource),
        amount(density.resource, density.allocatable),
        draw_bar(density, bar_width),
        *(
            percent(ratio)
            for ratio in (density.packing, density.usage, density.overcommit, density.slack)
        ),
    )


def draw_bar(density: Density, width: int) -> Text:
    """What is used and reserved of the allocatable; told apart by sign, not by colour alone."""
    if density.packing is None or density.usage is None:
        return Text("nothing"[:width], style="dim")
    packed, used = (min(round(ratio * width), width) for ratio in (density.packing, density.usage))
    bar = Text()
    bar.append(USED * min(packed, used), style="blue")
    bar.append(UNUSED * (packed - used), style="cyan")
    bar.append(OVER * (used - packed), style="bright_red")
    bar.append(FREE * (width - max(packed, used)), style="dim")
    if density.packing > 1 or density.usage > 1:
        bar.append(CRAMMED, style="bright_red")
    return bar


def _notes(report: Report) -> Iterator[str]:
    """How many containers something stands in for, and which hosts are silent."""
    if report.reason:
        yield f"Nothing to report: {report.reason}."
    flags = Counter(flag for host in report.hosts for one in host.stowed() for flag in one.flags)
    meanings = {
        "unlimited:memory": "without a memory limit",
        "unlimited:cpu": "without a cpu limit",
        "unreserved:memory": "without a memory reservation: counted with the P95 of use",
        "unreserved:cpu": "without a cpu reservation: counted with the P95 of use",
        "unmeasured": "never measured in this window: counted with what is reserved",
        "stale": "not heard from: counted with what was last known",
    }
    for flag, meaning in meanings.items():
        if flags[flag]:
            yield f"{plural(flags[flag], 'container')} {meaning}"
