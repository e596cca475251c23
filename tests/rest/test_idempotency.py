"""`Idempotency-Key` on views: what is repeated, what is refused, what a failure leaves behind."""

import asyncio
import uuid
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import override_settings
from django.urls import include, path
from django.utils import timezone

from app import db
from app.fleet.models import Host
from app.rest import idempotency, viewsets
from app.rest.databases import StockDatabase
from app.rest.decorators import action
from app.rest.exceptions import Throttled, ValidationError
from app.rest.idempotency import Answer, DatabaseStore, IdempotentMixin
from app.rest.models import StoredAnswer
from app.rest.response import Response
from app.rest.routers import DefaultRouter
from tests.rest.test_models import HostSerializer, Open, host

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.rest.test_idempotency")]

entered, may_go_on = asyncio.Event(), asyncio.Event()


class HostViewSet(Open, IdempotentMixin, viewsets.ModelViewSet):
    queryset = Host.objects.order_by("id")
    serializer_class = HostSerializer

    async def add(self):
        return await Host.objects.acreate(name=self.request.data["name"], cpus=1, memory_bytes=1)

    @action(detail=False, methods=["post"])
    async def fail(self, request):
        await self.add()
        raise {"fault": RuntimeError, "busy": Throttled, "wrong": ValidationError}[
            request.data["how"]
        ]

    @action(detail=False, methods=["post"])
    async def wait(self, request):
        await self.add()
        entered.set()
        await may_go_on.wait()
        return Response({"done": True})

    @action(detail=False, methods=["post"])
    async def long(self, request):
        await self.add()
        return Response("x" * (idempotency.MAX_BODY_BYTES + 1), status=201)


class Strict(HostViewSet):
    idempotency_required = True


router = DefaultRouter()
router.register("hosts", HostViewSet, "host")
router.register("strict", Strict, "strict")
urlpatterns = [path("", include(router.urls))]


def keyed(key="k1"):
    return {"HTTP_IDEMPOTENCY_KEY": f'"{key}"'}


@pytest.mark.usefixtures("transaction")
async def test_request_that_is_sent_again_is_answered_as_it_was(client, hops):
    first = await client.post("/hosts/", host(), **keyed())
    again = await client.post("/hosts/", host(), **keyed())
    assert first.status_code == again.status_code == 201
    assert again.content == first.content
    assert again["Content-Type"] == first["Content-Type"]
    assert ("Idempotency-Replayed" in first, again["Idempotency-Replayed"]) == (False, "true")
    assert await Host.objects.acount() == 1
    assert not hops


@pytest.mark.usefixtures("transaction")
async def test_deletion_and_change_are_repeated_without_harm(client):
    pk = (await client.post("/hosts/", host())).json()["id"]
    changes = [await client.patch(f"/hosts/{pk}/", {"cpus": 9}, **keyed()) for _ in range(2)]
    assert changes[0].content == changes[1].content
    deletions = [await client.delete(f"/hosts/{pk}/", **keyed()) for _ in range(2)]
    assert [one.status_code for one in deletions] == [204, 204]
    assert "Content-Type" not in deletions[1]


@pytest.mark.usefixtures("transaction")
async def test_another_body_query_or_type_is_422(client):
    await client.post("/hosts/", host(), **keyed())
    for answer in (
        await client.post("/hosts/", host("b"), **keyed()),
        await client.post("/hosts/?x=1", host(), **keyed()),
        await client.post(
            "/hosts/", "name=a", content_type="application/x-www-form-urlencoded", **keyed()
        ),
    ):
        assert answer.status_code == 422
        assert "Idempotency-Key" in answer.json()["detail"]
    assert await Host.objects.acount() == 1


@pytest.mark.usefixtures("transaction")
async def test_key_belongs_to_its_method_address_and_caller(client):
    class User:
        is_authenticated = True

        def __init__(self, pk):
            self.pk = pk

    pk = (await client.post("/hosts/", host(), **keyed())).json()["id"]
    assert (await client.put(f"/hosts/{pk}/", host(cpus=2), **keyed())).json()["cpus"] == 2
    for user in (User(1), User(2)):
        client.force_authenticate(user)
        response = await client.post("/hosts/", host(f"of-{user.pk}"), **keyed())
        assert response.status_code == 201
    assert await Host.objects.acount() == 3


@pytest.mark.usefixtures("transaction")
async def test_form_whose_boundary_was_made_anew_is_the_same_form(client):
    answers = []
    for boundary in ("one", "two"):
        part = f'--{boundary}\r\nContent-Disposition: form-data; name="{{}}"\r\n\r\n{{}}\r\n'
        body = "".join(part.format(*pair) for pair in host().items()) + f"--{boundary}--\r\n"
        kind = f"multipart/form-data; boundary={boundary}"
        answers.append(await client.post("/hosts/", body, content_type=kind, **keyed()))
    assert answers[0].status_code == 201, answers[0].text
    assert answers[0].content == answers[1].content


@pytest.mark.usefixtures("transaction")
async def test_refusal_is_repeated_and_leaves_nothing_written(client):
    body = {"name": "a", "how": "wrong"}
    for _ in range(2):
        assert (await client.post("/hosts/fail/", body, **keyed())).status_code == 400
    assert (await client.post("/hosts/fail/", {**body, "x": 1}, **keyed())).status_code == 422
    assert await Host.objects.acount() == 0


@pytest.mark.usefixtures("transaction")
async def test_passing_state_frees_the_key_and_leaves_nothing_written(client):
    assert (
        await client.post("/hosts/fail/", {"name": "a", "how": "busy"}, **keyed())
    ).status_code == 429
    assert await Host.objects.acount() == await count_answers() == 0


@pytest.mark.usefixtures("transaction")
@pytest.mark.hops("Django logs a fault of the server in a thread")
async def test_fault_of_the_server_frees_the_key_and_leaves_nothing_written(client):
    body = {"name": "a", "how": "fault"}
    assert (await client.post("/hosts/fail/", body, **keyed())).status_code == 500
    assert await Host.objects.acount() == await count_answers() == 0


async def count_answers():
    return await db.objects(StoredAnswer).acount()


@pytest.mark.usefixtures("committed")
async def test_second_request_is_409_while_the_first_is_running(client):
    entered.clear(), may_go_on.clear()
    first = asyncio.create_task(client.post("/hosts/wait/", {"name": "a"}, **keyed()))
    await entered.wait()
    for body in ({"name": "a"}, {"name": "b"}):
        second = await client.post("/hosts/wait/", body, **keyed())
        assert (second.status_code, second["Retry-After"]) == (409, "1")
    may_go_on.set()
    assert (await first).status_code == 200
    again = await client.post("/hosts/wait/", {"name": "a"}, **keyed())
    assert (again.status_code, await Host.objects.acount()) == (200, 1)


@pytest.mark.usefixtures("committed")
async def test_request_whose_client_left_frees_the_key_and_leaves_nothing_written(client):
    entered.clear(), may_go_on.clear()
    task = asyncio.create_task(client.post("/hosts/wait/", {"name": "a"}, **keyed()))
    await entered.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await Host.objects.acount() == await count_answers() == 0
    may_go_on.set()
    assert (await client.post("/hosts/wait/", {"name": "a"}, **keyed())).status_code == 200


@pytest.mark.usefixtures("committed")
async def test_of_requests_that_come_together_one_is_carried_out(client):
    answers = await asyncio.gather(*(client.post("/hosts/", host(), **keyed()) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert await Host.objects.acount() == 1


@pytest.mark.usefixtures("transaction")
@pytest.mark.parametrize("key", ["", " ", '""', '"a', "a b", "\xe9", "x" * 256, f'"{"x" * 256}"'])
async def test_key_that_is_none_is_refused_by_the_header(client, key):
    response = await client.post("/hosts/", host(), HTTP_IDEMPOTENCY_KEY=key or " ")
    assert (response.status_code, list(response.json())) == (400, ["Idempotency-Key"])


@pytest.mark.usefixtures("transaction")
async def test_view_may_ask_for_a_key(client):
    refused = await client.post("/strict/", host())
    assert (refused.status_code, list(refused.json())) == (400, ["Idempotency-Key"])
    assert (await client.post("/strict/", host(), HTTP_IDEMPOTENCY_KEY="bare")).status_code == 201
    assert (await client.get("/strict/")).status_code == 200


@pytest.mark.usefixtures("transaction")
async def test_answer_that_is_too_large_to_keep_is_told_of_and_nothing_is_done_twice(client):
    assert (await client.post("/hosts/long/", {"name": "a"}, **keyed())).status_code == 201
    again = await client.post("/hosts/long/", {"name": "a"}, **keyed())
    assert (again.status_code, "status 201" in again.json()["detail"]) == (409, True)
    assert await Host.objects.acount() == 1


@pytest.mark.usefixtures("transaction")
async def test_answer_is_forgotten_when_it_has_expired(client):
    with override_settings(STOWAGE={"IDEMPOTENCY_HOURS": -1}):
        await client.post("/hosts/", host(), **keyed())
    assert (await client.post("/hosts/", host("b"), **keyed("k2"))).status_code == 201
    assert await DatabaseStore().clear_expired(timezone.now()) == 1
    assert await count_answers() == 1
    assert (await client.post("/hosts/", host("c"), **keyed())).status_code == 201


@pytest.mark.usefixtures("committed")
@pytest.mark.hops("Django's own connection is synchronous")
@pytest.mark.blocks("Django's own connection is opened and closed in a thread of the test's")
async def test_store_works_on_stock_django(django_db_blocker):
    store, scope = DatabaseStore(StockDatabase()), uuid.uuid4()
    answer = Answer(b"f" * 32, 201, {"Location": "/x/"}, b"{}")
    expires_at = timezone.now() + timedelta(hours=1)

    async def keep(fails):
        async with store.attempt(scope) as kept:
            assert kept is None
            await store.keep(scope, answer, expires_at)
            if fails:
                raise KeyError("the write failed")

    with django_db_blocker.unblock():
        with pytest.raises(KeyError):
            await keep(fails=True)
        await keep(fails=False)
        async with store.attempt(scope) as kept:
            assert kept == answer
            with pytest.raises(idempotency.RequestInProgress):
                await DatabaseStore(db).attempt(scope).__aenter__()  # on another connection
        async with DatabaseStore(db).attempt(scope) as kept:
            assert kept == answer
        assert await store.clear_expired(expires_at + timedelta(seconds=1)) == 1
        await sync_to_async(connection.close)()
