"""The environment, read; each mistake names the variable and the remedy."""

import pytest

from app.agent import configuration
from settings.env import SettingsError

NAMES = ("STOWAGE_URL", "STOWAGE_TOKEN", "STOWAGE_TOKEN_FILE", "DOCKER_HOST")
AGENT_NAMES = (
    *("AGENT_INTERVAL_SECONDS", "AGENT_HOST_NAME", "AGENT_SOURCE", "AGENT_BUFFER_SAMPLES"),
    *("AGENT_RESERVED_CPUS", "AGENT_RESERVED_MEMORY_BYTES"),
)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in NAMES + AGENT_NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STOWAGE_TOKEN", "stw_ab_secret")
    return monkeypatch


def test_a_token_is_all_that_must_be_set():
    configured = configuration.load()
    assert configured.url == "http://127.0.0.1:8000"
    assert configured.token == "stw_ab_secret"
    assert configured.engine_url == "unix:///var/run/docker.sock"
    assert (configured.source, configured.interval_seconds) == ("auto", 5)
    assert (configured.reserved_cpus, configured.reserved_memory_bytes) == (None, None)


def test_everything_can_be_set(environment):
    environment.setenv("STOWAGE_URL", "https://api.example/base/")
    environment.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    environment.setenv("AGENT_SOURCE", "Processes")
    environment.setenv("AGENT_RESERVED_CPUS", "0.5")
    environment.setenv("AGENT_RESERVED_MEMORY_BYTES", "1024")
    configured = configuration.load()
    assert configured.url == "https://api.example/base"
    assert configured.engine_url == "tcp://10.0.0.1:2375"
    assert configured.source == "processes"
    assert (configured.reserved_cpus, configured.reserved_memory_bytes) == (0.5, 1024)


def test_token_may_stand_in_a_file(environment, tmp_path):
    environment.delenv("STOWAGE_TOKEN")
    (tmp_path / "token").write_text("stw_cd_other\n")
    environment.setenv("STOWAGE_TOKEN_FILE", str(tmp_path / "token"))
    assert configuration.load().token == "stw_cd_other"


def test_printing_once_needs_no_token(environment):
    environment.delenv("STOWAGE_TOKEN")
    assert configuration.load(reporting=False).token == ""


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("STOWAGE_URL", "api.example", "Write http://host:port"),
        ("STOWAGE_URL", "ftp://api.example", "Write http://host:port"),
        ("STOWAGE_URL", "http://api.example:port", "is not a URL"),
        ("STOWAGE_URL", "http://user:pass@api.example", "STOWAGE_TOKEN"),
        ("STOWAGE_TOKEN", "", "create_token"),
        ("STOWAGE_TOKEN", "two words", "create_token"),
        ("STOWAGE_TOKEN", "line\nbreak", "create_token"),
        ("AGENT_SOURCE", "podman", "auto, docker, processes"),
        ("AGENT_INTERVAL_SECONDS", "0", "Write 1 or more"),
        ("AGENT_INTERVAL_SECONDS", "often", "whole number"),
        ("AGENT_BUFFER_SAMPLES", "0", "Write 1 or more"),
        ("AGENT_RESERVED_CPUS", "some", "such as 0.5"),
        ("AGENT_RESERVED_CPUS", "nan", "such as 0.5"),
        ("AGENT_RESERVED_CPUS", "-1", "such as 0.5"),
        ("AGENT_RESERVED_MEMORY_BYTES", "-1", "Write 0 or more"),
        ("DOCKER_HOST", "/var/run/docker.sock", "Write unix:///"),
    ],
)
def test_mistake_names_the_variable_and_the_remedy(environment, name, value, remedy):
    environment.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        configuration.load()
    assert name in str(caught.value)
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)
