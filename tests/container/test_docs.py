"""docs/deployment.md: what it tells operators to type is typed here, word for word."""

import re
import subprocess
import time
from pathlib import Path

from settings import env
from tests.container.stacks import ROOT, Stack, wait_for

DOCUMENT = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


def commands(heading: str) -> list[str]:
    """The commands of a section, in order."""
    section = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\$ (.*)$", section, re.MULTILINE)


def type_in(stack: Stack, directory: Path, command: str) -> str:
    """Run it in a shell as somebody would beside the compose file, in the project of the stack."""
    variables = {
        **stack.variables,
        "STOWAGE_IMAGE": stack.image,
        "COMPOSE_FILE": str(ROOT / "docker-compose.yml"),
        "COMPOSE_PROJECT_NAME": stack.name,
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=directory,
        env=env.inherited(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def make_workload(stack: Stack) -> str:
    with stack.client() as client:
        data = {"name": f"w-{time.time_ns()}", "image": "nginx:1.27"}
        made = client.post("/api/v1/workloads/", json=data)
        assert made.status_code == 201, made.text
        return f"/api/v1/workloads/{made.json()['id']}/"


def test_backup_is_restored_as_the_docs_say(stack: Stack, tmp_path: Path) -> None:
    backup, *restore = commands("Backups")
    kept = make_workload(stack)
    type_in(stack, tmp_path, backup)
    lost = make_workload(stack)
    for command in restore:
        type_in(stack, tmp_path, command)
    with stack.client() as client:
        assert client.get(kept).status_code == 200
        assert client.get(lost).status_code == 404


def test_scaling_as_the_docs_say_gives_each_container_a_port(stack: Stack, tmp_path: Path) -> None:
    scale, port = commands("Scaling")
    type_in(stack, tmp_path, scale)
    try:
        ports = {
            type_in(stack, tmp_path, port.replace("--index 2", f"--index {index}"))
            for index in (1, 2, 3)
        }
        assert len(ports) == 3
    finally:
        stack.up("--scale", "api=1", "--no-recreate")


def test_agent_gets_a_new_token_as_the_docs_say(stack: Stack, tmp_path: Path) -> None:
    found = re.search(r"new token for the agent:\* `(.*?)`, then\s+`(.*?)`", DOCUMENT, re.DOTALL)
    assert found
    for command in found.groups():
        type_in(stack, tmp_path, command)
    wait_for(lambda: "API connected" in stack.compose("logs", "--no-color", "agent"))


def test_every_variable_of_the_compose_file_is_in_the_docs() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    names = set(re.findall(r"\$\{(\w+):?-", text)) - {"STOWAGE_IMAGE"}
    assert [name for name in sorted(names) if f"`{name}`" not in DOCUMENT] == []


def test_every_variable_of_production_is_in_the_docs() -> None:
    read = r'env\.(?:text|flag|integer|choice|words|hosts|origins|secret)\(\s*"(\w+)"'
    names = {
        name
        for module in ("base", "production")
        for name in re.findall(read, (ROOT / "settings" / f"{module}.py").read_text())
    }
    assert [name for name in sorted(names) if f"`{name}`" not in DOCUMENT] == []
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert [name for name in sorted(names) if not re.search(rf"\b{name}(_FILE)?:", compose)] == []
