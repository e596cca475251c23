"""The report in a terminal."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from rich.console import Console

from app.fleet.density import Report, Resource
from app.fleet.density_tables import draw_bar, tabulate
from app.fleet.management.commands.density import Command
from app.fleet.models import Host
from app.fleet.shares import Measure
from tests.fleet.fleets import NOW, make_fleet
from tests.fleet.test_density import make_container, make_host

MIB = 2**20


def printed(report, width=120):
    console = Console(file=StringIO(), width=width)
    console.print(tabulate(report, width=width))
    return console.file.getvalue()


def bar_of(memory, containers=1):
    host = make_host(*(make_container(memory=memory) for _ in range(containers)))
    report = Report.of([host], at=NOW, window_hours=1.0)
    return draw_bar(report.densities[Resource.MEMORY], 24).plain


def test_table_has_every_host_and_the_fleet():
    text = printed(make_fleet(3, 7))

    for number in ("01", "02", "03"):
        assert f"-{number}" in text
    assert "fleet" in text
    table, _ = text.split("more than there is")
    assert table.count("7 containers") == 3


def test_table_of_an_empty_fleet_says_how_to_fill_it():
    assert "start the agent" in printed(make_fleet(0, 0))


@pytest.mark.parametrize("width", [80, 99, 100, 160])
def test_table_fits_its_terminal_and_cuts_no_figure(width):
    text = printed(make_fleet(2, 3), width=width)

    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


@pytest.mark.parametrize(
    ("memory", "bar"),
    [
        # of 15 GiB allocatable
        (Measure(7680 * MIB, None, 3840 * MIB, MIB), "█" * 6 + "▒" * 6 + "·" * 12),
        (Measure(3840 * MIB, None, 7680 * MIB, MIB), "█" * 6 + "▓" * 6 + "·" * 12),
        (Measure(30720 * MIB, None, 7680 * MIB, MIB), "█" * 12 + "▒" * 12 + "▶"),
    ],
)
def test_bar_tells_used_reserved_and_free_apart_by_sign(memory, bar):
    assert bar_of(memory) == bar
    assert len(bar.rstrip("▶")) == 24


def test_notes_count_what_something_stands_in_for():
    host = make_host(make_container(samples=0), make_container("db"))
    text = printed(Report.of([host], at=NOW, window_hours=1.0))

    assert "2 containers without a memory limit" in text
    assert "1 container never measured in this window" in text


@pytest.mark.parametrize("options", [{"window_hours": 0.0}, {"window_hours": 49.0}, {"live": 0.0}])
def test_command_refuses_what_makes_no_sense(options):
    with pytest.raises(CommandError, match="--"):
        call_command("density", **options)


@pytest.mark.asyncio(loop_scope="session")
async def test_command_prints_the_fleet(transaction):
    await Host.objects.acreate(name="alpha", cpus=4.0, memory_bytes=2**34)
    command = Command(stdout=StringIO())

    await command.show({"host": [], "window_hours": 1.0, "live": None})

    assert "alpha" in command.stdout._out.getvalue()


@pytest.mark.asyncio(loop_scope="session")
async def test_live_command_prints_anew_until_it_is_interrupted(transaction):
    command = Command(stdout=StringIO())
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    command.pause = pause
    with pytest.raises(KeyboardInterrupt):
        await command.show({"host": [], "window_hours": 1.0, "live": 0.5})

    assert pauses == [0.5] * 3
    assert "fleet" in command.stdout._out.getvalue()
