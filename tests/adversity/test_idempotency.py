"""`Idempotency-Key` on a real API process that is killed: while the first request runs, and after.

Whoever sends a request again gets the answer that got lost, or the request is carried out now;
never twice.
"""

import asyncio
import signal
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from app.accounts import services as accounts
from app.fleet.models import Workload
from tests.adversity.ways import Witness, until, witness_of
from tests.agent.test_end_to_end import Server

WRITES = "/api/v1/workloads/"

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.packages,  # a process of the API that starts several times
    pytest.mark.timeout(120),
    pytest.mark.blocks("The server is another process; to look its code up takes a while."),
]


@pytest_asyncio.fixture(loop_scope="session")
async def token(committed: None) -> str:
    user = await accounts.create_user(username="writers", is_superuser=True)
    _, text = await accounts.create_token(user=user, name="write", scopes=["read", "write"])
    return text


@pytest_asyncio.fixture(loop_scope="session")
async def api() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def http(api: Server, token: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=20) as client:
        yield client


def body(name: str) -> dict[str, str]:
    return {"name": name, "image": "x"}


def keyed(name: str) -> dict[str, str]:
    return {"Idempotency-Key": f'"{name}"'}


async def test_request_that_died_with_its_server_is_carried_out_once(
    api: Server, http: httpx.AsyncClient, witness: Witness
) -> None:
    """Its INSERT waits for a lock of ours, so it surely runs when the process is killed."""
    async with witness_of() as holder, holder.raw.transaction():
        await holder.raw.execute("LOCK TABLE fleet_workload IN SHARE MODE")
        first = asyncio.create_task(http.post(WRITES, json=body("w"), headers=keyed("w")))
        await until(lambda: witness.is_running('INTO "fleet_workload"'), 20)
        during = await http.post(WRITES, json=body("w"), headers=keyed("w"))
        assert (during.status_code, during.headers["Retry-After"]) == (409, "1")
        await api.stop(signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            await first
        await api.start()
        # PostgreSQL has not noticed yet: the statement waits for us, and holds the key.
        orphaned = await http.post(WRITES, json=body("w"), headers=keyed("w"))
        assert orphaned.status_code == 409
    answers = [await http.post(WRITES, json=body("w"), headers=keyed("w"))]
    while answers[-1].status_code == 409:  # until the server winds the orphan up
        await asyncio.sleep(0.05)
        answers.append(await http.post(WRITES, json=body("w"), headers=keyed("w")))
    created = answers[-1]
    assert created.status_code == 201, created.text
    assert "Idempotency-Replayed" not in created.headers
    assert [workload.pk async for workload in Workload.objects.all()] == [created.json()["id"]]
    # And when the server dies after it has answered:
    await api.stop(signal.SIGKILL)
    await api.start()
    again = await http.post(WRITES, json=body("w"), headers=keyed("w"))
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert again.content == created.content
    other = await http.post(WRITES, json=body("another"), headers=keyed("w"))
    assert other.status_code == 422
    assert await Workload.objects.acount() == 1


async def test_kill_at_any_moment_leaves_no_request_out_and_none_twice(
    api: Server, http: httpx.AsyncClient
) -> None:
    """Sixty requests, eight at a time, each sent until it is answered, while the process dies."""
    answers: dict[str, httpx.Response] = {}
    repeated = 0
    turns = asyncio.Semaphore(8)

    async def send(name: str) -> None:
        nonlocal repeated
        async with turns:
            while name not in answers:
                try:
                    answer = await http.post(WRITES, json=body(name), headers=keyed(name))
                except httpx.TransportError:
                    answer = None
                if answer is not None and answer.status_code == 201:
                    answers[name] = answer
                else:
                    assert answer is None or answer.status_code in {409, 503}, answer.text
                    repeated += 1
                    await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as tasks:
        for number in range(60):
            tasks.create_task(send(f"n{number}"))
        for count in (15, 35):
            await until(lambda count=count: len(answers) >= count, 40)
            await api.stop(signal.SIGKILL)
            await api.start()
    stored = {workload.name: workload.pk async for workload in Workload.objects.all()}
    assert stored == {name: answer.json()["id"] for name, answer in answers.items()}
    assert repeated
