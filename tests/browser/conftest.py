"""A real Chromium on the whole of Stowage. Debian's package; a missing one fails the tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.running import Running, running

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def stowage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("up"), AGENT_INTERVAL_SECONDS="1") as run:
        yield run


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    assert executable, "Chromium is not installed. On Debian: apt install chromium."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, stowage: Running) -> Iterator[Page]:
    """A tab with no cookies. A script that fails, or a 500, fails the test."""
    context = chromium.new_context(
        base_url=stowage.url, viewport={"width": 1280, "height": 1024}, device_scale_factor=2
    )
    page = context.new_page()
    page.set_default_timeout(15_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(f"script: {error}"))
    page.on(
        "response",
        lambda answer: (
            problems.append(f"{answer.status} {answer.url}") if answer.status >= 500 else None
        ),
    )
    yield page
    context.close()
    assert problems == []


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where the pictures of the docs are left; `make screenshots` copies them from there."""
    directory = Path(__file__).resolve().parent.parent.parent / "var" / "screenshots"
    directory.mkdir(parents=True, exist_ok=True)
    return directory
