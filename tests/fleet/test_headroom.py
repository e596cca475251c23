"""How many more fit, by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fleet.headroom import Free, Shape, measure

GIB = 2**30
SHAPE = Shape(0.5, GIB)


@pytest.mark.parametrize(
    ("free", "fits", "pooled", "fragmentation"),
    [
        ([(2.0, 8)], 4, 4, 0.0),  # cpu stops it
        ([(4.0, 3)], 3, 3, 0.0),  # memory stops it
        ([(1.0, 8), (8.0, 1)], 3, 9, 1 - 3 / 9),  # cpu here, memory there
        ([(0.4, 4), (0.4, 4)], 0, 1, 1.0),  # nothing fits, though there is room in total
        ([(0.0, 0)], 0, 0, None),
        ([], 0, 0, None),
        ([(0.3, 5)], 0, 0, None),
    ],
)
def test_fragmentation_is_what_does_not_fit_of_what_would(
    free: list[tuple[float, int]], fits: int, pooled: int, fragmentation: float | None
) -> None:
    found = measure((Free(cpus, gib * GIB) for cpus, gib in free), SHAPE)
    assert (found.fits, found.pooled) == (fits, pooled)
    assert found.fragmentation == pytest.approx(fragmentation)
    assert (found.as_dict()["reason"] is None) == (fragmentation is not None)


def test_tenths_fit_as_often_as_on_paper() -> None:
    assert Free(0.3, GIB).count(Shape(0.1, 1)) == 3


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 64), st.floats(0, 2**38)), max_size=8),
    st.floats(0.01, 8),
    st.floats(2**20, 2**34),
)
def test_hosts_never_hold_more_than_they_would_as_one(
    free: list[tuple[float, float]], cpus: float, memory: float
) -> None:
    found = measure((Free(*one) for one in free), Shape(cpus, memory))
    assert 0 <= found.fits <= found.pooled
