"""The fixtures of app.db.testing."""

import asyncio

import pytest
from django.contrib.contenttypes.models import ContentType

from app import db
from app.db.testing import assert_num_queries

pytestmark = pytest.mark.asyncio(loop_scope="session")

types = db.objects(ContentType)


@pytest.mark.parametrize("_again", [1, 2])
async def test_each_test_is_rolled_back(transaction, _again):
    assert not await types.filter(app_label="fixture").aexists()
    await types.acreate(app_label="fixture", model="one")
    assert await types.filter(app_label="fixture").acount() == 1


async def test_tasks_share_the_transaction_of_a_test(transaction):
    await types.acreate(app_label="fixture", model="two")

    async def count():
        async with db.atomic():
            return await types.filter(app_label="fixture").acount()

    assert await asyncio.create_task(count()) == 1
    assert (
        await asyncio.gather(*(types.filter(app_label="fixture").acount() for _ in range(5)))
        == [1] * 5
    )


async def test_queries_of_a_block_are_counted(transaction):
    with assert_num_queries(2) as queries:
        await types.acount()
        await types.filter(app_label="100%").afirst()
    assert "'100%'" in queries[1]["sql"]
