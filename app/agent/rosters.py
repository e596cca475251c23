"""What is known of this host's containers: the newest observation, and the API's ids.

A container that came and went while the API was gone would leave its samples without a container to
belong to: it is *departed*, and is reported once more, as removed, for as long as samples wait for
it.
"""

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any

from app.agent.observations import Container, Observation

DEPARTED = 1_000  # at most so many; the oldest are forgotten


class Roster:
    """`is_due` says that the API has not seen the newest observation yet."""

    def __init__(self) -> None:
        self.is_due = False
        self._observation: Observation | None = None
        self._ids: dict[str, int] = {}
        self._departed: dict[str, Container] = {}

    def note(self, observation: Observation) -> None:
        """A new observation, to be reported."""
        if self._observation is not None:
            present = {container.engine_id for container in observation.containers}
            for container in self._observation.containers:
                if container.engine_id not in present and container.engine_id not in self._ids:
                    self._departed[container.engine_id] = depart(container, observation.observed_at)
            while len(self._departed) > DEPARTED:
                del self._departed[next(iter(self._departed))]
        self._observation, self.is_due = observation, True

    def repeat(self) -> None:
        """The API may have lost what it knew: the newest observation is due again."""
        self.is_due = self._observation is not None

    def report(self, waiting: Set[str]) -> dict[str, Any]:
        """The body to send. `waiting` names the containers that samples wait for."""
        if self._observation is None:
            raise RuntimeError("Nothing has been observed yet.")
        present = {container.engine_id for container in self._observation.containers}
        self._departed = {
            engine_id: container
            for engine_id, container in self._departed.items()
            if engine_id in waiting and engine_id not in present
        }
        containers = [*self._observation.containers, *self._departed.values()]
        return replace(self._observation, containers=containers).as_json()

    def learn(self, ids: Mapping[str, int], waiting: Set[str]) -> None:
        """The API's answer. Ids of what is gone are kept for as long as samples wait for it."""
        kept = {engine_id: id_ for engine_id, id_ in self._ids.items() if engine_id in waiting}
        self._ids = kept | dict(ids)
        self._departed = {}
        self.is_due = False

    def set_aside(self) -> None:
        """The API refuses this observation: it is not sent again, the next one is."""
        self.is_due = False

    def id_of(self, engine_id: str) -> int | None:
        return self._ids.get(engine_id)

    def forget(self, engine_id: str) -> None:
        """The API does not know the id any more."""
        self._ids.pop(engine_id, None)

    def describe(self) -> str:
        """The host and how much is on it, for a line of log."""
        if self._observation is None:
            return "nothing observed yet"
        host, count = self._observation.host, len(self._observation.containers)
        return f"host {host.name} ({host.engine}), {count} containers"


def depart(container: Container, at: str) -> Container:
    """The container as it is reported once it is gone."""
    return replace(container, state="removed", finished_at=container.finished_at or at)
