"""One stack for all container tests; each test leaves it running with one api container."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.container.stacks import Stack, run


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        if "tests/container/" in item.nodeid:
            item.add_marker(pytest.mark.container)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    assert shutil.which("docker"), "Docker is not installed. See https://docs.docker.com/engine/."
    run("docker", "version")
    run("docker", "compose", "version")
    first = 20_000 + os.getpid() % 20_000
    variables = {"PORTS": f"{first}-{first + 15}", "AGENT_INTERVAL_SECONDS": "1"}
    stack = Stack(f"stowage-test-{os.getpid()}", {**variables, "DRAIN_SECONDS": "2"})
    try:
        stack.compose("build", "--quiet", "secrets")
        stack.up()
        stack.manage("create_administrator")
        words = "create_token", "--user", "admin", "--scope"
        stack.token = stack.manage(*words, "read", "--scope", "write").strip()
        stack.agent_token = stack.manage(*words, "agent").strip()
        yield stack
    except BaseException:
        print(stack.compose("logs", "--no-color", "--tail", "50"))
        raise
    finally:
        stack.down()
