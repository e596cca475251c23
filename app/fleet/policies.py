"""Which constants hold for whom: what teams and workloads have set, read with one statement."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.fleet.models import PolicyOverride
from app.fleet.policy import Effective, resolve

Constants = Mapping[str, float]
NONE: Constants = {}


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


async def fetch_policies() -> Policies:
    teams: dict[int, Constants] = {}
    workloads: dict[int, Constants] = {}
    rows = PolicyOverride.objects.values_list("team_id", "workload_id", "constants")
    async for team_id, workload_id, constants in rows:
        overrides, owner = (teams, team_id) if team_id else (workloads, workload_id)
        overrides[owner] = constants
    return Policies(teams, workloads)
