"""DRF's hooks as a project has them before it moves over: plain, with `super()`, in a view, in a
mixin, in a permission. They run in a thread, and what they call there is done.
"""

from base64 import b64encode

import pytest
import pytest_asyncio
from django.contrib.auth.hashers import make_password
from django.urls import include, path

from app.accounts.models import User
from app.fleet.models import Host
from app.rest import viewsets
from app.rest.authentication import BasicAuthentication
from app.rest.checks import check_threads
from app.rest.filters import SearchFilter
from app.rest.metadata import SimpleMetadata
from app.rest.pagination import PageNumberPagination
from app.rest.permissions import (
    AllowAny,
    BasePermission,
    DjangoModelPermissions,
    DjangoObjectPermissions,
)
from app.rest.response import Response
from app.rest.routers import SimpleRouter
from app.rest.throttling import SimpleRateThrottle
from app.rest.views import APIView
from tests.rest.test_models import HostSerializer

pytestmark = [
    pytest.mark.urls("tests.rest.test_plain_hooks"),
    pytest.mark.hops("plain hooks run in a thread"),
]


class Never(BasePermission):
    async def has_permission(self, request, view):
        return False


class PlainInitial:
    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)
        self.mark = "marked"


class Guarded(APIView):
    authentication_classes = []
    permission_classes = [Never]

    async def get(self, request):
        return Response("secret")


class InView(Guarded):
    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)


class ByMixin(PlainInitial, Guarded):
    pass


class Checking(Guarded):
    def check_permissions(self, request):
        super().check_permissions(request)


class Awaited(Guarded):
    async def initial(self, request, *args, **kwargs):
        await super().initial(request, *args, **kwargs)


class BelowAwaited(PlainInitial, Awaited):
    pass


class BelowPlain(InView):
    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)


class Told(BasePermission):
    def has_permission(self, request, view):
        return request.data["told"] == "yes"


class Telling(APIView):
    authentication_classes = []
    permission_classes = [Told]

    async def post(self, request):
        return Response(request.data)


class Marked(PlainInitial, APIView):
    authentication_classes = []
    permission_classes = [AllowAny]

    async def get(self, request):
        return Response(self.mark)


class Saving:
    def perform_create(self, serializer):
        assert serializer.validated_data
        super().perform_create(serializer)
        serializer.instance.saved_by = "mixin"

    def get_object(self):
        host = super().get_object()
        assert host.pk
        return host

    def filter_queryset(self, queryset):
        return super().filter_queryset(queryset).exclude(name="hidden")

    def perform_destroy(self, instance):
        super().perform_destroy(instance)

    def handle_exception(self, exc):
        response = super().handle_exception(exc)
        response["X-Handled"] = "yes"
        return response


class Staff(DjangoModelPermissions):
    def has_permission(self, request, view):
        return super().has_permission(request, view) and bool(request.user)


class Owner(DjangoObjectPermissions):
    def has_permission(self, request, view):
        return True

    def has_object_permission(self, request, view, obj):
        return bool(obj) and super().has_object_permission(request, view, obj)


class Once(SimpleRateThrottle):
    rate = "1/minute"

    def get_cache_key(self, request, view):
        return "once"

    def allow_request(self, request, view):
        return bool(request) and super().allow_request(request, view)


class Late(BasicAuthentication):
    def authenticate_credentials(self, userid, password, request=None):
        user, _ = super().authenticate_credentials(userid, password, request)
        return user, "late"


class Visible(SearchFilter):
    def filter_queryset(self, request, queryset, view):
        return super().filter_queryset(request, queryset, view).exclude(name="hidden")


class Pages(PageNumberPagination):
    page_size = 5

    def paginate_queryset(self, queryset, request, view=None):
        return super().paginate_queryset(queryset, request, view)[:1]


class Describing(SimpleMetadata):
    def determine_metadata(self, request, view):
        return {**super().determine_metadata(request, view), "name": "described"}


class HostViewSet(Saving, viewsets.ModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    authentication_classes = []
    permission_classes = [AllowAny]

    def list(self, request, *args, **kwargs):
        return super().list(request, *args, **kwargs)


class ForStaff(viewsets.ModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    authentication_classes = [Late]
    permission_classes = [Staff]


class ForOwners(ForStaff):
    permission_classes = [Owner]


class OthersViewSet(ForStaff):
    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = [Once]
    filter_backends = [Visible]
    pagination_class = Pages
    metadata_class = Describing


router = SimpleRouter()
router.register("hosts", HostViewSet)
router.register("staff", ForStaff, "staff")
router.register("owners", ForOwners, "owners")
router.register("others", OthersViewSet, "others")
GUARDED = [InView, ByMixin, Checking, BelowAwaited, BelowPlain]
urlpatterns = [
    *(path(f"{view.__name__}/", view.as_view()) for view in GUARDED),
    path("marked/", Marked.as_view()),
    path("telling/", Telling.as_view()),
    path("", include(router.urls)),
]


@pytest.mark.parametrize("view", GUARDED)
@pytest.mark.asyncio
async def test_permissions_are_asked_whatever_calls_them(client, view):
    response = await client.get(f"/{view.__name__}/")
    assert response.status_code == 403, response.text


@pytest.mark.asyncio
async def test_mixin_does_its_own_work_too(client):
    assert (await client.get("/marked/")).json() == "marked"


@pytest.mark.asyncio
@pytest.mark.parametrize("form", ["json", "multipart"])
async def test_plain_permission_finds_the_body(client, form):
    made = await client.post("/telling/", {"told": "yes"}, format=form)
    assert (made.status_code, made.json()) == (200, {"told": "yes"})
    assert (await client.post("/telling/", {"told": "no"}, format=form)).status_code == 403


@pytest_asyncio.fixture(loop_scope="session")
async def hidden(transaction):
    return await Host.objects.acreate(name="hidden", cpus=1, memory_bytes=2**30)


@pytest.mark.asyncio
async def test_plain_hooks_of_a_mixin_do_what_they_do_in_drf(client, hidden):
    payload = {"name": "a", "cpus": 1, "memory_bytes": 2**30}
    made = await client.post("/hosts/", payload)
    assert (made.status_code, made.json()["name"]) == (201, "a")
    page = (await client.get("/hosts/")).json()
    assert [one["name"] for one in page["results"]] == ["a"]
    address = f"/hosts/{made.json()['id']}/"
    assert (await client.get(address)).json()["name"] == "a"
    missing = await client.get(f"/hosts/{hidden.pk}/")
    assert (missing.status_code, missing["X-Handled"]) == (404, "yes")
    assert (await client.delete(address)).status_code == 204
    assert await Host.objects.filter(name="a").acount() == 0


@pytest.mark.asyncio
async def test_plain_components_ask_what_is_above_them(client, hidden, django_db_blocker):
    user = await User.objects.acreate(username="ann", password=make_password("secret"))

    def say(password):
        text = b64encode(f"ann:{password}".encode()).decode()
        client.credentials(HTTP_AUTHORIZATION=f"Basic {text}")

    with django_db_blocker.unblock():  # Django's own ORM says which permissions there are: none
        say("secret")
        assert (await client.get("/staff/")).status_code == 200  # reading needs none
        assert (await client.post("/staff/", {})).status_code == 403
        say("wrong")
        assert (await client.get("/staff/")).status_code == 401
        client.credentials()
        assert (await client.get("/staff/")).status_code == 401
        client.force_authenticate(user)
        assert (await client.delete(f"/owners/{hidden.pk}/")).status_code == 403
        assert await Host.objects.filter(name="hidden").aexists()


@pytest.mark.asyncio
async def test_other_plain_components_do_what_they_do_in_drf(client, hidden):
    for name in ("a", "b"):
        await Host.objects.acreate(name=name, cpus=1, memory_bytes=2**30)
    page = (await client.get("/others/")).json()
    assert [one["name"] for one in page["results"]] == ["a"]
    assert page["count"] == 2
    assert (await client.get("/others/")).status_code == 429


@pytest.mark.asyncio
async def test_plain_metadata_adds_to_what_is_above_it(client):
    assert (await client.options("/others/")).json()["name"] == "described"


def test_check_names_each_hook_that_enters_a_thread():
    told = {
        (one.obj.rpartition(".")[2], one.msg.split(" is a plain")[0]) for one in check_threads()
    }
    here = "tests.rest.test_plain_hooks."
    assert {
        ("InView", f"{here}InView.initial"),
        ("ByMixin", f"{here}PlainInitial.initial"),
        ("Checking", f"{here}Checking.check_permissions"),
        ("HostViewSet", f"{here}Saving.perform_create"),
        ("HostViewSet", f"{here}Saving.filter_queryset"),
        ("HostViewSet", f"{here}HostViewSet.list"),
        ("ForStaff", f"{here}Staff.has_permission"),
        ("OthersViewSet", f"{here}Once.allow_request"),
    } <= told
