"""The fleet of the picture in the docs, which `python -m tests.fleet.showcase` draws anew."""

from datetime import timedelta
from pathlib import Path

from app.fleet import stowage_plan
from app.fleet.density import Container, Host, Report
from app.fleet.shares import Measure
from tests.fleet.fleets import GIB, NOW

PICTURE = Path(__file__).parents[2] / "docs" / "stowage-plan.svg"

# name, reserved GiB (- reserves nothing, ~ no limit), share in use, and the state if not running
FLEET = {
    ("ams-1", 64): """
        postgres-a 14 .86; web-1 6 .42; web-2 6 .47; api-1 5 .81; api-2 5 .77; search-a 4.5~ .63
        worker-1 3 .93; worker-2 3 1.08; redis-a 2.5 .71; queue-a 2 .55; mail 1.2 .12; proxy-1 1 .38
        metrics-1 .9- .9; cron .5 .06; backup .7 .2 paused""",
    ("ams-2", 64): """
        search-b 9~ .58; web-3 6 .45; web-4 6 .4; api-3 5 .79; api-4 5 .84; worker-3 3 .9
        reports 4 .16; redis-b 2.5 .66; proxy-2 1 .41; metrics-2 .9- .85; imports 2 .1""",
    ("fra-1", 32): """
        postgres-b 9 .8; web-5 5 .5; api-5 5 .82; worker-4 3 .97; worker-5 3 .88; redis-c 2.5 .6
        queue-b 2 .52; proxy-3 1 .36; metrics-3 .9- .9; canary 1 .3 restarting""",
    ("fra-2", 32): """
        etl 10 1.04; ml-serve 8 .93; web-6 5 .44; api-6 5 .8; cache 3~ .7; worker-6 3 .95
        proxy-4 1 .4; metrics-4 .9- .88; thumbs 1.5 .74""",
    ("lhr-1", 16): """
        web-7 4 .5; api-7 3 .6; worker-7 2 .7; redis-d 1.5 .5; proxy-5 1 .4; metrics-5 .9- .9""",
    ("edge-1", 8): """
        gateway 2 .64; mqtt 1.2 .3; buffer .8~ .5; metrics-6 .5- .9""",
}
SILENT = {"lhr-1"}


def make_showcase() -> Report:
    hosts = [_make_host(number, *key) for number, key in enumerate(FLEET, 1)]
    return Report.of(hosts, at=NOW, window_hours=1.0)


def _make_host(number: int, name: str, size: int) -> Host:
    heard_at = NOW - timedelta(hours=3 if name in SILENT else 0)
    entries = FLEET[name, size].replace("\n", ";").split(";")
    lines = [entry.split() for entry in entries if entry.strip()]
    return Host(
        id=number,
        name=name,
        labels={},
        last_seen_at=heard_at,
        cpus=size / 4,
        memory_bytes=size * GIB,
        reserved_cpus=0.5,
        reserved_memory_bytes=int(size * GIB * 0.06),
        containers=tuple(
            _make_container(number * 100 + index, line, heard_at)
            for index, line in enumerate(lines)
        ),
    )


def _make_container(number: int, line: list[str], heard_at) -> Container:
    name, size, share, state = [*line, "running"][:4]
    amount, fill = float(size.rstrip("-~")), float(share)

    def measure(scale: float) -> Measure:
        return Measure(
            reservation=None if size.endswith("-") else amount * scale,
            limit=None if size[-1] in "-~" else amount * scale * 1.5,
            current=amount * scale * fill if heard_at == NOW else None,
            p95=amount * scale * (1.0 if size.endswith("-") else fill * 1.06),
        )

    return Container(number, name, state, heard_at, 360, measure(0.2), measure(GIB))


if __name__ == "__main__":
    PICTURE.write_text(stowage_plan.draw(make_showcase()), encoding="utf-8")
