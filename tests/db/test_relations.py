"""Relations to models of third parties, whose managers are stock: awaited without a thread."""

import asyncio

import pytest
import pytest_asyncio
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import SynchronousOnlyOperation
from django.db.models import Manager, QuerySet

from app import db
from app.accounts.models import User
from app.db.relations import awaited_manager, awaited_queryset
from app.db.testing import assert_num_queries

pytestmark = pytest.mark.asyncio(loop_scope="session")


def refuse(*args):
    raise AssertionError("a thread was asked for")


@pytest.fixture(autouse=True)
def _no_thread(monkeypatch):
    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", refuse)


@pytest_asyncio.fixture(loop_scope="session")
async def user(transaction):
    return await User.objects.acreate(username="ada")


@pytest_asyncio.fixture(loop_scope="session")
async def groups(transaction):
    return await db.objects(Group).abulk_create([Group(name=f"g{n}") for n in range(4)])


async def names(queryset):
    return [group.name async for group in queryset.order_by("name")]


async def test_many_to_many_to_a_stock_model_is_written(user, groups):
    await user.groups.aadd(groups[0], groups[1].pk)
    assert await names(user.groups) == ["g0", "g1"]
    await user.groups.aset([groups[1], groups[2]])
    assert await names(user.groups) == ["g1", "g2"]
    await user.groups.aremove(groups[1])
    made = await user.groups.acreate(name="made")
    assert made.pk
    assert await names(user.groups.all()) == ["g2", "made"]
    assert (await user.groups.aget_or_create(name="made"))[1] is False
    assert (await user.groups.aupdate_or_create(name="new", defaults={}))[1] is True
    await user.groups.aclear()
    assert await user.groups.acount() == 0


async def test_many_to_many_to_a_stock_model_is_read(user, groups):
    await user.groups.aadd(*groups)
    assert await user.groups.filter(name__gt="g1").acount() == 2
    assert (await user.groups.aget(name="g2")).name == "g2"
    assert await user.groups.filter(name="g3").aexists()
    assert [group async for group in user.groups.order_by("name").aiterator(chunk_size=2)] == groups
    assert await user.groups.order_by("name").values_list("name", flat=True).afirst() == "g0"
    with assert_num_queries(2):
        (found,) = [each async for each in User.objects.prefetch_related("groups")]
        assert len(found.groups.all()) == 4
    assert await db.run(user.groups.get_by_natural_key, "g1") == groups[1]


async def test_relation_through_two_third_parties_is_filtered_by(user, groups):
    kind = await db.objects(ContentType).acreate(app_label="x", model="y")
    right = await db.objects(Permission).acreate(codename="c", name="n", content_type=kind)
    await user.user_permissions.aadd(right)
    assert await User.objects.filter(user_permissions__content_type__model="y").aget() == user
    assert await names(user.groups) == []


async def test_synchronous_call_on_it_names_its_awaitable(user, groups):
    for call, remedy in (
        (user.groups.count, "acount"),
        (lambda: list(user.groups.all()), "async for"),
        (lambda: user.groups.add(groups[0]), "await|run"),
    ):
        with pytest.raises(SynchronousOnlyOperation, match=remedy):
            call()


async def test_what_a_third_partys_queryset_overrides_stays_overridden(groups):
    class Louder(QuerySet):
        def count(self):
            return super().count() + 100

    class Its(Manager.from_queryset(Louder)):
        def get_queryset(self):
            return super().get_queryset().filter(name__gt="g0")

    manager = awaited_manager(Its)()
    manager.model = Group
    assert await manager.acount() == 103
    assert await names(manager) == ["g1", "g2", "g3"]
    assert issubclass(awaited_queryset(Louder), Louder)
