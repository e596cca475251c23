"""Fills an empty database for the fuzzing, and prints a token for each scope: `python -m`."""

import asyncio
import json
from datetime import UTC, datetime

import django

django.setup()

from app import db  # noqa: E402 - apps must be ready before models are imported
from app.accounts import services as accounts  # noqa: E402
from app.fleet import services as fleet  # noqa: E402

SCOPES = {"reader": "read", "writer": "write", "revoker": "write", "agent": "agent"}

TERM = {"label_selector": {"match_labels": {"tier": "db"}}, "topology_key": "zone"}
SPREAD = {"topology_key": "node.hostname", "max_skew": 1, "when_unsatisfiable": "schedule_anyway"}
PLACEMENT = {
    "constraints": ["node.labels.disk==ssd"],
    "max_per_host": 2,
    "spread": [SPREAD],
    "anti_affinity": {"required": [TERM], "preferred": [TERM]},
}


async def seed() -> dict[str, str]:
    await db.open()
    tokens = {}
    for name, scope in SCOPES.items():
        user = await accounts.create_user(
            username=name, password="correct horse battery", is_staff=True, is_superuser=True
        )
        _, tokens[name] = await accounts.create_token(user=user, name=name, scopes=[scope])
    for number in range(3):
        await fleet.create_workload(
            name=f"web-{number}", image="nginx:1", placement={} if number else PLACEMENT
        )
        await fleet.observe_host(
            host={"name": f"host-{number}", "cpus": 4.0, "memory_bytes": 2**33, "engine": "docker"},
            observed_at=datetime.now(UTC),
            images=[{"reference": "nginx:1", "digest": "", "size_bytes": 10**8}],
            containers=[
                {"engine_id": f"c{number}", "name": f"web-{number}.1", "state": "running",
                 "labels": {"stowage.workload": f"web-{number}"}, "image": "nginx:1"}
            ],
        )  # fmt: skip
    await db.close()
    return tokens


if __name__ == "__main__":
    print(json.dumps(asyncio.run(seed())))
