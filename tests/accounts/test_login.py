"""Logging in and out of the browsable API: sessions, CSRF, where it leads to, and guessing."""

import re
from typing import Any

import pytest
import pytest_asyncio
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.sessions.models import Session

from app import db
from app.accounts import passwords, services
from app.accounts.attempts import LIMIT_PER_NAME, Attempts
from app.accounts.login_views import LoginView
from app.accounts.models import User
from app.errors import Unavailable
from app.rest.test import APIClient, TestResponse
from tests.accounts.conftest import PASSWORD

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

LOGIN, LOGOUT, ME = "/auth/login/", "/auth/logout/", "/api/v1/me/"


@pytest.fixture(autouse=True)
def fresh_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LoginView, "attempts", Attempts())


@pytest.fixture
def browser() -> APIClient:
    """A client that, like a browser's requests, is held to CSRF."""
    return APIClient(enforce_csrf_checks=True)


def _csrf_token(page: TestResponse) -> str:
    match = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert match is not None
    return match[1]


async def _log_in(browser: APIClient, **fields: str) -> TestResponse:
    page = await browser.get(LOGIN)
    form = {"username": "ada", "password": PASSWORD, "csrfmiddlewaretoken": _csrf_token(page)}
    return await browser.post(LOGIN, form | fields, format="multipart")


@pytest_asyncio.fixture
async def logged_in(browser: APIClient, operator: User) -> APIClient:
    assert (await _log_in(browser)).status_code == 302
    return browser


async def test_the_login_page_is_drfs_and_is_not_cached(browser: APIClient) -> None:
    page = await browser.get(f"{LOGIN}?next=/api/v1/hosts/")
    assert page.status_code == 200
    assert 'name="next" value="/api/v1/hosts/"' in page.text
    assert "no-store" in page["Cache-Control"]


async def test_logging_in_makes_a_session_and_leads_to_next(
    browser: APIClient, operator: User
) -> None:
    response = await _log_in(browser, next="/api/v1/hosts/")
    assert (response.status_code, response["Location"]) == (302, "/api/v1/hosts/")
    cookie = response.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert (await browser.get(ME)).json()["username"] == "ada"
    assert (await User.objects.aget(pk=operator.pk)).last_login is not None


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", ""],
)
async def test_next_never_leads_to_another_site(
    browser: APIClient, operator: User, elsewhere: str
) -> None:
    page = await browser.get(LOGIN, {"next": elsewhere})
    assert 'name="next" value="/"' in page.text
    assert (await _log_in(browser, next=elsewhere))["Location"] == "/"


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "wrong"},
        {"username": "nobody"},
        {"username": "ADA"},
        {"password": " " + PASSWORD},
    ],
)
async def test_wrong_name_or_password_is_told_the_same(
    browser: APIClient, operator: User, fields: dict[str, str]
) -> None:
    response = await _log_in(browser, **fields)
    assert response.status_code == 400
    assert "Wrong name or password" in response.text
    assert "sessionid" not in response.cookies
    assert PASSWORD not in response.text


async def test_a_user_who_is_switched_off_cannot_log_in(browser: APIClient, operator: User) -> None:
    await User.objects.filter(pk=operator.pk).aupdate(is_active=False)
    assert (await _log_in(browser)).status_code == 400


@pytest.mark.parametrize("missing", ["username", "password"])
async def test_an_empty_field_is_named(browser: APIClient, missing: str) -> None:
    response = await _log_in(browser, **{missing: ""})
    assert response.status_code == 400
    assert "This field is required" in response.text


async def test_login_without_the_csrf_token_is_403(browser: APIClient, operator: User) -> None:
    form = {"username": "ada", "password": PASSWORD}
    assert (await browser.post(LOGIN, form, format="multipart")).status_code == 403


async def test_logging_in_changes_the_session_key(logged_in: APIClient) -> None:
    before = logged_in.cookies["sessionid"].value
    await _log_in(logged_in, username="ada")
    assert logged_in.cookies["sessionid"].value == before  # the same user keeps the session
    await logged_in.post(
        LOGOUT,
        {"csrfmiddlewaretoken": _csrf_token(await logged_in.get(LOGIN))},
        format="multipart",
    )
    await _log_in(logged_in)
    assert logged_in.cookies["sessionid"].value != before


async def test_logging_out_ends_the_session_for_good(logged_in: APIClient) -> None:
    stolen = logged_in.cookies["sessionid"].value
    token = _csrf_token(await logged_in.get(LOGIN))
    response = await logged_in.post(
        f"{LOGOUT}?next=/api/v1/", {"csrfmiddlewaretoken": token}, format="multipart"
    )
    assert (response.status_code, response["Location"]) == (302, "/api/v1/")
    assert not await db.objects(Session).aexists()
    thief = APIClient()
    thief.cookies["sessionid"] = stolen
    assert (await thief.get(ME)).status_code == 401


async def test_logging_out_takes_a_post_with_the_csrf_token(logged_in: APIClient) -> None:
    assert (await logged_in.get(LOGOUT)).status_code == 405
    assert (await logged_in.post(LOGOUT)).status_code == 403
    assert (await logged_in.get(ME)).status_code == 200


async def test_a_session_must_send_the_csrf_token_with_whatever_changes_something(
    logged_in: APIClient,
) -> None:
    body = {"name": "n", "scopes": ["read"]}
    refused = await logged_in.post("/api/v1/tokens/", body)
    assert refused.status_code == 403
    assert "CSRF" in refused.json()["detail"]
    token = logged_in.cookies["csrftoken"].value
    accepted = await logged_in.post("/api/v1/tokens/", body, HTTP_X_CSRFTOKEN=token)
    assert accepted.status_code == 201


async def test_the_csrf_token_may_stand_in_a_form(logged_in: APIClient) -> None:
    form = {
        "name": "n",
        "scopes": "read",
        "csrfmiddlewaretoken": logged_in.cookies["csrftoken"].value,
    }
    accepted = await logged_in.post("/api/v1/tokens/", form, format="multipart")
    assert accepted.status_code == 201, accepted.json()


async def test_changing_the_password_ends_other_sessions(
    logged_in: APIClient, operator: User
) -> None:
    await services.set_password(user=operator, password="another good password")
    assert (await logged_in.get(ME)).status_code == 401


async def test_switching_a_user_off_ends_their_sessions(
    logged_in: APIClient, operator: User
) -> None:
    await User.objects.filter(pk=operator.pk).aupdate(is_active=False)
    assert (await logged_in.get(ME)).status_code == 401


async def test_guessing_is_stopped_even_when_the_last_guess_is_right(
    browser: APIClient, operator: User
) -> None:
    for _ in range(LIMIT_PER_NAME):
        assert (await _log_in(browser, password="wrong")).status_code == 400
    response = await _log_in(browser)
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= 300
    assert "Too many tries" in response.text


@pytest.mark.parametrize("failing", [passwords, services])
async def test_login_is_503_while_a_part_of_it_is_gone(
    browser: APIClient, operator: User, monkeypatch: pytest.MonkeyPatch, failing: Any
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise Unavailable("Gone.", retry_after_seconds=7)

    name = "verify_password" if failing is passwords else "record_login"
    monkeypatch.setattr(failing, name, fail)
    response = await _log_in(browser)
    assert response.status_code == 503
    assert response["Retry-After"] == "7"


async def test_a_name_in_another_unicode_form_is_the_same_name(
    browser: APIClient, operator: User
) -> None:
    response = await _log_in(browser, username="\N{FULLWIDTH LATIN SMALL LETTER A}da")
    assert response.status_code == 302


async def test_a_weaker_hash_is_renewed_at_login(
    browser: APIClient, operator: User, settings: Any
) -> None:
    md5 = "django.contrib.auth.hashers.MD5PasswordHasher"
    settings.PASSWORD_HASHERS = [md5, "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    quick = PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=1)
    await User.objects.filter(pk=operator.pk).aupdate(password=quick)
    await _log_in(browser)
    assert (await User.objects.aget(pk=operator.pk)).password.startswith("md5$")
    assert (await browser.get(ME)).status_code == 200
