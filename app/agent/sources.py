"""Where observations and samples come from. Two kinds exist: `containers.py` and `processes.py`."""

from collections.abc import AsyncGenerator
from typing import Protocol

from app.agent.observations import Observation, Sample


class SourceUnavailableError(Exception):
    """The source does not answer for now. The message is the cause, and the remedy where one is
    known.
    """


class Source(Protocol):
    """What the agent asks of a source. Each call is bounded in time and raises
    SourceUnavailableError.
    """

    async def observe(self, *, full: bool) -> Observation:
        """All that is there. `full` reads everything anew; otherwise what is known to be unchanged
        is not.
        """

    async def sample(self) -> list[Sample]:
        """What each running container used since the sample before; nothing on the first call."""

    def changes(self) -> AsyncGenerator[None, None]:
        """Yields when there is something new to observe."""

    async def close(self) -> None:
        """Ends connections and threads. The source is of no use afterwards."""
