"""Callers who are recognized at once: what a view sees of them is what authentication gives."""

from typing import Any

import pytest
from django.urls import path
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed

from app.rest.callers import at_once
from app.rest.permissions import AllowAny, BasePermission, IsAuthenticated
from app.rest.request import clone_request
from app.rest.response import Response
from app.rest.test import APIClient
from app.rest.throttling import AnonRateThrottle, UserRateThrottle, store
from app.rest.views import APIView

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.rest.test_callers")]


class User:
    is_authenticated = is_active = True

    def __init__(self, name: str) -> None:
        self.pk = self.name = name


class Ada:
    """A caller; `taken`: how often user and auth were made."""

    ident = "ada"
    taken = 0

    def take(self) -> tuple[User, str]:
        Ada.taken += 1
        return User("ada"), "token"


def recognize(authenticator: Any, request: Any) -> Ada | None:
    return Ada() if request.META.get("HTTP_AUTHORIZATION") == "ada" else None


class Recognizing(BaseAuthentication):
    asked = 0

    @at_once(recognize)
    async def authenticate(self, request: Any) -> Any:
        Recognizing.asked += 1
        name = request.META.get("HTTP_AUTHORIZATION")
        if name == "nobody":
            raise AuthenticationFailed
        return None if name is None else (User(name), "token")

    def authenticate_header(self, request: Any) -> str:
        return "Name"


class Asking(Recognizing):
    """Has its own way to find out."""

    async def authenticate(self, request: Any) -> Any:
        return User("own"), "own"


def judge(permission: Any, caller: Any, request: Any, view: Any) -> bool:
    return bool(caller.ident == "ada")


class Judging(BasePermission):
    @at_once(judge)
    async def has_permission(self, request: Any, view: Any) -> bool:
        return bool(request.user.name in {"ada", "ben"})


class Renaming(BasePermission):
    """Makes another user of who calls."""

    async def has_permission(self, request: Any, view: Any) -> bool:
        request.user = User("renamed")
        return True


class Base(APIView):
    authentication_classes = [Recognizing]
    permission_classes = [Judging]
    throttle_classes: Any = []

    async def get(self, request: Any) -> Response:
        return Response({"as": self.kwargs.get("what")})


class Looking(Base):
    async def get(self, request: Any) -> Response:
        inner = request._request
        clone = clone_request(request, "POST")
        return Response({
            "user": request.user.name,
            "auth": request.auth,
            "is one": request.user is request.user is inner.user is clone.user,
            "inner auth": inner.auth,
            "by": type(request.successful_authenticator).__name__,
        })  # fmt: skip


class InnerFirst(Base):
    async def get(self, request: Any) -> Response:
        inner = request._request
        is_one = inner.auth == request.auth and inner.user is request.user is request._user
        return Response({"user": inner.user.name, "is one": is_one})


class Setting(Base):
    async def get(self, request: Any) -> Response:
        request.user = User("set")
        return Response({"user": request.user.name, "auth": request.auth})


class SettingAuth(Base):
    async def get(self, request: Any) -> Response:
        request.auth = "set"
        return Response({"user": request.user.name, "auth": request.auth})


class SettingInner(Base):
    async def get(self, request: Any) -> Response:
        request._request.user = User("inner")
        return Response({"user": request.user.name, "inner": request._request.user.name})


class Other(APIView):
    authentication_classes: Any = []
    permission_classes = [AllowAny]

    async def get(self, request: Any) -> Response:
        return Response({"user": str(request.user), "auth": request.auth})


class Calling(Base):
    """Has another view, which authenticates nobody, answer the same request."""

    async def get(self, request: Any) -> Any:
        return await Other.as_view()(request._request)


class Renamed(Base):
    permission_classes = [Renaming, Judging]


class Authenticated(Base):
    permission_classes = [IsAuthenticated]


class Own(Base):
    authentication_classes = [Asking]
    permission_classes = [AllowAny]

    async def get(self, request: Any) -> Response:
        return Response({"user": request.user.name})


class Counted(Base):
    class Users(UserRateThrottle):
        rate = "2/hour"

    class Strangers(AnonRateThrottle):
        rate = "1/hour"

    throttle_classes = [Users, Strangers]


urlpatterns = [
    path(f"{view.__name__}/", view.as_view())
    for view in (
        Base, Looking, InnerFirst, Setting, SettingAuth, SettingInner, Calling, Renamed,
        Authenticated, Own, Counted,
    )
]  # fmt: skip


@pytest.fixture(autouse=True)
def _counts_from_nought() -> None:
    Ada.taken = Recognizing.asked = 0
    store.clear()


async def ask(name: str, who: str | None = "ada") -> Any:
    client = APIClient()
    if who is not None:
        client.credentials(HTTP_AUTHORIZATION=who)
    return await client.get(f"/{name}/")


async def test_user_is_made_for_nobody_who_does_not_look() -> None:
    assert (await ask("Base")).status_code == 200
    assert (Ada.taken, Recognizing.asked) == (0, 0)


@pytest.mark.parametrize("who", ["ada", "ben"])
async def test_view_sees_what_authentication_gives(who: str) -> None:
    response = await ask("Looking", who)
    assert response.data == {
        "user": who,
        "auth": "token",
        "is one": True,
        "inner auth": "token",
        "by": "Recognizing",
    }
    assert (Ada.taken, Recognizing.asked) == ((1, 0) if who == "ada" else (0, 1))


@pytest.mark.parametrize("who", ["ada", "ben"])
@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("InnerFirst", {"user": "{who}", "is one": True}),
        ("Setting", {"user": "set", "auth": "token"}),
        ("SettingAuth", {"user": "{who}", "auth": "set"}),
        ("SettingInner", {"user": "{who}", "inner": "inner"}),
        ("Calling", {"user": "AnonymousUser", "auth": None}),
        ("Authenticated", {"as": None}),
    ],
)
async def test_whoever_looks_or_sets_finds_the_same(view: str, expected: Any, who: str) -> None:
    filled = {
        key: value.format(who=who) if isinstance(value, str) else value
        for key, value in expected.items()
    }
    assert (await ask(view, who)).data == filled


async def test_who_is_not_recognized_is_authenticated() -> None:
    assert (await ask("Base", "ben")).status_code == 200
    assert (await ask("Base", "eve")).status_code == 403
    assert (await ask("Base", "nobody")).status_code == 401
    assert Recognizing.asked == 3


async def test_twin_does_not_stand_for_a_method_of_a_class_of_its_own() -> None:
    assert (await ask("Own")).data == {"user": "own"}


async def test_permission_is_asked_once_the_user_is_another() -> None:
    assert (await ask("Renamed")).status_code == 403


async def test_throttle_counts_who_is_recognized_as_who_is_authenticated() -> None:
    for _ in range(2):
        assert (await ask("Counted")).status_code == 200
    assert (await ask("Counted")).status_code == 429
    assert (await ask("Counted", "ben")).status_code == 200
    assert Ada.taken <= 1  # of the refusal, perhaps


async def test_long_way_recognizes_nobody(settings: Any) -> None:
    settings.STOWAGE = settings.STOWAGE | {"SHORTCUTS": False}
    assert (await ask("Base")).status_code == 200
    assert (Ada.taken, Recognizing.asked) == (0, 1)
