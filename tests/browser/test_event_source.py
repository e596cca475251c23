"""A browser's own EventSource: events as they happen, and on from the last after the API died."""

import time

import httpx
import psutil
import pytest
from playwright.sync_api import Page

from tests.browser.test_browsable_api import API, log_in
from tests.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

FOLLOW = """() => {
    window.told = []; window.openings = 0;
    window.source = new EventSource("/api/v1/events/?watch=true&object_type=workload");
    source.addEventListener("bookmark", () => { openings += 1; });
    source.onmessage = ({ data, lastEventId }) => {
        const event = JSON.parse(data);
        told.push([Number(lastEventId), event.kind, event.data.name]);
    };
}"""


def create(stowage: Running, name: str) -> None:
    """Through the API, once it is there."""
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = httpx.post(
                f"{stowage.url}{API}/workloads/",
                json={"name": name, "image": "x"},
                headers={"Authorization": f"Bearer {stowage.token}", "Idempotency-Key": name},
                timeout=20,
            )
            assert answer.status_code == 201, answer.text
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def wait_for(page: Page, name: str) -> None:
    page.wait_for_function("name => told.some(one => one[2] === name)", arg=name, timeout=40_000)


def test_event_source_gets_what_happens_and_goes_on_after_the_api_died(
    page: Page, stowage: Running
) -> None:
    log_in(page, stowage)
    page.evaluate(FOLLOW)
    page.wait_for_function("openings > 0")
    create(stowage, "seen-live")
    wait_for(page, "seen-live")
    children = psutil.Process(stowage.process.pid).children(recursive=True)
    (api,) = [child for child in children if "asgi:application" in child.cmdline()]
    api.kill()  # whoever runs it starts it again, and the browser comes back some seconds later
    create(stowage, "while-away")
    wait_for(page, "while-away")
    create(stowage, "seen-again")
    wait_for(page, "seen-again")
    told = page.evaluate("told")
    page.evaluate("source.close()")
    assert page.evaluate("openings") >= 2
    positions = [position for position, _, _ in told]
    assert positions == sorted(set(positions))
    created = [name for _, kind, name in told if kind == "workload.created"]
    assert created == ["seen-live", "while-away", "seen-again"]
