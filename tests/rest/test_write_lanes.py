"""Creating with and without shortcuts: the same answer, and the same rows."""

import asyncio
import json
import re
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from django.db.models.signals import post_init, post_save, pre_save
from django.db.transaction import TransactionManagementError
from django.test import override_settings
from django.urls import include, path
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from app import db
from app.accounts.models import Team
from app.db.insertions import Writer
from app.db.testing import assert_num_queries
from app.fleet.models import Container, Host, Image, Workload
from app.rest import serializers, viewsets
from app.rest.bulk import BulkModelMixin
from app.rest.conditional import ConditionalMixin
from app.rest.idempotency import IdempotentMixin
from app.rest.parsers import JSONParser
from app.rest.permissions import IsAuthenticated
from app.rest.routers import DefaultRouter
from app.rest.test import APIClient
from app.rest.throttling import AnonRateThrottle, store
from tests.rest.test_models import HostSerializer, Open
from tests.rest.test_shortcuts import LONG, Pair, shown

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.rest.test_write_lanes")]

MOMENT = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
TABLES = ("fleet_host", "fleet_container", "fleet_image", "fleet_workload")


class ContainerSerializer(serializers.ModelSerializer):
    on = HostSerializer(source="host", read_only=True)
    image_id = serializers.PrimaryKeyRelatedField(
        source="image", queryset=Image.objects.all(), allow_null=True, required=False
    )

    class Meta:
        model = Container
        fields = [
            *("id", "engine_id", "name", "host", "on", "image_id", "workload", "labels", "state"),
            *("cpu_limit", "memory_limit_bytes", "started_at", "exit_code", "oom_killed"),
            *("last_seen_at", "version", "created_at"),
        ]
        extra_kwargs = {"host": {"write_only": True}}


class ImageSerializer(serializers.ModelSerializer):
    class Meta:
        model = Image
        fields = ["id", "reference", "digest", "size_bytes"]
        extra_kwargs = {"digest": {"default": "sha256:0"}}


class WorkloadSerializer(serializers.ModelSerializer):
    labels = serializers.DictField(child=serializers.CharField(max_length=5), default=dict)
    ports = serializers.ListField(
        child=serializers.IntegerField(max_value=9), required=False, write_only=True
    )

    class Meta:
        model = Workload
        exclude = ["team"]
        reject_unknown = True


class HostViewSet(Open, ConditionalMixin, IdempotentMixin, BulkModelMixin, viewsets.ModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer
    version_field = "version"


class ContainerViewSet(Open, viewsets.ModelViewSet):
    queryset = Container.objects.order_by("id")
    serializer_class = ContainerSerializer


class ImageViewSet(Open, viewsets.ModelViewSet):
    queryset = Image.objects.order_by("id")
    serializer_class = ImageSerializer


class WorkloadViewSet(Open, viewsets.ModelViewSet):
    queryset = Workload.objects.order_by("id")
    serializer_class = WorkloadSerializer


class HookedViewSet(HostViewSet):
    async def perform_create(self, serializer):
        await serializer.asave(labels={"by": "hook"})


class StrictSerializer(HostSerializer):
    def validate_name(self, name):
        if "!" in name:
            raise serializers.ValidationError("No shouting.")
        return name.upper()


class StrictViewSet(HostViewSet):
    serializer_class = StrictSerializer


class MakingSerializer(HostSerializer):
    async def acreate(self, validated_data):
        return await Host.objects.acreate(**{**validated_data, "cpus": 9})


class MakingViewSet(HostViewSet):
    serializer_class = MakingSerializer


class OneRequest(AnonRateThrottle):
    rate = "1/day"


class ThrottledViewSet(HostViewSet):
    throttle_classes = [OneRequest]


class ClosedViewSet(HostViewSet):
    permission_classes = [IsAuthenticated]


class EchoingViewSet(Open, viewsets.ModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer

    async def create(self, request):
        response = await super().create(request)
        response["Echo"] = repr((request.data, request.POST, request.FILES)).encode().hex()
        return response


class UpperParser(JSONParser):
    def parse(self, stream, media_type=None, parser_context=None):
        super().parse(stream, media_type, parser_context)
        return {"name": "parsed", "cpus": 1, "memory_bytes": 1}


class ParsingViewSet(EchoingViewSet):
    parser_classes = [UpperParser]


class ChoosingViewSet(EchoingViewSet):
    def get_parsers(self):
        return [UpperParser()]


router = DefaultRouter()
router.register("hosts", HostViewSet)
router.register("containers", ContainerViewSet)
router.register("images", ImageViewSet)
router.register("workloads", WorkloadViewSet)
router.register("hooked", HookedViewSet, "hooked")
router.register("strict", StrictViewSet, "strict")
router.register("making", MakingViewSet, "making")
router.register("throttled", ThrottledViewSet, "throttled")
router.register("closed", ClosedViewSet, "closed")
router.register("echoing", EchoingViewSet, "echoing")
router.register("parsing", ParsingViewSet, "parsing")
router.register("choosing", ChoosingViewSet, "choosing")
urlpatterns = [path("", include(router.urls))]


class RollbackError(Exception):
    pass


def roll_back():
    raise RollbackError


class Twins(Pair):
    """The same POST both ways, on the same rows, which stay as they were."""

    async def post(self, address, data, content_type="application/json", **headers):
        headers["content_type"] = content_type
        short = await self.try_out(self.short, address, data, **headers)
        with override_settings(STOWAGE=LONG):
            long = await self.try_out(self.long, address, data, **headers)
        assert short == long, (address, data)
        return short[0]

    async def try_out(self, client, address, data, times=1, **headers):
        """What is answered, the last of `times`, and all rows after it."""
        store.clear()
        for table in TABLES:
            await db.fetch(f"SELECT setval('{table}_id_seq', 1000)")
        try:
            async with db.atomic():
                for _ in range(times):
                    response = await send(client, address, data, **headers)
                rows = await all_rows()
                roll_back()
        except RollbackError:
            pass
        status, content, headers = shown(response)
        return (status, MOMENT.sub(unless_now, content), headers), rows


async def all_rows():
    """Of each table; None in a transaction that an error has broken."""
    try:
        return [
            [{name: unless_now(value) for name, value in row.items()} for row in rows]
            for table in TABLES
            if (rows := await db.fetch(f"SELECT * FROM {table} ORDER BY id")) is not None
        ]
    except TransactionManagementError:
        return None


def unless_now(value):
    """A moment of this very test is another one each way."""
    if isinstance(value, re.Match):
        moment = datetime.fromisoformat(value[0].decode())
        return value[0] if moment is unless_now(moment) else b"now"
    is_now = isinstance(value, datetime) and abs(timezone.now() - value).total_seconds() < 60
    return "now" if is_now else value


async def send(client, address, data, content_type="application/json", **headers):
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return await client.generic("POST", address, body, content_type=content_type, **headers)


@pytest_asyncio.fixture(loop_scope="session")
async def twins(transaction):
    host = await Host.objects.acreate(id=1, name="taken", cpus=1, memory_bytes=1)
    await Image.objects.acreate(id=1, reference="r", digest="d")
    await Container.objects.acreate(id=1, host=host, engine_id="taken", name="c")
    await Workload.objects.acreate(id=1, name="taken", image="i")
    return Twins()


@pytest.fixture
def written(monkeypatch):
    """What the lane wrote, a row each."""
    rows = []
    insert = Writer.insert

    async def noting(self, *args):
        rows.append(await insert(self, *args))
        return rows[-1]

    monkeypatch.setattr(Writer, "insert", noting)
    return rows


def host(**changes):
    return {"name": "a", "cpus": 2, "memory_bytes": 2**30, "labels": {"z": 1, "a": [1]}, **changes}


def container(**changes):
    return {"engine_id": "e", "name": "n", "host": 1, **changes}


GOOD = [
    ("/hosts/", host()),
    ("/hosts/", host(name=" é\u00a0", cpus="2.5", memory_bytes="7")),
    ("/containers/", container()),
    ("/containers/", container(image_id=1, state="running", labels={"b": 1, "aa": None, "a": 2.0})),
    ("/containers/", container(image_id=None, workload=None, started_at="2026-01-02T03:04:05Z")),
    ("/containers/", container(last_seen_at="2026-01-02T03:04:05.6+05:30", oom_killed=True)),
    ("/containers/", container(started_at="2026-01-02T03:04", cpu_limit=1, exit_code=-1)),
    ("/images/", {"reference": "r"}),
    ("/images/", {"reference": "q", "digest": "d", "size_bytes": 5}),
    ("/workloads/", {"name": "w", "image": "i", "labels": {"b": "2", "a": "1"}, "ports": [1]}),
]


@pytest.mark.parametrize(("address", "data"), GOOD)
async def test_plain_create_is_one_statement_and_answers_alike(twins, written, address, data):
    status, content, _ = await twins.post(address, data)
    assert status == 201, content
    assert len(written) == 1
    assert written[0] is not None
    with assert_num_queries(1):
        await send(twins.short, address, data)


WRONG = [
    ("/hosts/", host(name="taken")),
    ("/hosts/", host(name="")),
    ("/hosts/", host(name="  ")),
    ("/hosts/", host(name=None, cpus="x", memory_bytes=2**70)),
    ("/hosts/", host(name="n" * 254)),
    ("/hosts/", host(name="\x00")),
    ("/hosts/", b'{"name": "\\ud800", "cpus": 1, "memory_bytes": 1}'),
    ("/hosts/", host(name=True, cpus=True)),
    ("/hosts/", host(labels={"a": "\x00"})),
    ("/hosts/", b'{"name": "a", "cpus": 1e999, "memory_bytes": 1}'),
    ("/hosts/", {}),
    ("/hosts/", []),
    ("/hosts/", [host(name="a"), host(name="b")]),
    ("/hosts/", [host(name="a"), host(name="a")]),
    ("/hosts/", None),
    ("/hosts/", "text"),
    ("/hosts/", b"{"),
    ("/hosts/", b""),
    ("/hosts/", b"\xff"),
    ("/containers/", container(host=2)),
    ("/containers/", container(host="1")),
    ("/containers/", container(host=None)),
    ("/containers/", container(host=True)),
    ("/containers/", container(host=2**70)),
    ("/containers/", container(host=[1])),
    ("/containers/", container(host=1.0)),
    ("/containers/", container(image_id=9, host=9, engine_id="taken")),
    ("/containers/", container(engine_id="taken")),
    ("/containers/", container(state="nope", started_at="yesterday")),
    ("/containers/", container(started_at="0001-01-01T00:00:00+14:00")),
    ("/images/", {"reference": "r", "digest": "d"}),
    ("/images/", {"reference": "r", "digest": None}),
    ("/workloads/", {"name": "taken", "image": "i"}),
    ("/workloads/", {"name": "w", "image": "i", "ports": [10], "labels": {"a": "longer"}}),
    ("/workloads/", {"name": "w", "image": "i", "other": 1}),
    ("/workloads/", {"name": "w", "image": "i", "id": 5}),
]


@pytest.mark.parametrize(("address", "data"), WRONG)
async def test_wrong_input_answers_alike(twins, address, data):
    status, content, _ = await twins.post(address, data)
    assert status < 500, content


async def test_other_bodies_and_renderers_answer_alike(twins):
    form = "application/x-www-form-urlencoded"
    await twins.post("/hosts/", b"name=f&cpus=2&memory_bytes=5", content_type=form)
    await twins.post("/hosts/", b"<a/>", content_type="text/xml")
    for accept in ("text/html", "application/json; indent=2", "image/png"):
        await twins.post("/hosts/", host(), HTTP_ACCEPT=accept)
    await twins.post("/hosts/?fields=id,name", host())


VALUES = st.one_of(
    st.sampled_from([None, True, "", " x ", "1", "taken", "é", 1, 0, -1, 1.5, 2**63, [], {}]),
    st.text(max_size=5),
    st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
)  # fmt: skip


@pytest.mark.timeout(60)  # eighty requests
@hypothesis(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.sampled_from(ContainerSerializer.Meta.fields), VALUES, max_size=4))
async def test_any_object_answers_alike(twins, changes):
    await twins.post("/containers/", container(**changes))


@pytest.mark.parametrize("address", ["/hooked/", "/strict/", "/making/"])
async def test_view_that_overrides_a_step_is_asked(twins, written, address):
    status, content, _ = await twins.post(address, host())
    assert status == 201
    assert content != (await twins.post("/hosts/", host()))[1]
    assert len(written) == 1  # that of /hosts/
    await twins.post(address, host(name="no!"))


@pytest.mark.parametrize("signal", [pre_save, post_save, post_init])
async def test_receiver_of_a_signal_hears_of_every_row(twins, written, signal):
    heard = []

    def hear(instance, **_):
        heard.append(instance.name)

    signal.connect(hear, sender=Host)
    try:
        await twins.post("/hosts/", host())
    finally:
        signal.disconnect(hear, sender=Host)
    assert not written
    assert heard.count("a") >= 2
    await twins.post("/hosts/", host())
    assert len(written) == 1


async def test_refusals_before_the_handler_answer_alike(twins, written):
    await twins.post("/closed/", host())
    assert not written
    status, *_ = await twins.post("/throttled/", host(), times=2)
    assert status == 429
    assert len(written) == 1


async def test_repeated_key_is_answered_alike_and_writes_once(twins, written):
    key = {"HTTP_IDEMPOTENCY_KEY": '"k"'}
    status, _, headers = await twins.post("/hosts/", host(), times=2, **key)
    assert (status, dict(headers)["Idempotency-Replayed"]) == (201, "true")
    assert len(written) == 1


@pytest.mark.usefixtures("committed")
async def test_of_many_at_once_one_takes_the_name(written):
    client = APIClient()
    answers = await asyncio.gather(*(send(client, "/hosts/", host()) for _ in range(6)))
    assert sorted(one.status_code for one in answers) == [201, 400, 400, 400, 400, 400]
    assert sum(row is not None for row in written) == 1
    assert await Host.objects.acount() == 1


@pytest.mark.usefixtures("committed")
async def test_row_that_a_constraint_refuses_is_refused_as_ever(written):
    short = await send(APIClient(), "/hosts/", host(cpus=-1))
    with override_settings(STOWAGE=LONG):
        long = await send(APIClient(), "/hosts/", host(cpus=-1))
    assert shown(short) == shown(long)
    assert (short.status_code, short.json()) == (
        400,
        ["The values break a rule of the stored data."],
    )
    assert written == [None]


class Overriding(Host):
    def save(self, *args, **kwargs):
        super().save(*args, **kwargs)

    class Meta:
        proxy = True
        app_label = "fleet"


async def test_model_that_takes_part_in_saving_has_no_writer():
    assert Overriding.objects.all().writer() is None
    assert Host.objects.all().writer() is not None
    assert Team.objects.all().writer() is not None


PLAIN = b'{"name": "n", "cpus": 1, "memory_bytes": 1}'
BODIES = (
    PLAIN, PLAIN.replace(b"n", b"\xc3\xa9", 1), PLAIN.replace(b"n", b"\xe9", 1),
    b'{"a": 1, "a": 2}', b"[]", b"null", b"", b"{", b"\xef\xbb\xbf{}",
    b'{"cpus": NaN}', b"[" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("content_type", ["", ";charset=utf-8", ";charset=latin-1", ";charset=x"])
@pytest.mark.parametrize("address", ["/echoing/", "/parsing/", "/choosing/"])
async def test_every_body_is_parsed_alike(twins, address, content_type):
    for body in BODIES:
        await twins.post(address, body, f"application/json{content_type}")
    await twins.post(address, BODIES[0], "text/json")
