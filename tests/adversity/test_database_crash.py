"""The database dies while agents send samples, clients write and watchers watch, and is back at
once: nothing acknowledged is lost, nothing is doubled, every watcher goes on where it was.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from settings import env
from tests.adversity import servers
from tests.adversity.watchers import Watcher, following
from tests.adversity.ways import until, witness_of
from tests.agent.test_end_to_end import Server
from tests.running import ROOT

WATCHERS, SENDERS, WRITERS = 50, 4, 2
STARTED_AT = datetime.now(UTC) - timedelta(hours=1)

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.packages,  # a database and a process of the API, made for this
    pytest.mark.timeout(180),
    pytest.mark.blocks("The server is another process; the database is made and broken meanwhile."),
]


class Caller:
    """Sends requests, and sends each again until it is answered as done, as an agent does."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}", "Host": "127.0.0.1"}
        self.http = httpx.AsyncClient(base_url=f"{url}/api/v1", headers=headers, timeout=20)
        self.refused = 0

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        while True:
            try:
                answer = await self.http.post(path, json=body, headers=headers)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code < 300:
                return answer
            assert answer is None or answer.status_code in {409, 503}, answer.text
            self.refused += 1
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture(loop_scope="session")
async def database(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[servers.Server]:
    server = servers.Server(tmp_path_factory.mktemp("crash") / "postgres")
    await asyncio.to_thread(server.make)
    yield server
    await asyncio.to_thread(server.stop)


async def manage(database: servers.Server, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "manage.py", *words), cwd=ROOT, stdout=subprocess.PIPE,
        env=env.inherited(DATABASE_URL=database.url),
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().strip()


async def test_nothing_is_lost_or_doubled_when_the_database_dies(database: servers.Server) -> None:
    await manage(database, "migrate", "-v0")
    await manage(database, "create_administrator")
    scopes = [word for scope in ("read", "write", "agent") for word in ("--scope", scope)]
    token = await manage(database, "create_token", "--user", "admin", *scopes)
    api = Server(database.url)
    await api.start()
    caller = Caller(api.url, token)
    acknowledged: dict[tuple[int, str], float] = {}
    made: list[int] = []
    is_over = False

    async def send(number: int) -> None:
        containers = await report(caller, number)
        at = STARTED_AT
        while not is_over:
            at += timedelta(seconds=1)
            batch = [
                {"container": pk, "at": at.isoformat(), "cpu_cores": pk % 8, "memory_bytes": pk}
                for pk in containers
            ]
            await caller.post("/usage/", batch)
            acknowledged.update({(one["container"], one["at"]): pk_cores(one) for one in batch})

    async def write(number: int) -> None:
        count = 0
        while not is_over:
            count += 1
            name = f"w{number}-{count}"
            key = {"Idempotency-Key": name}
            answer = await caller.post("/workloads/", {"name": name, "image": "x"}, **key)
            made.append(answer.json()["id"])
            await asyncio.sleep(0.02)

    try:
        watchers = [Watcher(api.port, token, 0) for _ in range(WATCHERS)]
        async with following(watchers), asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(send(number)) for number in range(SENDERS)]
            work += [tasks.create_task(write(number)) for number in range(WRITERS)]
            await until(lambda: len(made) > 10 and all(one.seen for one in watchers), 40)
            await asyncio.to_thread(database.crash)
            before = len(made), len(acknowledged)
            await until(
                lambda: len(made) > before[0] + 10 and len(acknowledged) > before[1] + 100, 40
            )
            is_over = True
            await asyncio.wait(work)
            async with witness_of(database.entry) as witness:
                last = await settled(witness, watchers)
                events = await witness.rows("SELECT position FROM fleet_event ORDER BY position")
                samples = await witness.rows("SELECT container_id, at, cpu_cores FROM fleet_usage")
                workloads = await witness.rows("SELECT id FROM fleet_workload")
        told = [position for (position,) in events]
        assert told[-1] == last
        assert all(one.seen == told for one in watchers)
        assert {(pk, at.isoformat()): cores for pk, at, cores in samples} == acknowledged
        assert sorted(pk for (pk,) in workloads) == sorted(made)
        assert caller.refused
    finally:
        await caller.http.aclose()
        await api.stop()


async def report(caller: Caller, number: int) -> list[int]:
    """A host with ten containers; their ids."""
    names = [f"c{number}-{n}" for n in range(10)]
    body = {
        "host": {"name": f"h{number}", "cpus": 4, "memory_bytes": 2**33, "engine": "docker"},
        "observed_at": STARTED_AT.isoformat(),
        "containers": [{"engine_id": one, "name": one, "state": "running"} for one in names],
    }
    return list((await caller.post("/hosts/observe/", body)).json()["containers"].values())


def pk_cores(sample: dict[str, Any]) -> float:
    return float(sample["cpu_cores"])


async def settled(witness: Any, watchers: list[Watcher]) -> int:
    """The last position, once nobody writes and every watcher has come that far."""
    last = 0

    async def is_settled() -> bool:
        nonlocal last
        last = await witness.value("SELECT max(position) FROM fleet_event")
        await asyncio.sleep(0.3)
        return all(one.position == last for one in watchers)

    await until(is_settled, 40)
    return last
