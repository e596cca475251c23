"""Which constants hold for whom: what teams and workloads have set, read with one statement.

Where nobody has set anything, nothing more is read.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from app import db
from app.fleet.models import PolicyOverride
from app.fleet.policy import NOBODY, Effective, Own, resolve
from app.fleet.turns import in_turns

Constants = Mapping[str, float]
NONE: Constants = {}

OWN = """
    SELECT id, team_id FROM fleet_workload
    WHERE id = ANY($1::bigint[]) OR team_id = ANY($2::bigint[])
"""
ASKERS = {
    "team": "SELECT id AS team_id, NULL AS workload_id FROM accounts_team WHERE id::text = $1",
    "workload": """
        SELECT team_id, id AS workload_id FROM fleet_workload WHERE id::text = $1 OR name = $1
        ORDER BY id::text = $1 DESC LIMIT 2
    """,
}


@dataclass(frozen=True, slots=True)
class Policies:
    """All overrides that there are; few, so they are read together."""

    teams: Mapping[int, Constants]
    workloads: Mapping[int, Constants]
    _known: dict[tuple[int | None, int | None], Effective] = field(default_factory=dict)

    def effective(self, *, team_id: int | None, workload_id: int | None) -> Effective:
        """The constants for a workload of a team; without either, the defaults."""
        key = (
            team_id if team_id in self.teams else None,
            workload_id if workload_id in self.workloads else None,
        )
        if key not in self._known:
            self._known[key] = resolve(
                team=self.teams.get(key[0] or 0, NONE),
                workload=self.workloads.get(key[1] or 0, NONE),
            )
        return self._known[key]

    @property
    def evidence_days(self) -> float:
        """The longest window of any policy."""
        days = [
            constants.get("evidence_days", 0.0)
            for constants in (*self.teams.values(), *self.workloads.values())
        ]
        return max([*days, resolve(team=NONE, workload=NONE).policy.evidence_days])


NOBODYS = Policies({}, {})


class Asker(NamedTuple):
    """Whom a question is asked for: the id of a team, or the id or the name of a workload."""

    kind: str
    value: str


async def fetch_policies() -> Policies:
    teams: dict[int, Constants] = {}
    workloads: dict[int, Constants] = {}
    rows = PolicyOverride.objects.values_list("team_id", "workload_id", "constants")
    async for team_id, workload_id, constants in rows:
        overrides, owner = (teams, team_id) if team_id else (workloads, workload_id)
        overrides[owner] = constants
    return Policies(teams, workloads)


async def fetch_own(policies: Policies, names: Collection[str]) -> Own:
    """The constants of each workload that has some of these names of its own or of its team's."""
    owners = [
        [pk for pk, constants in owned.items() if not constants.keys().isdisjoint(names)]
        for owned in (policies.workloads, policies.teams)
    ]
    if not any(owners):
        return NOBODY
    rows = await db.fetch(OWN, *owners)
    return {
        row["id"]: policies.effective(team_id=row["team_id"], workload_id=row["id"])
        async for row in in_turns(rows)
    }


async def fetch_effective(policies: Policies, asker: Asker | None) -> Effective:
    """The constants of whom a question is asked for; the defaults, if for nobody.

    Raises ValueError, with a sentence for people, when there is no such team or workload.
    """
    if asker is None:
        return policies.effective(team_id=None, workload_id=None)
    rows = await db.fetch(ASKERS[asker.kind], asker.value)
    if not rows:
        raise ValueError(f"There is no {asker.kind} {asker.value}. Write the id of one.")
    if len(rows) > 1 and asker.value != str(rows[0]["workload_id"]):
        raise ValueError(f"Several workloads are called {asker.value}. Write the id of one.")
    return policies.effective(**rows[0])
