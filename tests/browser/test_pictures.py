"""The pictures of the docs, taken of an example fleet that goes through the API like any other."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from app.ops import embedded
from load import fleets
from settings import env
from tests.browser.test_browsable_api import API, log_in
from tests.running import ROOT, Running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture
def agent(stowage: Running) -> Iterator[httpx.Client]:
    """A client with an agent's token, minted as an operator would: by `manage.py create_token`."""
    environment = env.inherited(
        DATABASE_URL=embedded.address(stowage.var / "postgres"),
        DJANGO_SETTINGS_MODULE="settings.development",
    )
    command = [sys.executable, "manage.py", "create_token", "--user", "admin", "--scope", "agent"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    token = next(word for word in done.stdout.split() if word.startswith("stw_"))
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{stowage.url}{API}", headers=headers, timeout=30) as client:
        yield client


def load_example_fleet(agent: httpx.Client) -> None:
    now = datetime.now(UTC)
    for host, containers in fleets.example_fleet().items():
        answer = agent.post("/hosts/observe/", json=fleets.observation(host, containers, now))
        assert answer.status_code == 200, answer.text
        ids = answer.json()["containers"]
        samples = [
            sample
            for container in containers
            for sample in container.samples(ids[container.engine_id], now, hours=6)
        ]
        assert agent.post("/usage/", json=samples).status_code == 201


def test_the_picture_shows_every_host_of_the_example_fleet(
    page: Page, stowage: Running, agent: httpx.Client, screenshots: Path
) -> None:
    load_example_fleet(agent)
    log_in(page, stowage)
    page.set_viewport_size({"width": 1280, "height": 1400})
    page.goto(f"{API}/reports/density/?label=site=example")
    picture = page.locator('img[src*="format=svg"]')
    expect(picture).to_be_visible()
    page.wait_for_function("document.querySelector('img[src*=svg]').naturalWidth > 0")
    page.screenshot(path=screenshots / "browsable-api.png")
    page.goto(f"{API}/reports/density/?label=site=example&format=svg")
    drawing = page.locator("svg").first
    for host in fleets.HOSTS:
        expect(drawing.get_by_text(host, exact=True).first).to_be_visible()
