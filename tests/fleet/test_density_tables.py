"""The report in a terminal."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from rich.console import Console

from app.fleet.density import Report, Resource
from app.fleet.density_tables import BAR, draw_bar, tabulate
from app.fleet.management.commands.density import Command
from app.fleet.models import Host
from app.fleet.shares import Measure
from tests.fleet.fleets import NOW, make_fleet
from tests.fleet.test_density import make_container, make_host

MIB = 2**20


def printed(report, width=120):
    console = Console(file=StringIO(), width=width)
    console.print(tabulate(report))
    return console.file.getvalue()


def bar_of(memory, containers=1):
    host = make_host(*(make_container(memory=memory) for _ in range(containers)))
    report = Report.of([host], at=NOW, window_hours=1.0)
    return draw_bar(report.densities[Resource.MEMORY]).plain


def test_table_has_every_host_and_the_fleet():
    text = printed(make_fleet(3, 7))

    for number in ("01", "02", "03"):
        assert f"-{number}" in text
    assert "fleet" in text
    table, _ = text.split("more than there is")
    assert table.count("7 containers") == 3


def test_table_of_an_empty_fleet_says_how_to_fill_it():
    assert "start the agent" in printed(make_fleet(0, 0))


def test_table_fits_a_terminal_of_100_columns():
    assert max(map(len, printed(make_fleet(2, 3), width=100).splitlines())) <= 100


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
    assert len(bar.rstrip("▶")) == BAR


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

    await command._show({"host": [], "window_hours": 1.0, "live": None})

    assert "alpha" in command.stdout._out.getvalue()
