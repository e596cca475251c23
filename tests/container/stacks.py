"""A compose stack of this checkout in a project of its own, and clients for it."""

import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent.parent
PORT = 8000


def run(*command: str, seconds: float = 600, **environment: str) -> str:
    """What the command prints. Fails with what it said when it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass
class Stack:
    """The stack under the project name `name`, its image under a tag of its own."""

    name: str
    variables: dict[str, str] = field(default_factory=dict)
    token: str = ""
    agent_token: str = ""

    @property
    def image(self) -> str:
        return f"{self.name}:test"

    def compose(self, *words: str, seconds: float = 600) -> str:
        variables = {**self.variables, "STOWAGE_IMAGE": self.image}
        return run("docker", "compose", "-p", self.name, *words, seconds=seconds, **variables)

    def up(self, *words: str) -> None:
        self.compose("up", "--wait", "--wait-timeout", "180", *words)

    def down(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "30")
        run("docker", "image", "rm", "--force", self.image)

    def manage(self, *words: str) -> str:
        return self.compose("exec", "-T", "--index", "1", "api", "python", "manage.py", *words)

    def containers(self, service: str, *, stopped: bool = False) -> list[dict[str, Any]]:
        """What `docker inspect` says of each container of the service."""
        words = ["ps", "--quiet", *(["--all"] if stopped else []), service]
        numbers = self.compose(*words).split()
        found: list[dict[str, Any]] = (
            json.loads(run("docker", "inspect", *numbers)) if numbers else []
        )
        return sorted(found, key=lambda one: str(one["Name"]))

    def clients(self) -> list[httpx.Client]:
        """A client for each api container, at its own address."""
        return [self.client(one) for one in self.containers("api")]

    def client(
        self, container: dict[str, Any] | None = None, token: str | None = None
    ) -> httpx.Client:
        """For that container at its own address; for the first at its published one."""
        if container is None:
            address = self.compose("port", "api", str(PORT)).strip()
        else:
            network = container["NetworkSettings"]["Networks"][f"{self.name}_api"]
            address = f"{network['IPAddress']}:{PORT}"
        headers = {"Authorization": f"Bearer {token or self.token}", "Host": "localhost"}
        return httpx.Client(base_url=f"http://{address}", headers=headers, timeout=10)


@dataclass
class Sender:
    """Sends requests to one container without a pause for as long as that says it is ready, as a
    load balancer would. What was sent and not answered is lost."""

    client: httpx.Client
    answered: int = 0
    lost: list[str] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    LOOK_SECONDS = 0.2

    def start(self) -> "Sender":
        self._threads = [threading.Thread(target=work) for work in (self._look, self._send)]
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)

    def _look(self) -> None:
        with httpx.Client(base_url=self.client.base_url, headers={"Host": "localhost"}) as client:
            while not self._stopping.wait(self.LOOK_SECONDS):
                if client.get("/readyz").status_code != 200:
                    self._stopping.set()

    def _send(self) -> None:
        while not self._stopping.is_set():
            try:
                response = self.client.get("/api/v1/hosts/")
            except httpx.HTTPError as error:
                self.lost.append(repr(error))
                return
            if response.status_code == 200:
                self.answered += 1
            else:
                self.lost.append(f"{response.status_code} {response.text[:200]}")


def wait_for(condition: Any, seconds: float = 30) -> Any:
    """The condition's first true value. Fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            assert value, f"still {value!r} after {seconds:g} seconds"
            return value
        time.sleep(0.2)
