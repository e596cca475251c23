"""The picture: its geometry by property, its SVG as a reader and a stranger's browser take it."""

import re
from html import escape
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fleet.density import Container, Host, Report, Resource
from app.fleet.shares import Measure
from app.fleet.stowage_layout import STACK_MAX, Berth, enlarge, lay_out
from app.fleet.stowage_marks import FILLS, SIGNS, amount, number, quote, shorten
from app.fleet.stowage_plan import draw, draw_message, parts
from app.fleet.treemaps import Rect, squarify
from tests.fleet.fleets import GIB, NOW, make_fleet
from tests.fleet.showcase import PICTURE, make_showcase

SVG = "{http://www.w3.org/2000/svg}"
SIZES = [(1, 5), (3, 20), (50, 20)]


def do_overlap(first, second, tolerance=1e-6):
    """Whether two rectangles share more than an edge."""
    return (
        first.x + first.width > second.x + tolerance
        and second.x + second.width > first.x + tolerance
        and first.y + first.height > second.y + tolerance
        and second.y + second.height > first.y + tolerance
    )


def is_inside(inner, outer, tolerance=1e-6):
    return (
        inner.x >= outer.x - tolerance
        and inner.y >= outer.y - tolerance
        and inner.x + inner.width <= outer.x + outer.width + tolerance
        and inner.y + inner.height <= outer.y + outer.height + tolerance
    )


def berths_of(report, resource=Resource.MEMORY):
    return [berth for row in lay_out(report, resource).rows for berth in row.berths]


def whole(berth: Berth) -> Rect:
    """The place of a vessel with its cargo."""
    return Rect(berth.left, berth.top, berth.right - berth.left, berth.keel_y - berth.top)


def make_one(name="web", *, host="alpha", state="running", memory=None):
    measure = memory or Measure(GIB, 2 * GIB, GIB / 2, GIB * 0.8)
    container = Container(7, name, state, NOW, 9, Measure(1, 1, 0.5, 0.6), measure)
    one = Host(1, host, {}, NOW, 4.0, 4 * GIB, 0.5, GIB // 2, (container,))
    return Report.of([one], at=NOW, window_hours=1.0)


weights = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=40).map(
    lambda values: sorted(values, reverse=True)
)
rects = st.builds(
    Rect, st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 900), st.floats(1, 900)
)


@settings(deadline=None)
@given(weights, rects)
def test_treemap_fills_its_rectangle_in_proportion_and_without_overlap(amounts, within):
    placed = squarify(amounts, within)

    assert len(placed) == len(amounts)
    assert sum(rect.area for rect in placed) == pytest.approx(within.area)
    for weight, rect in zip(amounts, placed, strict=True):
        expected = weight / sum(amounts) * within.area
        assert rect.area == pytest.approx(expected, rel=1e-6, abs=within.area * 1e-12)
        assert is_inside(rect, within)
    for index, rect in enumerate(placed):
        assert not any(do_overlap(rect, other) for other in placed[index + 1 :])


def test_treemap_of_equal_weights_in_a_square_is_of_squares():
    assert squarify([1, 1, 1, 1], Rect(0, 0, 2, 2)) == [
        Rect(0, 0, 1, 1),
        Rect(0, 1, 1, 1),
        Rect(1, 0, 1, 1),
        Rect(1, 1, 1, 1),
    ]


def test_treemap_of_the_paper_is_laid_as_the_paper_lays_it():
    # Bruls et al., figure 5: areas 6 6 4 3 2 2 1 in a rectangle of 6 by 4.
    placed = squarify([6, 6, 4, 3, 2, 2, 1], Rect(0, 0, 6, 4))

    assert [(rect.width, rect.height) for rect in placed[:2]] == [(3, 2), (3, 2)]
    assert placed[2].width == pytest.approx(12 / 7)
    assert placed[2].height == pytest.approx(7 / 3)
    assert placed[3].width == pytest.approx(9 / 7)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 999), st.sampled_from(Resource))
def test_boxes_lie_inside_their_vessel_and_never_overlap(hosts, containers, seed, resource):
    for berth in berths_of(make_fleet(hosts, containers, seed=seed), resource):
        boxes = [box.rect for box in berth.boxes()]
        column = Rect(berth.hold.x, berth.top, berth.hold.width, berth.ballast.y - berth.top)
        for index, box in enumerate(boxes):
            assert is_inside(box, column)
            assert not any(do_overlap(box, other) for other in boxes[index + 1 :])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 999), st.sampled_from(Resource))
def test_areas_are_proportional_to_reservations_and_to_capacity(hosts, containers, seed, resource):
    for berth in berths_of(make_fleet(hosts, containers, seed=seed), resource):
        capacity = berth.host.densities[resource].capacity
        scale = berth.hold.area / capacity * berth.cargo_scale
        assert len(berth.boxes()) == containers
        for box in berth.boxes():
            assert box.rect.area == pytest.approx(box.share.reservation * scale, rel=1e-6)
        assert berth.ballast.area == pytest.approx(
            berth.hold.area * berth.host.densities[resource].system / capacity
        )


@pytest.mark.parametrize(("hosts", "containers"), SIZES)
def test_vessels_lie_inside_the_picture_and_never_overlap(hosts, containers):
    report = make_fleet(hosts, containers)
    layout = lay_out(report, Resource.MEMORY)
    places = [whole(berth) for berth in berths_of(report)]
    picture = Rect(0, 0, layout.width, layout.bottom)

    assert len(places) == hosts
    for index, place in enumerate(places):
        assert is_inside(place, picture)
        assert not any(do_overlap(place, other) for other in places[index + 1 :])


def test_holds_are_on_one_scale_unless_magnified():
    berths = berths_of(make_fleet(12, 5))
    scales = {
        round(berth.hold.area / berth.magnification / berth.host.host.memory_bytes * 1e9, 6)
        for berth in berths
    }

    assert len(scales) == 1
    assert all(berth.magnification >= 1 for berth in berths)


def test_cargo_beyond_the_allocatable_rises_above_the_deck():
    crammed = make_one(memory=Measure(5 * GIB, None, GIB, GIB))
    (berth,) = berths_of(crammed)

    assert berth.cargo.y < berth.deck_y
    assert berth.cargo_scale == 1
    assert 'stroke-dasharray="7 4"' in draw(crammed)


def test_cargo_far_beyond_the_allocatable_is_shrunk_and_says_so():
    (berth,) = berths_of(make_one(memory=Measure(500 * GIB, None, GIB, GIB)))

    assert berth.cargo.area == pytest.approx(STACK_MAX * berth.hold.area)
    assert "of the scale, to fit the picture" in draw(
        make_one(memory=Measure(500 * GIB, None, GIB, GIB))
    )


@settings(max_examples=40, deadline=None)
@given(st.floats(0.001, 0.5))
def test_small_cargo_is_shown_enlarged_in_the_free_space(share):
    (berth,) = berths_of(make_one(memory=Measure(3.5 * GIB * share, None, 1, 1)))
    if berth.lens is None:
        assert share > 0.08
        return
    boxes = [enlarge(box, berth.cargo, berth.lens).rect for box in berth.boxes()]
    free = Rect(berth.hold.x, berth.hold.y, berth.hold.width, berth.ballast.y - berth.hold.y)

    assert is_inside(berth.lens, free)
    assert not do_overlap(berth.lens, berth.cargo)
    assert all(is_inside(box, berth.lens) for box in boxes)
    assert berth.lens.width / berth.cargo.width == pytest.approx(
        berth.lens.height / berth.cargo.height
    )


@pytest.mark.parametrize("share", [0.01, 0.9])
def test_box_is_drawn_once_enlarged_or_not(share):
    picture = draw(make_one(memory=Measure(3.5 * GIB * share, GIB * 4, 1, 1)))

    assert picture.count('class="box ') == 1
    assert ("times as wide" in picture) is (share < 0.5)


@pytest.mark.parametrize(("hosts", "containers"), [(0, 0), (1, 0), *SIZES])
@pytest.mark.parametrize("resource", Resource)
def test_picture_is_well_formed_and_deterministic(hosts, containers, resource):
    picture = draw(make_fleet(hosts, containers), resource)
    root = ET.fromstring(picture)

    assert root.tag == f"{SVG}svg"
    assert picture == draw(make_fleet(hosts, containers), resource)
    assert len(root.findall(f".//{SVG}g[@class='vessel']")) == hosts
    boxes = [one for one in root.iter(f"{SVG}g") if one.get("class", "").startswith("box ")]
    assert len(boxes) == hosts * containers
    assert "nan" not in picture


def test_picture_in_parts_is_one_part_a_vessel():
    report = make_fleet(4, 3)

    drawn = list(parts(report))
    assert "".join(drawn) == draw(report)
    assert sum('class="vessel"' in part for part in drawn) == 4


def test_picture_has_a_title_and_a_description():
    root = ET.fromstring(draw(make_fleet(3, 4)))

    assert root.get("role") == "img"
    ids = root.get("aria-labelledby").split()
    texts = {one.get("id"): one.text for one in root if one.get("id")}
    assert texts[ids[0]] == "Stowage plan by memory"
    assert "3 hosts, 12 containers" in texts[ids[1]]
    assert "packing" in texts[ids[1]]


def test_ids_in_the_picture_are_unique():
    ids = re.findall(r' id="([^"]+)"', draw(make_fleet(50, 3)))

    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a&b", "]]>", "é🚢"]
)
def test_names_are_text_and_nothing_else(name):
    picture = draw(make_one(name, host=name))
    root = ET.fromstring(picture)

    tags = {one.tag.removeprefix(SVG) for one in root.iter()}
    assert not tags & {"script", "img", "foreignObject", "a", "image", "use"}
    titles = [one.text for one in root.iter(f"{SVG}title")]
    assert any(title.startswith(name) for title in titles)
    assert not [key for one in root.iter() for key in one.attrib if key.startswith("on")]


@pytest.mark.parametrize("char", ["\0", "\x08", "\x1b", "\ufffe", "\ud800", "\u202e", "\x85"])
def test_characters_that_xml_cannot_say_are_replaced(char):
    picture = draw(make_one(f"a{char}b", host=f"a{char}b"))

    ET.fromstring(picture.encode())
    assert char not in picture
    assert quote(f"a{char}b") == "a\N{REPLACEMENT CHARACTER}b"


def test_picture_refers_to_nothing_outside_itself():
    picture = draw(make_fleet(3, 9)).replace('xmlns="http://www.w3.org/2000/svg"', "")

    assert "http" not in picture
    assert "href" not in picture
    assert set(re.findall(r"url\((.)", picture)) == {"#"}
    assert "@import" not in picture


@pytest.mark.parametrize(
    ("measure", "kind"),
    [
        (Measure(GIB, GIB, GIB * 0.25, GIB), "air"),
        (Measure(GIB, GIB, GIB * 0.75, GIB), "half"),
        (Measure(GIB, GIB, GIB, GIB), "tight"),
        (Measure(GIB, None, GIB * 1.01, GIB), "over"),
        (Measure(None, GIB, GIB * 0.9, GIB), "none"),
    ],
)
def test_fill_says_how_much_of_the_reservation_is_used(measure, kind):
    assert f'class="box {kind}"' in draw(make_one(memory=measure))


def test_container_without_limit_is_hatched_and_only_that_one():
    limited, unlimited = (draw(make_one(memory=Measure(GIB, one, 1, 1))) for one in (GIB, None))

    assert limited.count("url(#stowage-hatch)") == 1  # the legend's
    assert unlimited.count("url(#stowage-hatch)") == 2


@pytest.mark.parametrize("state", ["paused", "restarting"])
def test_state_is_a_sign(state):
    assert draw(make_one(state=state)).count(SIGNS[state].mark) == 2
    assert draw(make_one()).count(SIGNS[state].mark) == 1  # the legend's


def test_container_that_was_never_measured_shows_no_level():
    picture = draw(make_one(memory=Measure(reservation=GIB)))

    assert picture.count(SIGNS["unmeasured"].mark) == 2
    assert "(assumed)" in picture


def test_tooltip_says_what_the_box_counts_with():
    root = ET.fromstring(draw(make_one(memory=Measure(None, None, GIB / 2, GIB))))
    (box,) = root.findall(f".//{SVG}g[@class='box none']")

    assert box.find(f"{SVG}title").text.splitlines() == [
        "web: running",
        "reserves nothing: counted with 1 GiB (p95)",
        "uses 512 MiB, 50% of it",
        "P95 1 GiB",
        "no limit",
    ]


def test_every_mark_is_in_the_legend():
    root = ET.fromstring(draw(make_fleet(1, 1)))
    legend = " ".join(root.find(f".//{SVG}g[@class='legend']").itertext())

    for entry in [*FILLS.values(), *SIGNS.values()]:
        assert entry.meaning in legend


def test_empty_harbour_says_how_to_fill_it():
    assert "start the agent" in draw(make_fleet(0, 0))


def test_message_is_a_picture_too():
    root = ET.fromstring(draw_message("400", "host=<b>: no such host"))

    assert "host=<b>: no such host" in "".join(root.itertext())


@pytest.mark.parametrize(
    ("resource", "value", "written"),
    [
        ("cpu", 0.25, "0.25 cores"),
        ("cpu", 12, "12 cores"),
        ("memory", 0, "0 B"),
        ("memory", 999 * 2**20, "999 MiB"),
        ("memory", 1000 * 2**20, "0.977 GiB"),
        ("memory", -1.5 * GIB, "-1.5 GiB"),
        ("memory", 2.5 * 2**40, "2.5 TiB"),
    ],
)
def test_amounts_read_well(resource, value, written):
    assert amount(Resource(resource), value) == written


def test_numbers_are_short():
    assert [number(value) for value in (1.0, 0.125, -0.001, 1 / 3)] == ["1", "0.12", "0", "0.33"]


def amount_by_steps(value):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1000:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.4g} TiB"


@settings(deadline=None)
@given(st.one_of(st.integers(-(2**62), 2**62), st.floats(-(2.0**62), 2.0**62)))
def test_amount_is_what_dividing_step_by_step_gives(value):
    assert amount(Resource.MEMORY, value) == amount_by_steps(value)


@settings(deadline=None)
@given(st.one_of(st.floats(-1e6, 1e6), st.integers(-1000, 1000).map(lambda value: value / 100)))
def test_number_is_two_decimals_without_zeros_at_the_end(value):
    text = f"{value:.2f}".rstrip("0").rstrip(".")

    assert number(value) == ("0" if text == "-0" else text)


@settings(deadline=None)
@given(st.text(st.sampled_from("a<'\t\n\x85\u202e\u00e9"), max_size=4))
def test_text_is_quoted_character_by_character(text):
    legible = (char if char.isprintable() or char == "\n" else "\ufffd" for char in text)

    assert quote(text) == escape("".join(legible))


def test_long_name_is_cut_with_an_ellipsis():
    assert shorten("a" * 40, 60, 10) == "a" * 9 + "…"
    assert shorten("short", 60, 10) == "short"


def test_picture_of_the_docs_is_what_is_drawn():
    drawn = draw(make_showcase())

    assert PICTURE.read_text(encoding="utf-8") == drawn, "run `python -m tests.fleet.showcase`"


sizes = st.one_of(st.none(), st.floats(0, 1e5), st.floats(1e-300, 1e-9))
extreme_hosts = st.builds(
    lambda number, cpus, kept, figures: Host(
        number,
        "h" * (number % 300),
        {},
        None,
        cpus,
        2**60 if number % 2 else 1,
        cpus * kept,
        0,
        tuple(
            Container(index, "c", "running", NOW, 1, Measure(*figure), Measure(*figure))
            for index, figure in enumerate(figures)
        ),
    ),
    st.integers(1, 10**6),
    st.floats(1e-6, 1e5),
    st.floats(0, 0.999),
    st.lists(st.tuples(sizes, sizes, sizes, sizes), max_size=4),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(extreme_hosts, max_size=4, unique_by=lambda host: host.id), st.sampled_from(Resource)
)
def test_whatever_the_database_can_hold_can_be_drawn(hosts, resource):
    picture = draw(Report.of(hosts, at=NOW, window_hours=1.0), resource)

    ET.fromstring(picture)
    assert not re.search(r'"-?(nan|inf)', picture)
