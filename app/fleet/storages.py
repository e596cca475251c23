"""By what constants the usage of each container is stored: the layout of its histograms, how they
decay, and what counts as its start. Most are stored by the defaults.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from app import db
from app.fleet.histograms import Layout
from app.fleet.policies import Policies, fetch_own
from app.fleet.policy import DEFAULT, STORED, Own, Policy

OF_WORKLOADS = """
    SELECT id, workload_id FROM fleet_container
    WHERE id = ANY($1::bigint[]) AND workload_id = ANY($2::bigint[])
"""


class Storage(NamedTuple):
    layout: Layout
    half_life_hours: float
    startup_seconds: float

    @classmethod
    def of(cls, policy: Policy) -> "Storage":
        half_life = float(policy.histogram_half_life_hours)
        return cls(Layout.of(policy), half_life, float(policy.startup_seconds))

    @property
    def stored_half_life(self) -> float | None:
        """As a row has it; None is the default."""
        return None if self.half_life_hours == USUAL.half_life_hours else self.half_life_hours


USUAL = Storage.of(DEFAULT)
Storages = Mapping[int, Storage]
"""Of containers that are stored otherwise than by the defaults, by id."""


async def fetch_storages(policies: Policies, container_ids: list[int]) -> Storages:
    """Of these containers. Where nobody has set such a constant nothing is read."""
    own = await fetch_own(policies, STORED)
    if not own:
        return {}
    rows = await db.fetch(OF_WORKLOADS, container_ids, list(own))
    return storages_of(((row["id"], row["workload_id"]) for row in rows), own)


def storages_of(pairs: Iterable[tuple[int, int | None]], own: Own) -> Storages:
    """From pairs of a container and its workload."""
    found = {
        pk: Storage.of(own[workload].policy)
        for pk, workload in pairs
        if workload is not None and workload in own
    }
    return {pk: storage for pk, storage in found.items() if storage != USUAL}


def group(container_ids: list[int], storages: Storages) -> dict[Storage, list[int]]:
    """The containers by how they are stored."""
    if not storages:
        return {USUAL: container_ids}
    groups: dict[Storage, list[int]] = {}
    for pk in container_ids:
        groups.setdefault(storages.get(pk, USUAL), []).append(pk)
    return groups
