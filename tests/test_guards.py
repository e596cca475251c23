"""Each guard fires on what it forbids, and on nothing else."""

import asyncio
import time
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.urls import path

from app import db
from app.rest.permissions import AllowAny
from app.rest.response import Response
from app.rest.views import APIView
from tests import guards

pytestmark = [pytest.mark.asyncio, pytest.mark.urls("tests.test_guards")]


class Open(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]


class Sleeping(Open):
    async def get(self, request):
        time.sleep(0.01)  # noqa: ASYNC251 - what the guard is for
        return Response({})


class Reading(Open):
    async def get(self, request):
        return Response({"size": len(Path(__file__).read_bytes())})  # noqa: ASYNC240


class Computing(Open):
    async def get(self, request):
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            pass
        return Response({})


class Hopping(Open):
    async def get(self, request):
        await sync_to_async(len)("")
        await asyncio.to_thread(len, "")
        return Response({})


class Native(Open):
    async def get(self, request):
        return Response({})


urlpatterns = [
    path("sleeping/", Sleeping.as_view()),
    path("reading/", Reading.as_view()),
    path("computing/", Computing.as_view()),
    path("hopping/", Hopping.as_view()),
    path("native/", Native.as_view()),
]


@pytest.mark.parametrize("view", ["sleeping", "reading"])
@pytest.mark.hops("a blocked view ends as an error, which is logged in a thread")
@pytest.mark.blocks("it is caught here")
async def test_blocking_call_in_a_view_is_caught_though_the_view_answers_500(client, view):
    with pytest.raises(guards.GuardError, match="blocked"), guards.no_blocking():
        assert (await client.get(f"/{view}/")).status_code == 500


@pytest.mark.blocks("it is caught here")
async def test_long_computation_is_caught(client):
    with pytest.raises(guards.GuardError, match="stalled"), guards.no_stalls(0.05):
        # A task of its own: the step that runs now began before the guard did.
        await asyncio.create_task(client.get("/computing/"))


@pytest.mark.hops("they are counted here")
async def test_every_way_into_a_thread_is_counted_once(client):
    with pytest.raises(guards.GuardError, match="entered a thread"), guards.no_hops() as hops:
        await client.get("/hopping/")
    named = [hop for hop in hops if "test_guards.py" in hop]
    assert len(named) == 2, hops
    # Django's signals follow into the thread, for what the view opened there is closed there.
    assert hops[2:] == [hop for hop in hops if "Signal" in hop]


async def test_thread_outside_a_request_is_not_counted():
    with guards.no_hops():
        await asyncio.to_thread(len, "")


async def test_task_that_nobody_ended_is_caught():
    with pytest.raises(guards.GuardError, match="left running"):
        async with guards.no_leaked_tasks():
            asyncio.create_task(asyncio.sleep(60))  # noqa: RUF006 - leaked on purpose


async def test_connection_that_was_not_given_back_is_caught(database):
    opened = db.atomic()
    try:
        with pytest.raises(guards.GuardError, match="not given back"):
            async with guards.no_leaked_links():
                await opened.__aenter__()
    finally:
        await opened.__aexit__(None, None, None)


async def test_innocent_request_passes_every_guard(client, hops):
    assert (await client.get("/native/")).status_code == 200
    assert not hops
