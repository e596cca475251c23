"""`python -m app.agent`: report until a signal. `--once`: print what would be reported."""

import argparse
import asyncio
import json
import logging
import signal
import sys

from app.agent import configuration
from app.agent.agents import Agent, Pace
from app.agent.clients import Client
from app.agent.configuration import Configuration
from app.agent.containers import Containers
from app.agent.engines import Engine
from app.agent.processes import Processes
from app.agent.sources import Source, SourceUnavailableError
from settings.env import SettingsError

READING_SECONDS = 1.0  # between the two readings of `--once`
UNAVAILABLE, MISCONFIGURED = 1, 2

logger = logging.getLogger("app.agent")


async def open_source(configured: Configuration) -> tuple[str, Source]:
    """The source that the configuration names, and what it is called in the log."""
    engine = Engine(configured.engine_url)
    kind = configured.source
    if kind == "auto":
        kind = await choose(engine)
    if kind == "docker":
        containers = Containers(
            engine,
            host_name=configured.host_name,
            reserved_cpus=configured.reserved_cpus,
            reserved_memory_bytes=configured.reserved_memory_bytes,
        )
        return f"engine {configured.engine_url}", containers
    await engine.close()
    processes = Processes(
        host_name=configured.host_name,
        reserved_cpus=configured.reserved_cpus,
        reserved_memory_bytes=configured.reserved_memory_bytes,
    )
    return "process table", processes


async def choose(engine: Engine) -> str:
    """Docker where an engine answers now; otherwise this machine's processes."""
    try:
        await engine.version()
    except SourceUnavailableError as error:
        logger.info("%s; watching this machine's processes instead", error)
        return "processes"
    return "docker"


async def report(configured: Configuration) -> None:
    """Runs the agent until a signal ends it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    name, source = await open_source(configured)
    client = Client(configured.url, configured.token)
    agent = Agent(
        source=source,
        reporter=client,
        pace=Pace(interval=configured.interval_seconds),
        buffer_samples=configured.buffer_samples,
        source_name=name,
    )
    logger.info("reporting to %s every %d s", configured.url, configured.interval_seconds)
    try:
        await agent.run(stop)
    finally:
        await client.close()
        await source.close()
    outbox = agent.outbox
    logger.info(
        "stopped: %d samples stored, %d dropped, %d not sent",
        *(outbox.acknowledged, outbox.dropped, len(outbox)),
    )


async def show(configured: Configuration) -> None:
    """Prints one observation and one sample of each container, as they would be reported."""
    _, source = await open_source(configured)
    try:
        observation = await source.observe(full=True)
        await source.sample()
        await asyncio.sleep(READING_SECONDS)
        usage = [sample._asdict() for sample in await source.sample()]
    finally:
        await source.close()
    json.dump({"observation": observation.as_json(), "usage": usage}, sys.stdout, indent=2)
    sys.stdout.write("\n")


def main() -> int:
    """The exit code: 0, 1 when the source can't be had, 2 when the configuration is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m app.agent", description="Reports what runs on this host."
    )
    parser.add_argument("--once", action="store_true", help="print one observation and sample")
    once = parser.parse_args().once
    logging.basicConfig(level=logging.INFO, format="%(asctime)s agent %(levelname)s %(message)s")
    try:
        configured = configuration.load(reporting=not once)
        asyncio.run(show(configured) if once else report(configured))
    except SettingsError as error:
        print(f"agent: {error}", file=sys.stderr)
        return MISCONFIGURED
    except SourceUnavailableError as error:
        print(f"agent: {error}", file=sys.stderr)
        return UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
