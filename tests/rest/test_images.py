"""ImageField: what is uploaded is looked at by Pillow, in a thread; the answers are DRF's.

Pillow is not among Stowage's dependencies, but among those of its tests: whoever needs it is told.
"""

import asyncio
import gc
import json
import os
import struct
import sys
import zlib
from io import BytesIO

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models
from django.test import RequestFactory
from django.urls import path
from PIL import Image
from rest_framework import parsers as drf_parsers
from rest_framework import serializers as drf
from rest_framework import views as drf_views
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response as DRFResponse

from app.rest import generics, serializers
from app.rest.parsers import MultiPartParser
from app.rest.permissions import AllowAny
from app.rest.response import Response
from app.rest.views import APIView
from tests import guards
from tests.conformance.db.models import Picture

pytestmark = [
    pytest.mark.urls("tests.rest.test_images"),
    # Pillow leaves the file of a broken image to be closed with its last reference.
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]

IN_THREAD = pytest.mark.hops("an image is looked at, and stored, by a thread")


def image(kind="PNG", size=(3, 2), mode="RGB", content=None):
    made = Image.new(mode, size) if content is None else Image.frombytes(mode, size, content)
    file = BytesIO()
    made.save(file, kind)
    return file.getvalue()


def chunk(kind, content):
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def claiming(width, height):
    """A PNG of a few bytes that says how large it is."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def evil():
    """A PNG that takes Pillow a fifth of a second."""
    return image().replace(chunk(b"IEND", b""), chunk(b"tEXt", b"a\0b") * 120_000)


ON_DISK = image(size=(1000, 1000), content=os.urandom(3_000_000))
GOOD = {
    "a.png": image(),
    "a.jpg": image("JPEG"),
    "a.gif": image("GIF", mode="P"),
    "png-named.jpg": image(),
    "huge.png": image(size=(9000, 9000), mode="1"),
    "disk.png": ON_DISK,
}
BAD = {
    "text.png": b"This is no image.",
    "cut.png": image()[:20],
    "flipped.png": image().replace(b"IDAT", b"IDAT\xff"),
    "flipped-on-disk.png": ON_DISK[:5000] + b"\0\0\0\0" + ON_DISK[5004:],
    "bomb.png": claiming(30_000, 30_000),
    "empty.png": b"",
    "program.exe": image(),
    "no-extension": image(),
    f"{'long' * 6}.png": image(),
    "evil.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}


def serializer_of(kit):
    class PhotoSerializer(kit.Serializer):
        photo = kit.ImageField(max_length=20)
        more = kit.ListField(child=kit.ImageField(), required=False)

    return PhotoSerializer


class Overriding(serializer_of(serializers)):
    def to_internal_value(self, data):
        return super().to_internal_value(data)


def told(data):
    photos = [data["photo"], *data.get("more", [])]
    return [[one.name, one.image.size, one.content_type, len(one.read())] for one in photos]


class Photos(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = []
    parser_classes = [MultiPartParser]

    async def post(self, request):
        serializer = serializer_of(serializers)(data=request.data)
        await serializer.ais_valid(raise_exception=True)
        return Response(await asyncio.to_thread(told, serializer.validated_data))


class LimitedPhotos(Photos):
    class Small(MultiPartParser):
        max_bytes = 2_600_000

    parser_classes = [Small]


class DRFPhotos(drf_views.APIView):
    authentication_classes = []
    permission_classes = []
    throttle_classes = []
    parser_classes = [drf_parsers.MultiPartParser]

    def post(self, request):
        serializer = serializer_of(drf)(data=request.data)
        serializer.is_valid(raise_exception=True)
        return DRFResponse(told(serializer.validated_data))


class PictureSerializer(serializers.ModelSerializer):
    class Meta:
        model = Picture
        fields = ["id", "photo", "width", "height"]


class Pictures(generics.CreateAPIView, generics.RetrieveUpdateAPIView):
    authentication_classes = []
    permission_classes = [AllowAny]
    parser_classes = [MultiPartParser]
    queryset = Picture.objects.order_by("id")
    serializer_class = PictureSerializer


urlpatterns = [
    path("photos/", Photos.as_view()),
    path("limited/", LimitedPhotos.as_view()),
    path("pictures/", Pictures.as_view()),
    path("pictures/<int:pk>/", Pictures.as_view()),
]


def files(**named):
    return {
        field: SimpleUploadedFile(name, content, "image/png")
        for field, (name, content) in named.items()
    }


def drfs_answer(**named):
    request = RequestFactory().post("/photos/", files(**named))
    response = DRFPhotos.as_view()(request)
    answer = response.status_code, json.loads(JSONRenderer().render(response.data))
    request.close()  # the uploads, as Django's handler does
    gc.collect()  # the file of a broken image, which Pillow leaves open
    return answer


@IN_THREAD
@pytest.mark.asyncio
@pytest.mark.parametrize("name", [*GOOD, *BAD])
async def test_upload_is_answered_as_by_drf(client, name):
    content = (GOOD | BAD)[name]
    response = await client.post("/photos/", files(photo=(name, content)), format="multipart")
    expected = await asyncio.to_thread(drfs_answer, photo=(name, content))
    assert (response.status_code, response.json()) == expected
    assert response.status_code == (200 if name in GOOD else 400)
    assert name in GOOD or list(response.json()) == ["photo"]


@IN_THREAD
@pytest.mark.asyncio
async def test_list_of_images_is_looked_at_too(client):
    good, bad = ("a.png", GOOD["a.png"]), ("text.png", BAD["text.png"])
    for more, status in ((good, 200), (bad, 400)):
        named = {"photo": good, "more": more}
        response = await client.post("/photos/", files(**named), format="multipart")
        assert response.status_code == status, response.json()
        expected = await asyncio.to_thread(drfs_answer, **named)
        assert (response.status_code, response.json()) == expected


@IN_THREAD
@pytest.mark.asyncio
async def test_upload_over_the_limit_is_refused_before_it_is_looked_at(client, hops):
    data = files(photo=("disk.png", ON_DISK))
    response = await client.post("/limited/", data, format="multipart")
    assert response.status_code == 413
    assert "2600000" in response.json()["detail"]
    assert not hops


@IN_THREAD
@pytest.mark.asyncio
@pytest.mark.parametrize("is_overridden", [False, True])
@pytest.mark.parametrize("content", [evil(), ON_DISK[:2_000_000], claiming(1, 1)])
async def test_no_image_holds_the_loop(content, is_overridden):
    file = SimpleUploadedFile("a.png", content)
    kind = Overriding if is_overridden else serializer_of(serializers)
    serializer = kind(data={"photo": file, "more": [file]})
    gc.freeze()
    try:
        with guards.no_stalls(0.02):
            await asyncio.create_task(serializer.ais_valid())
    finally:
        gc.unfreeze()


@pytest.mark.asyncio
async def test_no_image_is_no_hop(client, hops):
    response = await client.post("/photos/", {"a": "b"}, format="multipart")
    assert response.json() == {"photo": ["No file was submitted."]}
    assert not hops


@pytest.fixture
def storage(tmp_path, monkeypatch):
    storage = FileSystemStorage(location=tmp_path, base_url="/media/")
    monkeypatch.setattr(Picture._meta.get_field("photo"), "storage", storage)
    return storage


@IN_THREAD
@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction", "storage")
async def test_stored_image_keeps_its_size_and_is_not_opened_again(client):
    data = files(photo=("a.png", image(size=(3, 2))))
    made = await client.post("/pictures/", data, format="multipart")
    assert made.status_code == 201, made.json()
    assert made.json() | {"id": 0} == {
        "id": 0, "photo": "http://testserver/media/a.png", "width": 3, "height": 2,
    }  # fmt: skip
    url = f"/pictures/{made.json()['id']}/"
    data = files(photo=("b.png", image(size=(5, 7))))
    changed = await client.put(url, data, format="multipart")
    assert (changed.status_code, changed.json()["width"], changed.json()["height"]) == (200, 5, 7)
    assert (await client.get(url)).json() == changed.json()
    stored = await Picture.objects.aget(pk=made.json()["id"])
    assert (stored.photo.name, stored.width, stored.height) == ("b.png", 5, 7)


def field(kit=serializers):
    made = kit.ImageField(max_length=5)
    made.bind("photo", None)
    return made


def test_without_pillow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImproperlyConfigured, match=r"`photo` needs Pillow.*pip install pillow"):
        field().run_validation(SimpleUploadedFile("a.gif", GOOD["a.gif"]))


@pytest.mark.parametrize(
    "file", [None, "text", SimpleUploadedFile("a.gif", b""), SimpleUploadedFile("long.gif", b"a")]
)
def test_what_is_no_file_is_refused_before_pillow_is_asked(file):
    messages = []
    for kit in (drf, serializers):
        with pytest.raises(serializers.ValidationError) as error:
            field(kit).run_validation(file)
        messages.append(error.value.detail)
    assert messages[0] == messages[1]


def test_models_image_becomes_this_field():
    mapping = serializers.ModelSerializer.serializer_field_mapping
    assert mapping[models.ImageField] is serializers.ImageField
