"""The browsable API as a person uses it: log in, look around, post a form, see the picture."""

import json
import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

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


def answer_of(page: Page) -> Locator:
    """The box that holds the status line, the headers and the body."""
    return page.locator("pre.prettyprint").last


def test_put_form_holds_what_is_stored_and_changes_it(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    page.goto(f"{API}/{made(stowage, 'workloads', name='to-be-put', image='busybox:1')}")
    form = page.locator("#put-object-form form, form#put-object-form").first
    expect(form.locator("[name=image]")).to_have_value("busybox:1")
    form.locator("[name=image]").fill("busybox:2")
    form.locator("[name=labels]").fill('{"tier": "front"}')
    form.get_by_role("button", name="PUT").click()
    expect(answer_of(page)).to_contain_text("200 OK")
    expect(answer_of(page)).to_contain_text('"image": "busybox:2"')
    expect(answer_of(page)).to_contain_text('"tier": "front"')


@pytest.mark.parametrize(("button", "replicas"), [("PUT", 2), ("PATCH", 3)])
def test_raw_data_changes_too(page: Page, stowage: Running, button: str, replicas: int) -> None:
    log_in(page, stowage)
    name = f"raw-{button.lower()}"
    page.goto(f"{API}/{made(stowage, 'workloads', name=name, image='busybox:1')}")
    page.get_by_role("link", name="Raw data").click()
    form = page.locator("#put-generic-content-form")
    body = {"name": name, "image": "busybox:1"} if button == "PUT" else {}
    form.locator("textarea[name=_content]").fill(json.dumps(body | {"replicas": replicas}))
    form.get_by_role("button", name=button).click()
    expect(answer_of(page)).to_contain_text("200 OK")
    expect(answer_of(page)).to_contain_text(f'"replicas": {replicas}')


def test_host_form_chooses_among_engines(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    page.goto(f"{API}/hosts/")
    form = page.locator("#post-object-form form, form#post-object-form").first
    form.locator("[name=name]").fill("from-a-form")
    form.locator("[name=cpus]").fill("2.5")
    form.locator("[name=memory_bytes]").fill("1073741824")
    form.locator("select[name=engine]").select_option("swarm")
    form.get_by_role("button", name="POST").click()
    expect(answer_of(page)).to_contain_text("201 Created")
    expect(answer_of(page)).to_contain_text('"engine": "swarm"')


def test_token_form_chooses_several_scopes_and_a_moment(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    page.goto(f"{API}/tokens/")
    form = page.locator("#post-object-form form, form#post-object-form").first
    form.locator("[name=name]").fill("from-a-form")
    form.locator("select[name=scopes]").select_option(["read", "write"])
    form.locator("[name=expires_at]").fill("2040-01-31T12:00")
    form.get_by_role("button", name="POST").click()
    expect(answer_of(page)).to_contain_text("201 Created")
    expect(answer_of(page)).to_contain_text('"expires_at": "2040-01-31T12:00:00Z"')
    expect(answer_of(page)).to_contain_text('"token": "stw_')


def test_raw_form_of_an_action_runs_it(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    address = made(stowage, "workloads", name="to-be-rolled-back", image="busybox:1")
    with stowage_api(stowage) as client:
        client.patch(f"{API}/{address}", json={"image": "busybox:2"})
    page.goto(f"{API}/{address}")
    page.get_by_role("button", name="Extra Actions").click()
    page.get_by_role("link", name="Rollback").click()
    expect(answer_of(page)).to_contain_text("405 Method Not Allowed")
    content = page.locator("#post-generic-content-form textarea[name=_content]")
    if not content.is_visible():
        page.get_by_role("link", name="Raw data").click()
    content.fill('{"revision": 1}')
    page.locator("#post-generic-content-form").get_by_role("button", name="POST").click()
    expect(answer_of(page)).to_contain_text("200 OK")
    expect(answer_of(page)).to_contain_text('"image": "busybox:1"')


def test_filters_search_and_order_from_their_dialog(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    for name in ("filtered-a", "filtered-b", "other"):
        made(stowage, "workloads", name=name, image="busybox:1", labels={"kept": name[-1]})
    page.goto(f"{API}/workloads/")
    page.get_by_role("button", name="Filters").click()
    dialog = page.locator("#filtersModal")
    expect(dialog).to_be_visible()
    dialog.locator("input[name=label]").fill("kept=b")
    dialog.locator("form:has(input[name=label]) button").click()
    expect(answer_of(page)).to_contain_text('"count": 1,')
    expect(answer_of(page)).to_contain_text('"name": "filtered-b"')
    page.goto(f"{API}/workloads/")
    page.get_by_role("button", name="Filters").click()
    dialog.locator("input[name=search]").fill("filtered-")
    dialog.locator("input[name=search]").press("Enter")
    expect(answer_of(page)).to_contain_text('"count": 2,')
    page.get_by_role("button", name="Filters").click()
    dialog.get_by_text("name - descending").click()
    expect(answer_of(page)).to_contain_text('"count": 2,')
    names = re.findall(r'"name": "(filtered-\w)"', answer_of(page).inner_text())
    assert names == ["filtered-b", "filtered-a"]


def test_pages_lead_to_each_other(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    for number in range(3):
        made(stowage, "workloads", name=f"paged-{number}", image="busybox:1")
    page.goto(f"{API}/workloads/?search=paged-&page_size=1")
    expect(answer_of(page)).to_contain_text('"name": "paged-0"')
    pager = page.locator("ul.pagination").first
    pager.get_by_role("link", name="2", exact=True).click()
    expect(answer_of(page)).to_contain_text('"name": "paged-1"')
    pager.get_by_label("Next").click()
    expect(answer_of(page)).to_contain_text('"name": "paged-2"')
    pager.get_by_label("Previous").click()
    expect(answer_of(page)).to_contain_text('"name": "paged-1"')


def test_cursor_pages_lead_to_each_other(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    for number in range(2):
        made(stowage, "workloads", name=f"evented-{number}", image="busybox:1")
    page.goto(f"{API}/events/?page_size=1")
    first = answer_of(page).inner_text()
    page.locator("ul.pager").first.get_by_role("link", name="Next").click()
    expect(answer_of(page)).not_to_have_text(first)
    page.locator("ul.pager").first.get_by_role("link", name="Previous").click()
    expect(answer_of(page)).to_contain_text('"position": 1')


def test_options_describe_the_list(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    page.goto(f"{API}/workloads/")
    page.get_by_role("button", name="OPTIONS").click()
    expect(page.locator(".request-info")).to_contain_text("OPTIONS /api/v1/workloads/")
    expect(answer_of(page)).to_contain_text('"actions"')


def test_other_formats_are_offered_beside_get(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    page.goto(f"{API}/workloads/")
    page.locator(".format-selection .dropdown-toggle, button[title*='format']").first.click()
    page.get_by_role("link", name="json", exact=True).click()
    assert json.loads(page.locator("body").inner_text())["results"] is not None


def test_delete_dialog_can_be_left_without_deleting(page: Page, stowage: Running) -> None:
    log_in(page, stowage)
    address = made(stowage, "workloads", name="spared", image="busybox:1")
    page.goto(f"{API}/{address}")
    page.get_by_role("button", name="DELETE").first.click()
    expect(page.locator("#deleteModal")).to_be_visible()
    page.locator("#deleteModal").get_by_text("Cancel").click()
    expect(page.locator("#deleteModal")).to_be_hidden()
    with stowage_api(stowage) as client:
        assert client.get(f"{API}/{address}").status_code == 200


def stowage_api(stowage: Running) -> httpx.Client:
    headers = {"Authorization": f"Bearer {stowage.token}"}
    return httpx.Client(base_url=stowage.url, headers=headers, timeout=30)


def made(stowage: Running, resource: str, **body: Any) -> str:
    """Makes an object by the API; its address below the API's root."""
    with stowage_api(stowage) as client:
        answer = client.post(f"{API}/{resource}/", json=body)
    assert answer.status_code == 201, answer.text
    return f"{resource}/{answer.json()['id']}/"
