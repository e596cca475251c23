"""The browsable API: every kind of form, rendered without a thread and without a blocking query."""

import re

import pytest
from django.urls import include, path

from app.fleet.models import Container, Host
from app.rest import serializers, viewsets
from app.rest.decorators import action
from app.rest.permissions import AllowAny, BasePermission
from app.rest.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from app.rest.response import Response
from app.rest.routers import DefaultRouter
from app.rest.views import APIView
from tests.rest.test_models import ContainerSerializer, HostSerializer, ImageSerializer, make

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.urls("tests.rest.test_browsable"),
    pytest.mark.usefixtures("transaction"),
]

HTML = {"accept": "text/html"}


class NotDeleting(BasePermission):
    async def has_permission(self, request, view):
        return request.method != "DELETE"


class HostViewSet(viewsets.ModelViewSet):
    """Machines, *described*."""

    authentication_classes = []
    permission_classes = [NotDeleting]
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    filterset_fields = ["name"]
    search_fields = ["name"]

    @action(detail=True)
    async def drain(self, request, pk=None):
        return Response({"drained": pk})


class ImageViewSet(viewsets.ModelViewSet):
    authentication_classes = []
    permission_classes = [AllowAny]
    queryset = Host.images.rel.related_model.objects.order_by("id")
    serializer_class = ImageSerializer


class NestedSerializer(serializers.ModelSerializer):
    host = HostSerializer(read_only=True)

    class Meta:
        model = Container
        fields = ["id", "name", "host"]


class ContainerViewSet(viewsets.ModelViewSet):
    authentication_classes = []
    permission_classes = [AllowAny]
    queryset = Container.objects.order_by("id")
    serializer_class = ContainerSerializer
    filterset_fields = ["host"]


class SVGRenderer(BaseRenderer):
    media_type = "image/svg+xml"
    format = "svg"

    def render(self, data, accepted_media_type=None, renderer_context=None):
        return f"<svg>{data['boxes']}</svg>"


class Picture(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]
    renderer_classes = [JSONRenderer, SVGRenderer, BrowsableAPIRenderer]
    picture_format = "svg"

    async def get(self, request):
        return Response({"boxes": 3})


router = DefaultRouter()
router.register("hosts", HostViewSet)
router.register("images", ImageViewSet)
router.register("containers", ContainerViewSet)
urlpatterns = [
    path("", include(router.urls)),
    path("picture/", Picture.as_view()),
    path("auth/", include("rest_framework.urls")),
]


async def page(client, address):
    response = await client.get(address, headers=HTML)
    assert response["Content-Type"] == "text/html; charset=utf-8"
    return re.sub(r"\s+", " ", response.text).replace(" >", ">")


async def test_list_page_holds_data_description_and_both_forms(client):
    await make("atlas")
    html = await page(client, "/hosts/")
    assert "atlas" in html
    assert "<em>described</em>" in html or "*described*" in html
    assert 'id="post-object-form"' in html
    assert 'id="post-generic-content-form"' in html


async def test_detail_page_holds_forms_with_the_object_and_no_delete_without_permission(client):
    pk = (await make("atlas")).pk
    html = await page(client, f"/hosts/{pk}/")
    assert 'value="atlas"' in html
    assert 'data-method="PUT"' in html
    assert 'data-method="DELETE"' not in html
    assert 'data-method="OPTIONS"' in html
    assert f"/hosts/{pk}/drain/" in html


async def test_filter_form_offers_search_and_fields(client):
    await make("atlas")
    html = await page(client, "/hosts/")
    assert 'name="search"' in html
    assert 'id="filtersModal"' in html


async def test_relations_offer_their_objects(client):
    owner = await make("atlas")
    for address in ("/images/", "/containers/"):
        html = await page(client, address)
        assert f'<option value="{owner.pk}">atlas</option>' in html
    html = await page(client, f"/containers/?host={owner.pk}")
    assert f'<option value="{owner.pk}" selected>atlas</option>' in html


async def test_refused_form_is_shown_again_with_its_errors(client):
    response = await client.post("/hosts/", {"name": "atlas", "cpus": "many"}, headers=HTML)
    assert response.status_code == 400
    assert "A valid number is required." in response.text
    assert 'value="atlas"' in response.text


async def test_posted_form_creates(client):
    response = await client.post(
        "/hosts/", "name=atlas&cpus=4&memory_bytes=1024&labels={}", headers=HTML,
        content_type="application/x-www-form-urlencoded",
    )  # fmt: skip
    assert response.status_code == 201, response.text
    assert (await Host.objects.aget()).name == "atlas"


async def test_pages_are_numbered(client):
    for number in range(60):
        await make(f"host-{number}")
    html = await page(client, "/hosts/")
    assert "?page=2" in html


async def test_picture_of_a_view_stands_in_its_page(client):
    assert '<img src="/picture/?format=svg"' in await page(client, "/picture/")
    response = await client.get("/picture/?format=svg")
    assert response.text == "<svg>3</svg>"
    assert response["Content-Type"].startswith("image/svg+xml")
    assert (await client.get("/picture/?format=json")).json() == {"boxes": 3}


async def test_format_that_nobody_renders_is_not_found(client):
    assert (await client.get("/picture/?format=pdf")).status_code == 404


async def test_page_of_what_is_not_there_still_renders(client):
    response = await client.get("/hosts/0/", headers=HTML)
    assert response.status_code == 404
    assert "No Host matches" in response.text


async def test_options_page_renders(client):
    response = await client.options("/hosts/", headers=HTML)
    assert response.status_code == 200
    assert "Host List" in response.text
