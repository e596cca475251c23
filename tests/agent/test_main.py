"""`python -m app.agent` as a process: exit codes, signals, one line of error."""

import asyncio
import json
import os
import signal
import sys

import pytest

from tests.agent.apis import Api, until


async def start(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.agent", *arguments),
        env=kept | {"AGENT_SOURCE": "processes"} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.asyncio
@pytest.mark.timeout(15)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_signal_ends_it_with_everything_sent(number):
    api = Api()
    await api.start()
    try:
        process = await start(
            STOWAGE_URL=api.url, STOWAGE_TOKEN="stw_ab_secret", AGENT_INTERVAL_SECONDS="1"
        )
        await until(lambda: api.usage, 10)
        process.send_signal(number)
        _, errors = await asyncio.wait_for(process.communicate(), 8)
    finally:
        await api.stop()
    assert process.returncode == 0, errors.decode()
    lines = errors.decode().splitlines()
    assert lines[-1].endswith(f"stopped: {len(api.usage)} samples stored, 0 dropped, 0 not sent")
    assert len(lines) == 4


@pytest.mark.asyncio
@pytest.mark.timeout(15)
async def test_it_stops_in_time_while_the_api_is_gone():
    process = await start(STOWAGE_URL="http://127.0.0.1:9", STOWAGE_TOKEN="stw_ab_secret")
    assert process.stderr is not None
    while b"API not available" not in await asyncio.wait_for(process.stderr.readline(), 10):
        pass
    process.terminate()
    await asyncio.wait_for(process.communicate(), 7)
    assert process.returncode == 0


@pytest.mark.asyncio
@pytest.mark.timeout(15)
async def test_once_prints_what_would_be_reported_and_needs_no_api():
    process = await start("--once", AGENT_HOST_NAME="dock-1")
    output, errors = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0, errors.decode()
    printed = json.loads(output)
    assert printed["observation"]["host"]["name"] == "dock-1"
    ids = {each["engine_id"] for each in printed["observation"]["containers"]}
    assert {each["engine_id"] for each in printed["usage"]} <= ids
    assert len(ids) > 0


@pytest.mark.asyncio
@pytest.mark.timeout(15)
@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "agent: STOWAGE_TOKEN is not set. Set it, or STOWAGE_TOKEN_FILE"),
        ({"STOWAGE_TOKEN": "t", "AGENT_SOURCE": "x"}, "agent: AGENT_SOURCE='x' is unknown. Write"),
        ({"STOWAGE_TOKEN": "t", "STOWAGE_URL": "x"}, "agent: STOWAGE_URL='x' is not the address"),
    ],
    ids=["no token", "source", "url"],
)
async def test_wrong_configuration_is_one_line_and_exit_code_2(environment, told):
    process = await start(**environment)
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 2
    assert errors.decode().count("\n") == 1
    assert errors.decode().startswith(told)


@pytest.mark.asyncio
@pytest.mark.timeout(15)
async def test_auto_says_why_there_is_no_docker_and_watches_processes(tmp_path):
    process = await start("--once", AGENT_SOURCE="auto", DOCKER_HOST=f"unix://{tmp_path}/no.sock")
    output, errors = await asyncio.wait_for(process.communicate(), 10)
    assert json.loads(output)["observation"]["host"]["engine"] == "processes"
    assert "its socket does not exist; watching this machine's processes" in errors.decode()


@pytest.mark.asyncio
@pytest.mark.timeout(15)
async def test_docker_that_is_asked_for_once_and_is_not_there_is_exit_code_1(tmp_path):
    process = await start("--once", AGENT_SOURCE="docker", DOCKER_HOST=f"unix://{tmp_path}/no.sock")
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 1
    assert errors.decode().startswith("agent: no engine at unix://")
