"""Charts read as a reader does: by the labels of their axes, lines stand at the right height."""

import re
from dataclasses import dataclass
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from django.utils import timezone

from app.fleet import density_history, services
from app.fleet.charts import LIMIT, PEAK, RESERVED, USE
from app.fleet.services import Sample
from app.rest.test import APIClient
from tests.fleet.samples import container, report
from tests.fleet.test_density_report import create_host

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

SVG = "{http://www.w3.org/2000/svg}"
UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "%": 0.01}
PIXEL = 0.06  # heights are written to a tenth, so they are off by half of that at most


@dataclass
class Panel:
    """A part of a picture with an axis: the height of each labelled value, from top to bottom."""

    marks: list[tuple[float, float]]
    lines: dict[str, list[float]]
    """By stroke: the heights that lines begin at, one for each of their pieces."""

    def value(self, height: float) -> float:
        (top, most), (bottom, least) = self.marks[0], self.marks[-1]
        return least + (bottom - height) / (bottom - top) * (most - least)

    @property
    def per_pixel(self) -> float:
        return abs(self.value(0) - self.value(1))

    def values(self, stroke: str) -> list[float]:
        return [self.value(height) for height in self.lines.get(stroke, [])]

    def shows(self, stroke: str, *expected: float) -> bool:
        found = self.values(stroke)
        off = 2 * PIXEL * self.per_pixel + 0.006 * max(self.marks[0][1], 0)  # labels are rounded
        return len(found) == len(expected) and all(
            abs(one - other) <= off for one, other in zip(found, expected, strict=True)
        )


def amount_of(label: str) -> float:
    number, unit = re.fullmatch(r"(-?[\d.e+-]+?) ?([A-Za-z%]*)", label).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]


def panels_of(picture: str) -> list[Panel]:
    root = ET.fromstring(picture)
    labels = [
        (float(text.get("y", "")) - 4, amount_of(text.text or ""))
        for text in root.iter(f"{SVG}text")
        if text.get("text-anchor") == "end" and float(text.get("x", "")) < 84
    ]
    axes: list[list[tuple[float, float]]] = []
    for height, value in sorted(labels):
        if not axes or value > axes[-1][-1][1]:  # values fall from the top of a panel to its foot
            axes.append([])
        axes[-1].append((height, value))
    panels = [Panel(marks, {}) for marks in axes]
    for path in root.iter(f"{SVG}path"):
        for begin in re.findall(r"[ML][\d.]+ ([\d.]+)", path.get("d", "")):
            for panel in panels:
                if path.get("fill") and panel.marks[0][0] - 20 <= float(begin) <= (
                    panel.marks[-1][0] + 1
                ):
                    panel.lines.setdefault(path.get("stroke", ""), []).append(float(begin))
    return panels


async def usage_chart(reader: APIClient, **spec: float) -> list[Panel]:
    at = timezone.now() - timedelta(minutes=90)
    one = report(container("a", **spec), observed_at=timezone.now())
    ids = (await services.observe_host(**one)).containers
    await services.record_usage(
        samples=[
            Sample(ids["a"], at, 0.5, 200 * 2**20),
            Sample(ids["a"], at + timedelta(seconds=1), 1.5, 600 * 2**20),
        ]
    )
    since = (at - timedelta(hours=1)).isoformat().replace("+", "%2B")
    answer = await reader.get(f"/api/v1/usage/?resolution=1h&since={since}&format=svg")
    assert answer.status_code == 200, answer.text
    return panels_of(answer.text)


@pytest.mark.parametrize(
    ("reservation", "limit"), [(0.25, 4.0), (3.0, 3.5), (0.02, 0.4), (7.0, 7.0)]
)
async def test_reservation_and_limit_of_usage_stand_at_their_height(
    reader: APIClient, reservation: float, limit: float
) -> None:
    """Below what is used, far above it, and one on the other."""
    cpu, memory = await usage_chart(
        reader,
        cpu_reservation=reservation,
        cpu_limit=limit,
        memory_reservation_bytes=int(reservation * 2**30),
        memory_limit_bytes=int(limit * 2**30),
    )
    assert cpu.shows(RESERVED, reservation), cpu.values(RESERVED)
    assert cpu.shows(LIMIT, limit), cpu.values(LIMIT)
    assert cpu.shows(USE, 1.0), cpu.values(USE)
    assert cpu.shows(PEAK, 1.5), cpu.values(PEAK)
    assert memory.shows(RESERVED, reservation * 2**30), memory.values(RESERVED)
    assert memory.shows(LIMIT, limit * 2**30), memory.values(LIMIT)
    assert memory.shows(USE, 400 * 2**20), memory.values(USE)
    assert memory.shows(PEAK, 600 * 2**20), memory.values(PEAK)


async def test_what_is_not_set_has_no_line(reader: APIClient) -> None:
    for panel in await usage_chart(reader):
        assert not panel.values(RESERVED)
        assert not panel.values(LIMIT)
        assert len(panel.values(USE)) == 1


async def test_ratios_of_density_stand_at_their_height(reader: APIClient) -> None:
    await create_host("alpha", containers=["web", "db"])
    await density_history.keep_hour(now=timezone.now())
    address = "/api/v1/reports/density/?over=2h"
    (point,) = (await reader.get(address)).json()["points"]
    memory, cpu = panels_of((await reader.get(f"{address}&format=svg")).text)
    for panel, ratios in ((memory, point["memory"]), (cpu, point["cpu"])):
        curves = {RESERVED: "packing", USE: "usage", LIMIT: "overcommit", PEAK: "slack"}
        for stroke, name in curves.items():
            expected = [] if ratios[name] is None else [ratios[name]]
            assert panel.shows(stroke, *expected), (name, panel.values(stroke), ratios[name])
        assert ratios["packing"]
