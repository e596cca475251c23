"""Three kinds of users against a running Stowage: agents, dashboards and deployers.

Run through `make load`, which mints tokens and sets bounds. Each user makes what it works on and
takes it away when it stops, so that a run leaves the fleet as it found it.
"""

import itertools
import json
import logging
import random
from datetime import UTC, datetime
from typing import Any

from locust import FastHttpUser, between, constant_pacing, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from load.summary import print_summary

API = "/api/v1"
CONTAINERS_PER_HOST = 20
MIB = 2**20
numbers = itertools.count(1)


@events.init_command_line_parser.add_listener
def add_arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument("--operator-token", required=True, help="a token with read and write")
    parser.add_argument("--agent-token", required=True, help="a token with the agent's scope")
    parser.add_argument("--run-name", default="load", help="prefix of what this run creates")


# Locust's own tables would say the same again.
logging.getLogger("locust.stats_logger").setLevel(logging.ERROR)


@events.quitting.add_listener
def report(environment: Environment, **kwargs: Any) -> None:
    print_summary(environment)
    if environment.stats.total.num_failures or not environment.stats.total.num_requests:
        environment.process_exit_code = 1


class StowageUser(FastHttpUser):
    """A client with a token; `operator` and `agent` are the headers of the two kinds of token."""

    abstract = True

    def on_start(self) -> None:
        options = self.environment.parsed_options
        self.name = f"{options.run_name}-{next(numbers)}"
        self.operator = {"Authorization": f"Bearer {options.operator_token}"}
        self.agent = {"Authorization": f"Bearer {options.agent_token}"}


class Agent(StowageUser):
    """One host's agent: a full relist at the start, then a batch of samples every two seconds."""

    weight = 6
    wait_time = constant_pacing(2)

    def on_start(self) -> None:
        super().on_start()
        answer = self.observe([self.describe(n) for n in range(CONTAINERS_PER_HOST)])
        self.host_id, self.container_ids = answer["host"], list(answer["containers"].values())

    def on_stop(self) -> None:
        self.observe([])
        path = f"{API}/hosts/{self.host_id}/"
        self.client.delete(path, headers=self.operator, name=f"{API}/hosts/:id/")

    def observe(self, containers: list[dict[str, Any]]) -> dict[str, Any]:
        body = {
            "host": {
                "name": self.name,
                "cpus": 8.0,
                "memory_bytes": 16 * 1024 * MIB,
                "reserved_cpus": 0.5,
                "reserved_memory_bytes": 512 * MIB,
                "engine": "docker",
                "engine_version": "28.0.0",
                "labels": {"load": "true"},
            },
            "observed_at": now(),
            "images": [],
            "containers": containers,
        }
        path = f"{API}/hosts/observe/"
        answer: dict[str, Any] = self.client.post(path, json=body, headers=self.agent).json()
        return answer

    def describe(self, number: int) -> dict[str, Any]:
        return {
            "engine_id": f"{self.name}-{number}",
            "name": f"web-{number}",
            "image": None,
            "image_digest": None,
            "state": "running",
            "labels": {},
            "cpu_reservation": 0.1,
            "cpu_limit": None,
            "memory_reservation_bytes": 128 * MIB,
            "memory_limit_bytes": 256 * MIB,
            "started_at": now(),
            "finished_at": None,
            "exit_code": None,
            "oom_killed": False,
        }

    @task
    def report_usage(self) -> None:
        samples = (
            {
                "container": container_id,
                "at": now(),
                "cpu_cores": round(random.betavariate(2, 8), 4),
                "memory_bytes": int(MIB * random.uniform(40, 200)),
            }
            for container_id in self.container_ids
        )
        self.client.post(
            f"{API}/usage/",
            data="\n".join(map(json.dumps, samples)),
            headers={**self.agent, "Content-Type": "application/x-ndjson"},
        )


class Dashboard(StowageUser):
    """Somebody who looks: the report, lists with filters, one object, the picture now and then."""

    weight = 3
    wait_time = between(0.2, 1.0)

    @task(4)
    def density(self) -> None:
        self.get("/reports/density/")

    @task(4)
    def containers(self) -> None:
        self.get("/containers/?state=running&ordering=-id&page_size=50", "/containers/?…")

    @task(2)
    def hosts(self) -> None:
        results = self.get("/hosts/").json()["results"]
        if results:
            self.get(f"/hosts/{random.choice(results)['id']}/", "/hosts/:id/", may_be_gone=True)

    @task(2)
    def recent_usage(self) -> None:
        self.get("/usage/?page_size=100", "/usage/?…")

    @task(1)
    def picture(self) -> None:
        self.get("/reports/density/?format=svg")

    def get(self, path: str, name: str = "", *, may_be_gone: bool = False) -> Any:
        with self.client.get(
            API + path, headers=self.operator, name=f"{API}{name or path}", catch_response=True
        ) as response:
            # Another user may have taken its host away between the list and this request.
            if may_be_gone and response.status_code == 404:
                response.success()
            return response


class Deployer(StowageUser):
    """A pipeline: creates a workload, reads it back, scales it, reads its revisions, deletes it."""

    weight = 1
    wait_time = between(0.5, 1.5)

    @task
    def deploy(self) -> None:
        body = {
            "name": f"{self.name}-{next(numbers)}",
            "image": "registry.example/web:1.4.2",
            "replicas": 2,
            "memory_reservation_bytes": 128 * MIB,
            "memory_limit_bytes": 256 * MIB,
        }
        created = self.client.post(f"{API}/workloads/", json=body, headers=self.operator)
        if created.status_code != 201:
            return
        path, name = f"{API}/workloads/{created.json()['id']}/", f"{API}/workloads/:id/"
        self.client.get(path, headers=self.operator, name=name)
        self.client.patch(path, json={"replicas": 5}, headers=self.operator, name=name)
        self.client.get(f"{path}revisions/", headers=self.operator, name=f"{name}revisions/")
        self.client.delete(path, headers=self.operator, name=name)


def now() -> str:
    return datetime.now(UTC).isoformat()
