"""DRF's five versioning schemes, awaited: a request's version, and addresses that keep it."""

import pytest
from django.urls import include, path, re_path

from app.fleet.models import Host
from app.rest import serializers, versioning, viewsets
from app.rest.permissions import AllowAny
from app.rest.renderers import JSONRenderer
from app.rest.response import Response
from app.rest.reverse import reverse
from app.rest.test import APIRequestFactory
from app.rest.views import APIView
from tests.rest.test_models import make

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.urls("tests.rest.test_versioning"),
    pytest.mark.usefixtures("transaction"),
]


class Limited:
    default_version = "1.0"
    allowed_versions = ("1.0", "2.0")


class Accept(Limited, versioning.AcceptHeaderVersioning):
    pass


class Path(Limited, versioning.URLPathVersioning):
    pass


class Namespace(versioning.NamespaceVersioning):
    default_version = None
    allowed_versions = ("v1", "v2")


class HostName(versioning.HostNameVersioning):
    default_version = "v1"
    allowed_versions = ("v1", "v2")


class Query(Limited, versioning.QueryParameterVersioning):
    pass


class XVersion(versioning.BaseVersioning):
    """The guide's example."""

    def determine_version(self, request, *args, **kwargs):
        return request.META.get("HTTP_X_API_VERSION", None)


class Vendor(JSONRenderer):
    media_type = "application/vnd.stowage+json"


class Open:
    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = []


class HostSerializer(serializers.HyperlinkedModelSerializer):
    class Meta:
        model = Host
        fields = ["url", "name"]
        extra_kwargs = {"url": {"view_name": "host-detail"}}


class WideHostSerializer(HostSerializer):
    class Meta(HostSerializer.Meta):
        fields = ["url", "name", "cpus"]


def views_of(scheme):
    """A view that tells its version, a viewset that varies with it, a view of containers."""

    class Version(Open, APIView):
        versioning_class = scheme

        async def get(self, request, *args, **kwargs):
            address = reverse("version", request=request)
            name = type(request.versioning_scheme).__name__
            return Response({"version": request.version, "scheme": name, "address": address})

    class Hosts(Open, viewsets.ModelViewSet):
        versioning_class = scheme
        queryset = Host.objects.order_by("id")
        renderer_classes = [JSONRenderer, Vendor]

        def get_serializer_class(self):
            newer = self.request.version in {"2.0", "v2"}
            return WideHostSerializer if newer else HostSerializer

    return [
        path("version/", Version.as_view(), name="version"),
        path("hosts/", Hosts.as_view({"get": "list", "post": "create"}), name="host-list"),
        path("hosts/<int:pk>/", Hosts.as_view({"get": "retrieve"}), name="host-detail"),
    ]


urlpatterns = [
    path("accept/", include(views_of(Accept))),
    path("query/", include(views_of(Query))),
    path("name/", include(views_of(HostName))),
    path("custom/", include(views_of(XVersion))),
    re_path(r"^path/(?P<version>[^/]+)/", include(views_of(Path))),
    path("space/v1/", include((views_of(Namespace), "v1"), namespace="v1")),
    path("space/v2/", include((views_of(Namespace), "v2"), namespace="v2")),
    path("space/v3/", include((views_of(Namespace), "v3"), namespace="v3")),
]

# The scheme, an address, headers; then the version, or the status of a refusal.
REQUESTS = [
    (Accept, "/accept/", {}, "1.0"),
    (Accept, "/accept/", {"accept": "application/json; version=2.0"}, "2.0"),
    (Accept, "/accept/", {"accept": "application/json; version=3.0"}, 406),
    (Path, "/path/1.0/", {}, "1.0"),
    (Path, "/path/2.0/", {}, "2.0"),
    (Path, "/path/3.0/", {}, 404),
    (Namespace, "/space/v1/", {}, "v1"),
    (Namespace, "/space/v2/", {}, "v2"),
    (Namespace, "/space/v3/", {}, 404),
    (HostName, "/name/", {"host": "v2.example.org"}, "v2"),
    (HostName, "/name/", {"host": "v9.example.org"}, 404),
    (Query, "/query/", {}, "1.0"),
    (Query, "/query/?version=2.0", {}, "2.0"),
    (Query, "/query/?version=3.0", {}, 404),
    (XVersion, "/custom/", {"x-api-version": "7"}, "7"),
]


@pytest.fixture(autouse=True)
def hosts(settings):
    settings.ALLOWED_HOSTS = ["*"]


def at(url, rest):
    start, mark, query = url.partition("?")
    return f"{start}{rest}{mark}{query}"


@pytest.mark.parametrize(("scheme", "url", "headers", "expected"), REQUESTS)
async def test_version_is_read_or_refused(  # noqa: PLR0917 - a row of the table
    client, hops, scheme, url, headers, expected
):
    response = await client.get(at(url, "version/"), headers=headers)
    if isinstance(expected, int):
        assert response.status_code == expected
        assert "version" in response.json()["detail"].lower()
    else:
        assert response.status_code == 200, response.text
        assert response.json()["version"] == expected
        assert response.json()["scheme"] == scheme.__name__
    assert not hops


@pytest.mark.parametrize(
    ("url", "headers", "address"),
    [
        ("/path/2.0/", {}, "http://testserver/path/2.0/"),
        ("/space/v2/", {}, "http://testserver/space/v2/"),
        ("/query/?version=2.0", {}, "http://testserver/{}?version=2.0"),
        ("/name/", {"host": "v2.example.org"}, "http://v2.example.org/"),
    ],
)
async def test_addresses_and_hyperlinks_keep_the_version(client, hops, url, headers, address):
    made = await make("a")
    told = (await client.get(at(url, "version/"), headers=headers)).json()["address"]
    (row,) = (await client.get(at(url, "hosts/"), headers=headers)).json()["results"]
    start, _, query = address.partition("{}")
    for one in (told, row["url"]):
        assert one.startswith(start)
        assert one.endswith(query)
    assert (row["name"], row["cpus"]) == ("a", 4.0), "what version 2 answers"
    detail = await client.get(row["url"].replace("http://v2.example.org", ""), headers=headers)
    assert detail.status_code in {200, 404}, detail.text
    assert f"/{made.pk}/" in row["url"]
    assert not hops


async def test_version_in_accept_chooses_the_answer_of_a_vendors_type(client):
    await make("a")
    accept = {"accept": "application/vnd.stowage+json; version=2.0"}
    response = await client.get("/accept/hosts/", headers=accept)
    assert response["Content-Type"].startswith("application/vnd.stowage+json")
    assert response.json()["results"][0]["cpus"] == 4.0


async def test_view_without_a_scheme_has_no_version(client):
    class Plain(Open, APIView):
        async def get(self, request):
            return Response([request.version, request.versioning_scheme])

    response = await Plain.as_view()(APIRequestFactory().get("/"))
    assert response.data == [None, None]
