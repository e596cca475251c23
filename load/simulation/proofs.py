"""After a simulation: what the database holds is what the API acknowledged, by count and by sum."""

from app import db
from load.simulation.agents import Ledger

STORED = """
    SELECT c.engine_id, count(*) AS samples, sum(u.cpu_cores) AS cpu_cores,
        sum(u.memory_bytes)::bigint AS memory_bytes
    FROM fleet_usage u JOIN fleet_container c ON c.id = u.container_id GROUP BY c.engine_id
"""
ROLLED_UP = """
    SELECT c.engine_id, sum(h.samples)::bigint AS samples, sum(h.cpu_sum) AS cpu_cores,
        sum(h.memory_sum)::bigint AS memory_bytes
    FROM fleet_usage_hour h JOIN fleet_container c ON c.id = h.container_id GROUP BY c.engine_id
"""
CLOSED = STORED.replace(
    "GROUP BY", "WHERE u.at < (SELECT max(hour) + interval '1 hour' FROM fleet_usage_hour) GROUP BY"
)


async def compare(ledger: Ledger) -> list[str]:
    """What does not agree, container by container; empty when all of it does."""
    sent = {
        engine_id: (count, ledger.cpu[engine_id], ledger.memory[engine_id])
        for engine_id, count in ledger.counts.items()
    }
    return _differences("stored", await _sums(STORED), sent)


async def compare_hours() -> tuple[int, list[str]]:
    """How many samples stand in hours that are rolled up, and where these differ from the raw."""
    hours = await _sums(ROLLED_UP)
    samples = sum(count for count, _, _ in hours.values())
    return samples, _differences("rolled up", hours, await _sums(CLOSED) if hours else {})


Sums = dict[str, tuple[int, float, int]]


async def _sums(query: str) -> Sums:
    return {
        row["engine_id"]: (row["samples"], row["cpu_cores"], row["memory_bytes"])
        for row in await db.fetch(query)
    }


def _differences(what: str, found: Sums, expected: Sums) -> list[str]:
    return [
        f"{engine_id}: {what} {found.get(engine_id)}, expected {expected.get(engine_id)}"
        for engine_id in sorted(found.keys() | expected.keys())
        if found.get(engine_id) != expected.get(engine_id)
    ]
