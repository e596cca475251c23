"""Writers: a row by one statement, what it returns, and what makes it write none."""

import pytest
from django.db import IntegrityError
from django.db.models.signals import post_save

from app.accounts.models import Token, User
from app.db.testing import assert_num_queries
from app.fleet.models import Container, Host, Usage

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transaction")]

HOST = {"name": "a", "cpus": 1.0, "memory_bytes": 1}


@pytest.fixture
def hosts():
    return Host.objects.all().writer()


async def test_row_is_what_acreate_would_write(hosts):
    values = hosts.complete({**HOST, "labels": {"b": 1, "aa": [2.5]}})
    with assert_num_queries(1):
        row = await hosts.insert(values)
    filled = dict(zip(hosts.filled, row, strict=True))
    made = await Host.objects.aget(pk=filled["id"])
    twin = await Host.objects.acreate(**{**HOST, "name": "b"}, labels={"b": 1, "aa": [2.5]})
    for field in Host._meta.concrete_fields:
        if field.name not in ("id", "name", "created_at", "updated_at"):
            assert getattr(made, field.attname) == getattr(twin, field.attname), field.name
    assert all(getattr(made, name) == value for name, value in filled.items())


async def test_row_that_is_there_already_is_not_written(hosts):
    assert await hosts.insert(hosts.complete(HOST)) is not None
    assert await hosts.insert(hosts.complete(HOST)) is None
    assert await Host.objects.acount() == 1


async def test_row_whose_key_leads_nowhere_is_not_written(hosts):
    made = await Host.objects.acreate(**HOST)
    writer = Container.objects.all().writer()
    values = writer.complete({"engine_id": "e", "name": "c", "host_id": made.pk})
    row = await writer.insert(values, ("host_id",), ("host__name", "host__labels"))
    assert row[-2:] == ("a", {})
    values["host_id"], values["engine_id"] = made.pk + 1, "f"
    assert await writer.insert(values, ("host_id",)) is None
    assert await Container.objects.acount() == 1


async def test_constraint_that_is_broken_is_told_in_a_transaction(hosts):
    with pytest.raises(IntegrityError, match="host_cpus_range"):
        await hosts.insert(hosts.complete({**HOST, "cpus": -1.0}))


async def test_receiver_of_a_signal_is_seen(hosts):
    def hear(**_):
        pass

    assert hosts.is_free()
    post_save.connect(hear, sender=Host)
    assert not hosts.is_free()
    post_save.disconnect(hear, sender=Host)


@pytest.mark.parametrize("model", [User, Token, Usage])
async def test_model_that_is_not_plain_has_no_writer(model):
    assert model.objects.all().writer() is None
