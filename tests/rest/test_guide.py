"""DRF's API guide, page by page: what it shows, written with `await`, on `app.rest`.

`docs/rest.md` has the pages in a table, each with the tests that show it; some are here. The
imports of the guide's own examples stand in `NAMES`.
"""

import importlib
import re

import httpx
import pytest
from django.test import AsyncRequestFactory
from django.urls import include, path, re_path

from app import db
from app.fleet.models import Container, Host
from app.rest import serializers, viewsets
from app.rest.decorators import action, api_view, authentication_classes, permission_classes
from app.rest.exceptions import APIException, ValidationError, exception_handler
from app.rest.generics import ListAPIView, ListCreateAPIView, RetrieveAPIView
from app.rest.pagination import CursorPagination, LimitOffsetPagination, PageNumberPagination
from app.rest.permissions import AllowAny
from app.rest.renderers import JSONRenderer
from app.rest.response import Response
from app.rest.reverse import reverse
from app.rest.routers import SimpleRouter
from app.rest.settings import api_settings
from app.rest.test import (
    APIClient,
    APIRequestFactory,
    RequestsClient,
    URLPatternsTestCase,
    force_authenticate,
)
from app.rest.urlpatterns import format_suffix_patterns
from app.rest.views import APIView
from tests.docs.snippets import ROOT
from tests.rest.test_models import make

pytestmark = [pytest.mark.urls("tests.rest.test_guide")]

# What the examples of the guide import, module by module, as of DRF 3.18.
NAMES = {
    "authentication": "BaseAuthentication BasicAuthentication SessionAuthentication "
    "TokenAuthentication RemoteUserAuthentication",
    "authtoken.views": "ObtainAuthToken obtain_auth_token",
    "decorators": "action api_view authentication_classes parser_classes permission_classes "
    "renderer_classes schema throttle_classes throttle_scope",
    "exceptions": "APIException ErrorDetail ValidationError bad_request server_error",
    "filters": "BaseFilterBackend OrderingFilter SearchFilter",
    "generics": "GenericAPIView ListAPIView ListCreateAPIView RetrieveAPIView "
    "RetrieveUpdateDestroyAPIView get_object_or_404",
    "metadata": "BaseMetadata SimpleMetadata",
    "mixins": "CreateModelMixin DestroyModelMixin ListModelMixin RetrieveModelMixin "
    "UpdateModelMixin",
    "negotiation": "BaseContentNegotiation DefaultContentNegotiation",
    "pagination": "BasePagination CursorPagination LimitOffsetPagination PageNumberPagination",
    "parsers": "BaseParser FileUploadParser FormParser JSONParser MultiPartParser",
    "permissions": "SAFE_METHODS AllowAny BasePermission DjangoModelPermissions "
    "DjangoModelPermissionsOrAnonReadOnly DjangoObjectPermissions IsAdminUser IsAuthenticated "
    "IsAuthenticatedOrReadOnly",
    "relations": "HyperlinkedIdentityField HyperlinkedRelatedField ManyRelatedField "
    "PrimaryKeyRelatedField RelatedField SlugRelatedField StringRelatedField",
    "renderers": "AdminRenderer BaseRenderer BrowsableAPIRenderer HTMLFormRenderer JSONRenderer "
    "MultiPartRenderer StaticHTMLRenderer TemplateHTMLRenderer",
    "request": "Request",
    "response": "Response",
    "reverse": "reverse reverse_lazy",
    "routers": "BaseRouter DefaultRouter DynamicRoute Route SimpleRouter",
    "serializers": "BaseSerializer CharField EmailField HiddenField HyperlinkedModelSerializer "
    "ListSerializer ModelSerializer ReadOnlyField Serializer SerializerMethodField",
    "settings": "api_settings",
    "status": "HTTP_200_OK HTTP_201_CREATED HTTP_404_NOT_FOUND is_success is_client_error",
    "test": "APIClient APILiveServerTestCase APIRequestFactory APISimpleTestCase APITestCase "
    "APITransactionTestCase RequestsClient URLPatternsTestCase force_authenticate",
    "throttling": "AnonRateThrottle BaseThrottle ScopedRateThrottle SimpleRateThrottle "
    "UserRateThrottle",
    "urlpatterns": "format_suffix_patterns",
    "validators": "UniqueForDateValidator UniqueForMonthValidator UniqueForYearValidator "
    "UniqueTogetherValidator UniqueValidator",
    "versioning": "AcceptHeaderVersioning BaseVersioning HostNameVersioning NamespaceVersioning "
    "QueryParameterVersioning URLPathVersioning",
    "views": "APIView exception_handler",
    "viewsets": "GenericViewSet ModelViewSet ReadOnlyModelViewSet ViewSet ViewSetMixin",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_of_the_guide_are_here(module):
    ours = importlib.import_module(f"app.rest.{module}")
    assert [name for name in NAMES[module].split() if not hasattr(ours, name)] == []


class Open:
    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = []


class HostSerializer(serializers.ModelSerializer):
    class Meta:
        model = Host
        fields = ["id", "name", "cpus", "memory_bytes"]


class ContainerSerializer(serializers.ModelSerializer):
    class Meta:
        model = Container
        fields = ["id", "name", "host"]


class HostList(Open, ListCreateAPIView):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer


class ByCursor(CursorPagination):
    page_size = 2
    ordering = "-id"


class ByPage(PageNumberPagination):
    page_size = 2
    page_query_param = "seite"


class ByOffset(LimitOffsetPagination):
    default_limit = 2
    max_limit = 3


class Enveloped(PageNumberPagination):
    """The guide's custom style."""

    page_size = 2

    def get_paginated_response(self, data):
        links = {"next": self.get_next_link(), "previous": self.get_previous_link()}
        return Response({"links": links, "count": self.page.paginator.count, "results": data})


def paged(name, pagination):
    return type(name, (HostList,), {"pagination_class": pagination})


@api_view(["GET"])
@authentication_classes([])
@permission_classes([AllowAny])
async def suffixed(request, format=None):  # noqa: A002 - DRF's name
    return Response({"format": format, "address": reverse("suffixed", request=request)})


class Text(JSONRenderer):
    media_type = "text/plain"
    format = "txt"


class Suffixed(Open, APIView):
    renderer_classes = [JSONRenderer, Text]

    async def get(self, request, pk, format=None):  # noqa: A002 - DRF's name
        return Response({"pk": pk, "format": format})


# Exceptions


class Teapot(APIException):
    status_code = 418
    default_detail = "I am a teapot."
    default_code = "teapot"


async def async_handler(exc, context):
    response = exception_handler(exc, context)
    if response is not None:
        hosts = await Host.objects.acount()
        response.data = {
            "status": response.status_code,
            "hosts": hosts,
            "kwargs": context["kwargs"],
        }
    return response


def plain_handler(exc, context):
    response = exception_handler(exc, context)
    if response is not None:
        response.data["status_code"] = response.status_code
    return response


class Failing(Open, APIView):
    async def get(self, request, **kwargs):
        raise Teapot

    async def post(self, request, **kwargs):
        async with db.atomic():
            await make("half")
            raise ValidationError({"name": ["No."]})


class FailingAsync(Failing):
    def get_exception_handler(self):
        return async_handler


class FailingPlain(Failing):
    def get_exception_handler(self):
        return plain_handler


class Broken(Open, APIView):
    async def get(self, request):
        raise RuntimeError("broken")


# Routers


class HostViewSet(Open, viewsets.ModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    lookup_field = "name"
    lookup_value_regex = "[a-z]+"

    @action(detail=True, url_path="rename/(?P<new>[a-z]+)", methods=["post", "delete"])
    async def rename(self, request, name=None, new=None):
        return Response([request.method, name, new, self.action, self.detail])

    @rename.mapping.put
    async def put_name(self, request, name=None, new=None):
        return Response(["mapped", self.action, self.reverse_action("rename", args=[name, "b"])])


class ContainerViewSet(Open, viewsets.ModelViewSet):
    serializer_class = ContainerSerializer

    def get_queryset(self):
        return Container.objects.filter(host__name=self.kwargs["host_name"]).order_by("id")


class NestedRouter(SimpleRouter):
    """As drf-nested-routers does it: the parent's lookup becomes a part of each route."""

    def __init__(self, parent, prefix, lookup):
        (viewset,) = [one for name, one, _ in parent.registry if name == prefix]
        pattern = parent.get_lookup_regex(viewset, f"{lookup}_")
        super().__init__()
        self.routes = [
            route._replace(url=route.url.replace("^", f"^{prefix}/{pattern}/", 1))
            for route in self.routes
        ]


router = SimpleRouter()
router.register("hosts", HostViewSet)
router.register(r"by-hand/(?P<host_name>[^/.]+)/containers", ContainerViewSet, "by-hand")
nested = NestedRouter(router, "hosts", lookup="host")
nested.register("containers", ContainerViewSet, basename="host-containers")

urlpatterns = [
    *format_suffix_patterns(
        [
            path("suffixed/", suffixed, name="suffixed"),
            path("suffixed/<int:pk>/", Suffixed.as_view()),
        ],
        allowed=["json", "txt"],
    ),
    path("cursor/", paged("CursorList", ByCursor).as_view()),
    path("page/", paged("PageList", ByPage).as_view()),
    path("offset/", paged("OffsetList", ByOffset).as_view()),
    path("enveloped/", paged("EnvelopedList", Enveloped).as_view()),
    path("unpaged/", paged("UnpagedList", None).as_view()),
    path("failing/", Failing.as_view()),
    re_path("failing-async/(?P<a>[0-9]+)/", FailingAsync.as_view()),
    path("failing-plain/", FailingPlain.as_view()),
    path("broken/", Broken.as_view()),
    path("routed/", include(router.urls)),
    path("routed/", include(nested.urls)),
]


async def results(client, url):
    response = await client.get(url)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestPagination:
    async def test_cursor_is_stable_under_inserts_and_deletes(self, client, hops):
        made = [await make(f"h{n}") for n in range(6)]
        first = await results(client, "/cursor/")
        await make("later")
        await made[5].adelete()
        second = await results(client, first["next"])
        await make("latest")
        third = await results(client, second["next"])
        seen = [row["name"] for page in (first, second, third) for row in page["results"]]
        assert seen == [f"h{n}" for n in (5, 4, 3, 2, 1, 0)]
        assert third["next"] is None
        back = await results(client, third["previous"])
        assert [row["name"] for row in back["results"]] == ["h3", "h2"]
        assert not hops

    async def test_pages_by_number_and_by_offset(self, client, hops):
        for n in range(5):
            await make(f"h{n}")
        page = await results(client, "/page/?seite=2")
        assert ([row["name"] for row in page["results"]], page["count"]) == (["h2", "h3"], 5)
        assert page["next"].endswith("?seite=3")
        assert (await results(client, "/page/?seite=last"))["results"][0]["name"] == "h4"
        assert (await client.get("/page/?seite=9")).status_code == 404
        page = await results(client, "/offset/?limit=9&offset=1")
        assert [row["name"] for row in page["results"]] == ["h1", "h2", "h3"]
        assert (await results(client, "/enveloped/"))["links"]["next"].endswith("?page=2")
        assert len(await results(client, "/unpaged/")) == 5
        assert not hops


@pytest.mark.asyncio
class TestSuffixesAndReversing:
    async def test_suffix_chooses_the_format(self, client, hops):
        assert (await results(client, "/suffixed/"))["format"] is None
        assert (await results(client, "/suffixed.json"))["format"] == "json"
        response = await client.get("/suffixed/7.txt")
        assert response["Content-Type"].startswith("text/plain")
        assert response.json() == {"pk": 7, "format": "txt"}
        assert (await client.get("/suffixed/7.xml")).status_code == 404
        assert not hops

    async def test_reversed_address_is_absolute(self, client):
        address = (await results(client, "/suffixed/"))["address"]
        assert address == "http://testserver/suffixed/"


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestExceptions:
    async def test_exception_of_ones_own_has_its_status(self, client):
        response = await client.get("/failing/")
        assert (response.status_code, response.json()) == (418, {"detail": "I am a teapot."})

    async def test_handler_may_be_a_coroutine(self, client, hops):
        await make("a")
        response = await client.get("/failing-async/7/")
        assert response.json() == {"status": 418, "hosts": 1, "kwargs": {"a": "7"}}
        assert not hops

    @pytest.mark.hops("a plain handler that app.rest does not know")
    async def test_handler_may_be_plain(self, client):
        response = await client.get("/failing-plain/")
        assert response.json() == {"detail": "I am a teapot.", "status_code": 418}

    async def test_error_rolls_back_what_its_transaction_wrote(self, client, hops):
        response = await client.post("/failing/", {})
        assert (response.status_code, response.json()) == (400, {"name": ["No."]})
        assert await Host.objects.acount() == 0
        assert not hops

    @pytest.mark.hops("a fault of the server is logged in a thread")
    async def test_fault_of_the_server_is_a_500_without_a_trace(self, client):
        response = await client.get("/broken/")
        assert response.status_code == 500
        assert b"broken" not in response.content

    async def test_errors_can_be_inspected(self):
        error = ValidationError({"name": ["No."]}, code="taken")
        assert error.get_codes() == {"name": ["taken"]}
        assert error.get_full_details() == {"name": [{"message": "No.", "code": "taken"}]}


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestRouters:
    async def test_lookup_and_extra_actions(self, client, hops):
        await make("a")
        assert (await results(client, "/routed/hosts/a/"))["name"] == "a"
        assert (await client.get("/routed/hosts/A/")).status_code == 404
        url = "/routed/hosts/a/rename/b/"
        assert (await client.post(url)).json() == ["POST", "a", "b", "rename", True]
        assert (await client.delete(url)).json()[0] == "DELETE"
        assert (await client.put(url)).json() == ["mapped", "put_name", f"http://testserver{url}"]
        assert not hops

    @pytest.mark.parametrize("start", ["by-hand", "hosts"])
    async def test_nested_routers_pass_the_parents_key(self, client, hops, start):
        a, b = await make("a"), await make("b")
        for host in (a, b):
            await Container.objects.acreate(host=host, engine_id=host.name, name=f"in-{host.name}")
        page = await results(client, f"/routed/{start}/a/containers/")
        assert [row["name"] for row in page["results"]] == ["in-a"]
        one = page["results"][0]["id"]
        assert (await client.get(f"/routed/{start}/a/containers/{one}/")).status_code == 200
        assert (await client.get(f"/routed/{start}/b/containers/{one}/")).status_code == 404
        assert not hops


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestTesting:
    async def test_factory_makes_requests_for_a_view(self):
        view = HostList.as_view()
        request = APIRequestFactory().post(
            "/", {"name": "a", "cpus": 1, "memory_bytes": 1}, format="json"
        )
        response = await view(request)
        assert response.status_code == 201, response.data
        assert response.data["name"] == "a"

    async def test_request_is_authenticated_by_force(self):
        class Who(APIView):
            async def get(self, request):
                return Response([str(request.user), request.auth])

        Who.permission_classes = [AllowAny]
        request = APIRequestFactory().get("/")
        force_authenticate(request, user="olivia", token="secret")
        assert (await Who.as_view()(request)).data == ["olivia", "secret"]
        assert (await Who.as_view()(AsyncRequestFactory().get("/"))).data[1] is None

    async def test_client_keeps_credentials_and_forgets_them(self, client):
        client.credentials(HTTP_AUTHORIZATION="Token x")
        assert client._credentials
        client.credentials()
        assert not client._credentials
        assert isinstance(client, APIClient)

    async def test_requests_client_takes_whole_addresses(self):
        await make("a")
        async with RequestsClient() as client:
            response = await client.get("http://testserver/unpaged/")
        assert isinstance(response, httpx.Response)
        assert (response.status_code, response.json()[0]["name"]) == (200, "a")


class TestPatterns(URLPatternsTestCase):
    """URLs of a test's own, as the guide has it."""

    urlpatterns = [path("only-here/", suffixed, name="only-here")]

    def test_address_is_there(self):
        assert reverse("only-here") == "/only-here/"


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestSettings:
    async def test_keys_of_drf_are_read_when_they_change(self, client, settings):
        await make("a")
        settings.REST_FRAMEWORK = {
            **settings.REST_FRAMEWORK, "NON_FIELD_ERRORS_KEY": "all", "PAGE_SIZE": 3,
            "COERCE_DECIMAL_TO_STRING": False, "URL_FORMAT_OVERRIDE": "art",
        }  # fmt: skip
        assert (api_settings.PAGE_SIZE, api_settings.NON_FIELD_ERRORS_KEY) == (3, "all")
        response = await client.post("/unpaged/", ["text"])
        assert response.json() == {"all": ["Invalid data. Expected a dictionary, but got list."]}

    async def test_generic_views_take_a_lookup(self):
        class ByName(Open, RetrieveAPIView):
            queryset = Host.objects.all()
            serializer_class = HostSerializer
            lookup_field = "name"
            lookup_url_kwarg = "who"

        await make("a")
        view = ByName.as_view()
        assert (await view(APIRequestFactory().get("/"), who="a")).data["name"] == "a"
        assert (await view(APIRequestFactory().get("/"), who="b")).status_code == 404
        assert isinstance(ListAPIView, type)


def test_every_page_of_the_guide_is_in_the_table_of_the_docs():
    text = (ROOT / "docs/rest.md").read_text()
    rows = dict(re.findall(r"^\| ([A-Z][A-Za-z -]+) \| .*? \| (.*?) \|$", text, re.MULTILINE))
    assert len(rows) >= 28
    for page, tests in rows.items():
        files = re.findall(r"`(tests/[\w/.]+)`", tests)
        assert files, f"nothing shows {page}"
        assert all((ROOT / file).exists() for file in files), page
