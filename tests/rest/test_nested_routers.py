"""Routers as users nest them: with drf-nested-routers, whose mixin is written for DRF."""

import pytest
import pytest_asyncio
from django.urls import include, path
from rest_framework_nested.routers import NestedSimpleRouter
from rest_framework_nested.viewsets import NestedViewSetMixin

from app.rest import serializers, viewsets
from app.rest.permissions import AllowAny
from app.rest.routers import SimpleRouter
from tests.conformance.db.models import Author, Book, Publisher

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.urls(__name__)]


class Open:
    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = []


class PublisherSerializer(serializers.ModelSerializer):
    class Meta:
        model = Publisher
        fields = ["id", "name", "country"]


class BookSerializer(serializers.ModelSerializer):
    class Meta:
        model = Book
        fields = ["id", "title", "price", "pages", "published", "publisher", "authors"]


class Publishers(Open, viewsets.ModelViewSet):
    queryset = Publisher.objects.order_by("id")
    serializer_class = PublisherSerializer


class Books(NestedViewSetMixin, Open, viewsets.ModelViewSet):
    queryset = Book.objects.order_by("id")
    serializer_class = BookSerializer
    parent_lookup_kwargs = {"publisher_pk": "publisher__pk"}


router = SimpleRouter()
router.register("publishers", Publishers)
nested = NestedSimpleRouter(router, "publishers", lookup="publisher")
nested.register("books", Books, basename="publisher-books")
urlpatterns = [path("", include(router.urls)), path("", include(nested.urls))]


@pytest_asyncio.fixture(loop_scope="session")
async def shelves(transaction):
    """Two publishers, each with a book, and who wrote both."""
    author = await Author.objects.acreate(name="Ada")
    made = []
    for name in ("north", "south"):
        publisher = await Publisher.objects.acreate(name=name, country="DE")
        book = await Book.objects.acreate(
            title=name, price="1.00", pages=1, published="2020-01-01", publisher=publisher
        )
        made.append((publisher, book))
    return author, made


@pytest.mark.hops("the mixin's initial() is plain")
async def test_books_are_those_of_their_publisher(client, shelves):
    _, ((north, book), (_, other)) = shelves
    page = (await client.get(f"/publishers/{north.pk}/books/")).json()
    assert [one["id"] for one in page["results"]] == [book.pk]
    assert (await client.get(f"/publishers/{north.pk}/books/{book.pk}/")).status_code == 200
    assert (await client.get(f"/publishers/{north.pk}/books/{other.pk}/")).status_code == 404


@pytest.mark.hops("the mixin's initial() is plain")
@pytest.mark.parametrize("form", ["json", "multipart"])
async def test_what_is_written_belongs_to_the_publisher_of_the_address(client, shelves, form):
    author, ((north, book), (south, _)) = shelves
    data = {
        "title": "New", "price": "1.50", "pages": 3, "published": "2020-01-01",
        "authors": [author.pk], "publisher": north.pk,
    }  # fmt: skip
    made = await client.post(f"/publishers/{south.pk}/books/", data, format=form)
    assert (made.status_code, made.json()["publisher"]) == (201, south.pk), made.json()
    address = f"/publishers/{north.pk}/books/{book.pk}/"
    changed = await client.patch(address, {"title": "Newer"}, format=form)
    assert (changed.status_code, changed.json()["title"]) == (200, "Newer"), changed.json()
    assert changed.json()["publisher"] == north.pk
    assert (await client.delete(address)).status_code == 204
    assert (await client.get(address)).status_code == 404
