"""The samples that the API has not acknowledged, in order, within a bound.

    put ──▶ waiting ──take──▶ in flight ──settle──▶ gone
               ▲                  │
               └─────give_back────┘

When the bound is reached the oldest waiting sample makes room and is counted. What is in flight is
never dropped, for it may be stored already. At any time: put = acknowledged + dropped + waiting +
in flight.
"""

from collections import deque
from collections.abc import Iterable

from app.agent.observations import Sample


class Outbox:
    """Holds at most `bound` samples. `dropped` counts those that were lost, for whatever reason."""

    def __init__(self, bound: int) -> None:
        if bound < 1:
            raise ValueError("An outbox holds at least one sample.")
        self.bound = bound
        self.dropped = 0
        self.acknowledged = 0
        self._waiting: deque[Sample] = deque()
        self._in_flight: list[Sample] = []

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    def put(self, samples: Iterable[Sample]) -> None:
        """Adds samples at the end."""
        for sample in samples:
            self._waiting.append(sample)
            if len(self) > self.bound:
                self._waiting.popleft()
                self.dropped += 1

    def take(self, count: int) -> list[Sample]:
        """The oldest `count` samples. They are in flight until `settle` or `give_back`."""
        if self._in_flight:
            raise RuntimeError("One batch at a time: settle the last one, or give it back.")
        self._in_flight = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
        return list(self._in_flight)

    def give_back(self) -> None:
        """The batch was not acknowledged: it waits again, in its old place."""
        self._waiting.extendleft(reversed(self._in_flight))
        self._in_flight = []

    def settle(self, *, retry: Iterable[Sample] = (), dropped: int = 0) -> None:
        """The batch was answered: `retry` waits again in its place, `dropped` are lost."""
        again = list(retry)
        self.acknowledged += len(self._in_flight) - len(again) - dropped
        self.dropped += dropped
        self._in_flight = again
        self.give_back()

    def engine_ids(self) -> set[str]:
        """The containers that samples wait for."""
        return {sample.engine_id for sample in (*self._in_flight, *self._waiting)}
