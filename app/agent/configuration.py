"""What the environment says. A mistake is a SettingsError that names variable and remedy."""

import math
from dataclasses import dataclass
from urllib.parse import urlsplit

from settings import env

SOURCES = ("auto", "docker", "processes")
DEFAULT_ENGINE = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Where to report, as whom, what to watch. An empty `host_name` is the source's to fill."""

    url: str
    token: str
    interval_seconds: int
    host_name: str
    engine_url: str
    source: str
    buffer_samples: int
    reserved_cpus: float | None
    reserved_memory_bytes: int | None


def load(*, reporting: bool = True) -> Configuration:
    """The agent's configuration. Without `reporting`, neither address nor token is read."""
    return Configuration(
        url=read_url() if reporting else "",
        token=read_token() if reporting else "",
        interval_seconds=env.integer("AGENT_INTERVAL_SECONDS", 5, minimum=1),
        host_name=env.text("AGENT_HOST_NAME", "").strip(),
        engine_url=read_engine_url(),
        source=read_source(),
        buffer_samples=env.integer("AGENT_BUFFER_SAMPLES", 50_000, minimum=1),
        reserved_cpus=read_reserved_cpus(),
        reserved_memory_bytes=read_reserved_memory_bytes(),
    )


def read_url() -> str:
    """The API's address without a slash at its end."""
    url = env.text("STOWAGE_URL", "http://127.0.0.1:8000").strip().rstrip("/")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError as error:
        raise env.SettingsError(f"STOWAGE_URL={url!r} is not a URL: {error}.") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise env.SettingsError(
            f"STOWAGE_URL={url!r} is not the address of an API. Write http://host:port or https://host."
        )
    if parts.username or parts.query or parts.fragment:
        raise env.SettingsError(
            "STOWAGE_URL holds more than an address. Write http://host:port; "
            "the token goes to STOWAGE_TOKEN."
        )
    return url


def read_token() -> str:
    """The token, fit for a header."""
    token = env.text("STOWAGE_TOKEN").strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise env.SettingsError(
            "STOWAGE_TOKEN is not a token. Make one with `manage.py create_token` (scope agent), "
            "and set it, or STOWAGE_TOKEN_FILE to a file that holds it."
        )
    return token


def read_engine_url() -> str:
    url = env.text("DOCKER_HOST", DEFAULT_ENGINE).strip() or DEFAULT_ENGINE
    if not url.startswith(("unix://", "tcp://", "http://", "https://")):
        raise env.SettingsError(
            f"DOCKER_HOST={url!r} is not an engine's address. Write unix:///path/to/docker.sock or tcp://host:port."
        )
    return url


def read_source() -> str:
    source = env.text("AGENT_SOURCE", "auto").strip().lower()
    if source not in SOURCES:
        raise env.SettingsError(f"AGENT_SOURCE={source!r} is unknown. Write {', '.join(SOURCES)}.")
    return source


def read_reserved_cpus() -> float | None:
    """The cores that the system keeps for itself; None leaves it to the API."""
    value = env.text("AGENT_RESERVED_CPUS", "").strip()
    if not value:
        return None
    try:
        cpus = float(value)
    except ValueError:
        cpus = math.nan
    if not math.isfinite(cpus) or cpus < 0:
        raise env.SettingsError(
            f"AGENT_RESERVED_CPUS={value!r} is not a number of cores. Write 0 or more, such as 0.5."
        )
    return cpus


def read_reserved_memory_bytes() -> int | None:
    """The bytes that the system keeps for itself; None leaves it to the API."""
    if not env.text("AGENT_RESERVED_MEMORY_BYTES", "").strip():
        return None
    return env.integer("AGENT_RESERVED_MEMORY_BYTES", 0, minimum=0)
