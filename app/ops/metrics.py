"""What this worker has done, in Prometheus' text format. Pure: counts and renders, asks nobody.

Counters live in the process: with several workers in one container, each answers for itself.
"""

import resource
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from app.rest.shedding import counts

BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
# Of `db.statistics()`, those that only ever grow; the others are what is so at the moment.
POOL_COUNTERS = {"waits", "timeouts", "opened", "lost", "queries"}

Sample = tuple[str, float]  # labels as they are written, or "", and the value


class Metrics:
    """The requests of one worker: how many by method and status, and how long they took."""

    def __init__(self) -> None:
        self.started_at = time.time()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.durations = [0] * (len(BUCKETS_SECONDS) + 1)
        self.seconds = 0.0

    def record_request(self, method: str, status: int, seconds: float) -> None:
        # A client may send any word as method: only known ones get a series of their own.
        self.requests[method if method in METHODS else "other", status] += 1
        self.durations[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self.seconds += seconds

    def render(self, pool: Mapping[str, float]) -> str:
        """The whole page. `pool` is `db.statistics()`."""
        return "".join(self._lines(pool))

    def _lines(self, pool: Mapping[str, float]) -> Iterator[str]:
        by_status = [
            (f'{{method="{method}",status="{status}"}}', count)
            for (method, status), count in sorted(self.requests.items())
        ]
        yield from _family("stowage_requests_total", "counter", by_status)
        yield from self._histogram("stowage_request_duration_seconds")
        yield from _family("stowage_requests_under_way", "gauge", [("", counts.under_way)])
        yield from _family("stowage_requests_shed_total", "counter", [("", counts.shed)])
        for name, value in pool.items():
            kind = "counter" if name in POOL_COUNTERS else "gauge"
            suffix = "_total" if kind == "counter" else ""
            yield from _family(f"stowage_database_pool_{name}{suffix}", kind, [("", value)])
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield from _family("process_cpu_seconds_total", "counter", [("", time.process_time())])
        yield from _family("process_start_time_seconds", "gauge", [("", self.started_at)])
        peak = usage.ru_maxrss * 1024
        yield from _family("process_peak_resident_memory_bytes", "gauge", [("", peak)])

    def _histogram(self, name: str) -> Iterator[str]:
        bounds = [*map(str, BUCKETS_SECONDS), "+Inf"]
        yield f"# TYPE {name} histogram\n"
        for bound, count in zip(bounds, accumulate(self.durations), strict=True):
            yield f'{name}_bucket{{le="{bound}"}} {count}\n'
        yield f"{name}_sum {self.seconds}\n{name}_count {sum(self.durations)}\n"


def _family(name: str, kind: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# TYPE {name} {kind}\n"
    for labels, value in samples:
        yield f"{name}{labels} {value}\n"


metrics = Metrics()
