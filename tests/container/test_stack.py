"""The stack of docker-compose.yml, on a real engine."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.container.stacks import Sender, Stack, run, wait_for

RUNNING = "postgres", "api", "agent"
ONE_SHOT = "secrets", "migrate"
GRACE_SECONDS = {"postgres": 60, "api": 30, "agent": 15}
MOST_API_MIB = 96


def in_container(container: dict[str, Any], script: str) -> str:
    return run("docker", "exec", container["Id"], "sh", "-c", script)


def pss_mib(container: dict[str, Any]) -> float:
    """The memory of the container's program, what it shares with others counted in parts."""
    rollup = in_container(container, "cat /proc/1/smaps_rollup")
    return next(int(line.split()[1]) for line in rollup.splitlines() if "Pss:" in line) / 1024


def report(stack: Stack) -> dict[str, Any]:
    with stack.client() as client:
        response = client.get("/api/v1/reports/density/")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


# Hardening


@pytest.mark.parametrize("service", [*RUNNING, *ONE_SHOT])
def test_containers_can_do_no_more_than_they_need(stack: Stack, service: str) -> None:
    for container in stack.containers(service, stopped=True):
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert sorted(host["CapAdd"] or []) == (["SETGID", "SETUID"] if service == "agent" else [])
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Memory"] > 0
        assert host["NanoCpus"] > 0
        assert host["PidsLimit"] > 0


@pytest.mark.parametrize("service", RUNNING)
def test_programs_are_not_root_and_hold_no_capability(stack: Stack, service: str) -> None:
    for container in stack.containers(service):
        status = in_container(container, "cat /proc/1/status")
        lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in lines["Uid"].split()
        assert "0" not in lines["Gid"].split()
        assert int(lines["CapEff"], 16) == 0
        assert int(lines["CapPrm"], 16) == 0
        assert lines["NoNewPrivs"] == "1"


def test_only_the_agent_holds_the_docker_socket(stack: Stack) -> None:
    holders = [
        service
        for service in [*RUNNING, *ONE_SHOT]
        for container in stack.containers(service, stopped=True)
        if any("docker.sock" in mount["Source"] for mount in container["Mounts"])
    ]
    assert holders == ["agent"]


def test_root_is_read_only_and_tmp_is_not(stack: Stack) -> None:
    (api,) = stack.containers("api")
    assert "Read-only file system" in in_container(api, "touch /srv/x 2>&1 || true")
    in_container(api, "touch /tmp/x && rm /tmp/x")


def test_secrets_are_mounted_only_where_they_are_read(stack: Stack) -> None:
    volumes = {
        service: {
            mount["Name"].removeprefix(f"{stack.name}_")
            for container in stack.containers(service, stopped=True)
            for mount in container["Mounts"]
            if mount["Type"] == "volume" and "secret" in mount["Name"]
        }
        for service in [*RUNNING, *ONE_SHOT]
    }
    assert volumes == {
        "secrets": {"secrets", "database-secret"},
        "postgres": {"database-secret"},
        "migrate": {"secrets", "agent-secret"},
        "api": {"secrets"},
        "agent": {"agent-secret"},
    }


def test_secrets_are_in_no_environment(stack: Stack) -> None:
    for service in [*RUNNING, "migrate"]:
        for container in stack.containers(service, stopped=True):
            values = " ".join(container["Config"]["Env"])
            assert "stw_" not in values
            assert "postgresql://" not in values


# The API


def test_client_creates_lists_ingests_and_reads(stack: Stack) -> None:
    name = f"box-{time.time_ns()}"
    at = datetime.now(UTC).isoformat()
    with stack.client() as client, stack.client(token=stack.agent_token) as agent:
        made = client.post("/api/v1/workloads/", json={"name": name, "image": "nginx:1.27"})
        assert made.status_code == 201, made.text
        listed = client.get("/api/v1/workloads/", params={"search": name}).json()
        assert [one["name"] for one in listed["results"]] == [name]
        seen = agent.post("/api/v1/hosts/observe/", json=observation(name, at))
        assert seen.status_code == 200, seen.text
        number = seen.json()["containers"][name]
        sample = {"container": number, "at": at, "cpu_cores": 0.25, "memory_bytes": 2**20}
        stored = agent.post("/api/v1/usage/", json=[sample])
        assert (stored.status_code, stored.json()["stored"]) == (201, 1)
        usage = client.get(f"/api/v1/containers/{number}/usage/").json()
        assert [one["memory_bytes"] for one in usage["results"]] == [2**20]
        assert client.delete(f"/api/v1/workloads/{made.json()['id']}/").status_code in {202, 204}
    assert name in json.dumps(report(stack))


def observation(name: str, at: str) -> dict[str, Any]:
    host = {"name": name, "cpus": 4, "memory_bytes": 2**33, "engine": "docker"}
    container = {"engine_id": name, "name": name, "state": "running", "image": None}
    return {"host": host, "observed_at": at, "images": [], "containers": [container]}


def test_report_shows_the_stack_itself(stack: Stack) -> None:
    def all_there() -> bool:
        text = json.dumps(report(stack))
        return all(f"{stack.name}-{service}-1" in text for service in RUNNING)

    wait_for(all_there)


def test_answers_are_json_with_no_browsable_api(stack: Stack) -> None:
    with stack.client() as client:
        answer = client.get("/api/v1/hosts/", headers={"Accept": "text/html"})
        assert "text/html" not in answer.headers["Content-Type"]
        assert client.get("/api/v1/nothing/").status_code == 404


def test_stranger_is_turned_away(stack: Stack) -> None:
    with stack.client(token="stw_none") as client:
        assert client.get("/api/v1/hosts/").status_code == 401
    with stack.client() as client:
        assert client.get("/api/v1/hosts/", headers={"Host": "evil.example"}).status_code == 400


def test_proxy_is_believed_only_where_it_is_named(stack: Stack) -> None:
    def is_taken_for_https() -> bool:
        (client,) = stack.clients()
        with client:
            answer = client.get("/api/v1/hosts/", headers={"X-Forwarded-Proto": "https"})
        assert answer.status_code == 200
        return "Strict-Transport-Security" in answer.headers

    assert not is_taken_for_https()
    stack.variables["FORWARDED_ALLOW_IPS"] = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
    try:
        stack.up()
        assert is_taken_for_https()
    finally:
        del stack.variables["FORWARDED_ALLOW_IPS"]
        stack.up()


def test_memory_of_the_api_after_1000_requests(stack: Stack, capsys) -> None:
    (api,) = stack.containers("api")
    with stack.client(api) as client:
        for _ in range(1000):
            assert client.get("/api/v1/hosts/").status_code == 200
    files = "/sys/fs/cgroup/memory/memory.usage_in_bytes /sys/fs/cgroup/memory.current"
    usage = int(in_container(api, f"cat {files} 2>/dev/null || true").split()[0])
    with capsys.disabled():
        print(f"\n  api after 1,000 requests: PSS {pss_mib(api):.1f} MiB", end=", ")
        print(f"cgroup {usage / 2**20:.1f} MiB")
    assert pss_mib(api) < MOST_API_MIB


# Scaling and stopping


def test_scaling_to_three_and_back_loses_no_request(stack: Stack, capsys) -> None:
    stack.up("--scale", "api=3", "--no-recreate")
    clients = stack.clients()
    assert len(clients) == 3
    sizes = [f"{pss_mib(one):.1f}" for one in stack.containers("api")]
    senders = [Sender(client).start() for client in clients]
    try:
        time.sleep(1)
        begun = time.monotonic()
        stack.up("--scale", "api=1", "--no-recreate")
        seconds = time.monotonic() - begun
        time.sleep(0.5)
    finally:
        for sender in senders:
            sender.stop()
            sender.client.close()
    with capsys.disabled():
        sent = [sender.answered for sender in senders]
        print(f"\n  scaled from 3 to 1 in {seconds:.1f} s while {sent} requests were answered")
        print(f"  PSS of each of the three: {', '.join(sizes)} MiB")
    assert [sender.lost for sender in senders] == [[], [], []]
    assert all(sender.answered > 10 for sender in senders)
    assert [one["Name"] for one in stack.containers("api")] == [f"/{stack.name}-api-1"]


def test_every_stop_is_clean(stack: Stack, capsys) -> None:
    (client,) = stack.clients()
    sender = Sender(client).start()
    time.sleep(1)
    try:
        begun = time.monotonic()
        stack.compose("stop")
        seconds = time.monotonic() - begun
        sender.stop()
        assert sender.lost == []
        assert sender.answered > 10
        took = {}
        for service in RUNNING:
            (container,) = stack.containers(service, stopped=True)
            assert container["State"]["ExitCode"] == 0, service
            assert not container["State"]["OOMKilled"]
            took[service] = container["State"]["FinishedAt"][11:23]
        with capsys.disabled():
            print(f"\n  stopped in {seconds:.1f} s, {sender.answered} requests answered, at {took}")
        assert seconds < max(GRACE_SECONDS.values())
        assert sorted(RUNNING, key=lambda service: took[service]) == ["agent", "api", "postgres"]
    finally:
        sender.stop()
        client.close()
        stack.up()


def test_data_and_secrets_outlive_the_containers(stack: Stack) -> None:
    name = f"kept-{time.time_ns()}"
    with stack.client() as client:
        made = client.post("/api/v1/workloads/", json={"name": name, "image": "nginx:1.27"})
        assert made.status_code == 201, made.text
    stack.compose("down")
    stack.up()
    with stack.client() as client:  # the token of before holds still
        assert client.get(f"/api/v1/workloads/{made.json()['id']}/").json()["name"] == name


def test_stopped_database_makes_the_api_unready_not_dead(stack: Stack) -> None:
    with stack.client() as client:
        stack.compose("stop", "postgres")
        try:
            assert client.get("/healthz").status_code == 200
            assert client.get("/readyz").status_code == 503
            refused = client.get("/api/v1/hosts/")
            assert refused.status_code == 503
            assert "Retry-After" in refused.headers
        finally:
            stack.compose("start", "postgres")
        wait_for(lambda: client.get("/readyz").status_code == 200)
        assert client.get("/api/v1/hosts/").status_code == 200
