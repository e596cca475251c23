"""The browsable API as a person uses it: log in, look around, post a form, see the picture."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(60)]

API = "/api/v1"


def log_in(page: Page, stowage: Running) -> None:
    page.goto(f"{API}/")
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(stowage.password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("admin").first).to_be_visible()


def test_login_with_a_wrong_password_says_so(page: Page) -> None:
    page.goto(f"{API}/")
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Wrong name or password")).to_be_visible()


def test_root_leads_to_every_list(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    for name in ("hosts", "images", "workloads", "revisions", "containers", "usage", "events"):
        page.goto(f"{API}/")
        page.locator(f'pre a[href$="{API}/{name}/"]').first.click()
        expect(page.locator("pre.prettyprint").last).to_contain_text('"results"')


def test_posting_the_form_makes_a_workload_and_deleting_takes_it_away(
    page: Page, stowage: Running
) -> None:
    log_in(page, stowage)
    page.goto(f"{API}/workloads/")
    form = page.locator("#post-object-form form, form#post-object-form").first
    form.locator("input[name=name]").fill("from-the-browser")
    form.locator("input[name=image]").fill("busybox:stable")
    form.get_by_role("button", name="POST").click()
    expect(page.locator("pre.prettyprint").last).to_contain_text("201 Created")
    page.get_by_text("from-the-browser").first.wait_for()
    address = page.locator(".response-info").inner_text()
    number = re.search(r'"id": (\d+)', address)
    assert number
    page.goto(f"{API}/workloads/{number.group(1)}/")
    page.get_by_role("button", name="DELETE").first.click()
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as deleted:
        page.locator("#deleteModal .btn-danger").click()
    assert deleted.value.status < 400
    page.goto(f"{API}/workloads/{number.group(1)}/")
    expect(page.locator("pre.prettyprint").last).to_contain_text("404 Not Found")


def test_a_form_with_a_bad_value_names_the_field(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    page.goto(f"{API}/workloads/")
    form = page.locator("#post-object-form form, form#post-object-form").first
    form.locator("input[name=name]").fill("backwards")
    form.locator("input[name=image]").fill("busybox:stable")
    form.locator("input[name=memory_reservation_bytes]").fill("2000000000")
    form.locator("input[name=memory_limit_bytes]").fill("1000000000")
    form.get_by_role("button", name="POST").click()
    expect(page.locator("pre.prettyprint").last).to_contain_text("400 Bad Request")
    expect(page.locator("pre.prettyprint").last).to_contain_text("memory_reservation_bytes")


def test_raw_data_form_creates_too(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    page.goto(f"{API}/workloads/")
    page.get_by_role("link", name="Raw data").click()
    content = page.locator("#post-generic-content-form textarea[name=_content]")
    content.fill('{"name": "from-raw-data", "image": "busybox:stable"}')
    page.locator("#post-generic-content-form").get_by_role("button", name="POST").click()
    expect(page.locator("pre.prettyprint").last).to_contain_text("201 Created")


def test_density_page_shows_the_picture_of_this_machine(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    page.goto(f"{API}/reports/density/")
    expect(page.locator('img[src*="format=svg"]')).to_be_visible()
    page.wait_for_function("document.querySelector('img[src*=svg]').naturalWidth > 0")


def test_logging_out_ends_the_session(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    page.locator(".navbar .dropdown-toggle").click()
    page.get_by_role("button", name="Log out").or_(page.get_by_role("link", name="Log out")).click()
    expect(page.get_by_role("link", name="Log in")).to_be_visible()
    page.goto(f"{API}/hosts/")
    expect(page.locator("pre.prettyprint").last).to_contain_text(re.compile("40[13] "))
