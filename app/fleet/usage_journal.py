"""The journal of samples: which were stored, in an order that a watcher can go on in.

Theory of operation.

- Each transaction that stores samples adds one row (`UsageBatch`): its number, the containers, how
  many of each, and from when to when. The samples themselves lie in `fleet_usage` only; those of a
  transaction are found by these and by `xmin`, PostgreSQL's own note of who wrote a row.
- Transactions end in another order than they began. So only those are told that began before every
  one that still runs: below `pg_snapshot_xmin`, nothing can appear any more. No lock is taken and
  nothing is written at commit, unlike in the outbox: samples come a hundred times as often.
- A position is a transaction's number, times 2^15, plus how many of its samples have been told, by
  container and moment. A container that is deleted meanwhile changes no other sample's position.
- The journal is kept for a quarter of an hour; a row without containers says up to where it is
  forgotten.
"""

from typing import NamedTuple

from app import db
from app.fleet.models import Usage
from app.fleet.outbox import Compacted, PositionCache
from app.rest.sharing import Shared

BITS = 15
"""A batch holds 20,000 samples at most."""
BATCHES = 50
"""Transactions read at once."""

EDGE = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
FORGOTTEN = """
    coalesce((SELECT max(transaction) FROM fleet_usage_batch WHERE container_ids = '{}'), -1)
"""
BOUNDS = f"SELECT {FORGOTTEN} AS forgotten, {EDGE} AS edge"
# The edge is that of the statement's own snapshot, so all below it is seen by the statement.
READ = f"""
    WITH edge AS MATERIALIZED (
        SELECT least({EDGE}, %s::bigint) AS transaction
    ), batch AS MATERIALIZED (
        SELECT b.* FROM fleet_usage_batch b, edge
        WHERE b.transaction >= %s AND b.transaction < edge.transaction
        ORDER BY b.transaction LIMIT %s
    ), part AS (
        SELECT b.id, b.transaction, b.since, b.until, one.container_id,
            sum(one.samples) OVER (PARTITION BY b.id ORDER BY one.place) - one.samples AS before
        FROM batch b, unnest(b.container_ids, b.counts)
            WITH ORDINALITY AS one (container_id, samples, place)
    )
    SELECT edge.transaction AS edge, {FORGOTTEN} AS forgotten,
        (SELECT count(*) FROM batch) AS batches, (SELECT max(transaction) FROM batch) AS last,
        s.transaction, s.container_id, s.at, s.cpu_cores, s.memory_bytes, s.place
    FROM edge LEFT JOIN (
        SELECT p.transaction, u.container_id, u.at, u.cpu_cores, u.memory_bytes,
            p.before + row_number() OVER (PARTITION BY p.id, u.container_id ORDER BY u.at) AS place
        FROM part p JOIN fleet_usage u ON u.container_id = p.container_id
            AND u.at >= p.since AND u.at <= p.until
            AND u.xmin = (p.transaction & 4294967295)::text::xid
    ) AS s ON true
    ORDER BY s.transaction, s.place
"""  # noqa: S608 - made of constants


class Told(NamedTuple):
    """A sample, and the position of who has been told it."""

    position: int
    sample: Usage


class Reading(NamedTuple):
    """What was stored after a position, in order, and how far that goes. `is_whole`: there is no
    more up to where it was asked for.
    """

    told: list[Told]
    last: int
    is_whole: bool


def start_of(transaction: int) -> int:
    """The position of who has been told all before that transaction, and nothing of it."""
    return transaction << BITS


async def read(after: int, until: int | None = None) -> Reading:
    """Samples stored after a position, up to another at most. Raises Compacted."""
    last = 2**62 if until is None else until >> BITS
    rows = await db.fetch(READ, last, after >> BITS, BATCHES)
    head = rows[0]
    if (after >> BITS) <= head["forgotten"]:
        raise _compacted(start_of(head["edge"]))
    told = [
        Told(
            start_of(row["transaction"]) + int(row["place"]),
            Usage(
                container_id=row["container_id"],
                at=row["at"],
                cpu_cores=row["cpu_cores"],
                memory_bytes=row["memory_bytes"],
            ),
        )
        for row in rows
        if row["transaction"] is not None
    ]
    is_whole = head["batches"] < BATCHES
    end = head["edge"] if is_whole else head["last"] + 1
    return Reading([one for one in told if one.position > after], start_of(end), is_whole)


async def last_position() -> int:
    """All that was stored before this is seen by whoever reads after this."""
    return start_of((await _read_bounds())[1])


async def check_position(after: int) -> None:
    """Raises Compacted when what was stored after that position can't be told any more."""
    forgotten, edge = await _bounds.get(None, _read_bounds)
    if after > start_of(edge):  # given since that reading, which others share, began
        forgotten, edge = await _read_bounds()
    if after > start_of(edge):
        raise Compacted(f"Position {after} was never given.", start_of(edge))
    if (after >> BITS) <= forgotten:
        raise _compacted(start_of(edge))


def _compacted(position: int) -> Compacted:
    return Compacted("What was stored then is told no longer.", position)


async def _read_bounds() -> tuple[int, int]:
    (row,) = await db.fetch(BOUNDS)
    return row["forgotten"], row["edge"]


_bounds: Shared[tuple[int, int]] = Shared()
usage_positions = PositionCache(last_position)
