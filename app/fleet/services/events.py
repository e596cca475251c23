"""The outbox: what changed, written in the transaction that changed it."""

import json
from typing import Any, NamedTuple

from app import db


class Change(NamedTuple):
    """One line of the outbox. `kind` is `<object type>.<what happened>`; `data` for readers."""

    kind: str
    object_id: int
    data: dict[str, Any]


async def record_changes(*changes: Change) -> None:
    """Write `changes` in order, with one statement.

    Call it last in a transaction: positions are given at commit, after the rows are final.
    """
    if not changes:
        return
    await db.execute(
        """
        INSERT INTO fleet_event (kind, object_type, object_id, data, at)
        SELECT kind, split_part(kind, '.', 1), object_id, data::jsonb, now()
        FROM unnest(%s::text[], %s::bigint[], %s::text[])
            WITH ORDINALITY AS e (kind, object_id, data, place)
        ORDER BY place
        """,
        [change.kind for change in changes],
        [change.object_id for change in changes],
        [json.dumps(change.data) for change in changes],
    )


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The entries of `after` that differ from `before`."""
    return {key: value for key, value in after.items() if before.get(key) != value}


def image_change(row: dict[str, Any], *, is_new: bool = False) -> Change:
    """An image came, or its size or the hosts that hold it changed."""
    kind = "image.created" if is_new else "image.updated"
    return Change(kind, row["id"], {"reference": row["reference"], "digest": row["digest"]})


__all__ = ["Change", "difference", "image_change", "record_changes"]
