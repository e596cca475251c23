"""CPU from counters: two readings make a figure, a restart makes none."""

import pytest

from app.agent.counters import Counters, Reading, used_cores

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("before", "after", "online_cpus", "cores"),
    [
        ((0, 0), (5 * SECOND, 20 * SECOND), 4, 1.0),
        ((7 * SECOND, 100 * SECOND), (7 * SECOND, 110 * SECOND), 2, 0.0),
        ((1_069_582_288, 2_411_810_000_000), (3_569_582_288, 2_421_810_000_000), 2, 0.5),
        ((0, 0), (40 * SECOND, 40 * SECOND), 8, 8.0),
    ],
    ids=["one of four cores", "idle", "captured: --cpus 0.5", "all cores"],
)
def test_cores_are_the_share_of_the_machines_time(before, after, online_cpus, cores):
    first, second = Reading(*before, online_cpus, 0), Reading(*after, online_cpus, 0)
    assert used_cores(first, second) == pytest.approx(cores)


@pytest.mark.parametrize(
    ("before", "after"),
    [((9 * SECOND, 10 * SECOND), (SECOND, 20 * SECOND)), ((0, 10), (0, 10)), ((0, 10), (5, 9))],
    ids=["restarted", "no time has passed", "machine's counter went back"],
)
def test_readings_that_say_nothing_together_are_dropped(before, after):
    assert used_cores(Reading(*before, 2, 0), Reading(*after, 2, 0)) is None


def test_first_reading_gives_no_figure_and_the_next_one_does():
    counters = Counters()
    assert counters.advance("a", Reading(0, 0, 2, 0)) is None
    assert counters.advance("a", Reading(SECOND, 4 * SECOND, 2, 0)) == pytest.approx(0.5)


def test_after_a_restart_figures_go_on_from_the_new_reading():
    counters = Counters()
    counters.advance("a", Reading(9 * SECOND, 10 * SECOND, 1, 0))
    assert counters.advance("a", Reading(SECOND, 20 * SECOND, 1, 0)) is None
    assert counters.advance("a", Reading(2 * SECOND, 30 * SECOND, 1, 0)) == pytest.approx(0.1)


def test_readings_of_what_is_gone_are_forgotten():
    counters = Counters()
    for number in range(100):
        counters.advance(number, Reading(0, 0, 1, 0))
        counters.keep([number])
    assert len(counters) == 1
