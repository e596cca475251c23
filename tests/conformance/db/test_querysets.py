"""Every QuerySet of the table gives what stock Django gives: by value, type and order."""

import asyncio
import inspect

import pytest
from django.db import models as stock
from django.db import transaction as stock_transactions

from app import db
from tests.conformance.db import data
from tests.conformance.db.cases import CASES
from tests.conformance.db.shapes import shape

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module", autouse=True)
def library(django_db_setup, django_db_blocker):
    """The data, committed, for both sides; Django's side may reach its connection."""
    with django_db_blocker.unblock():
        data.load()
        yield
        data.unload()


def as_stock(model):
    if model.__name__ == "ActiveAuthor":
        return stock.QuerySet(model).filter(active=True)
    return stock.QuerySet(model)


def as_ours(model):
    if model.__name__ == "ActiveAuthor":
        return db.objects(model).filter(active=True)
    return db.objects(model)


def run_stock(case):
    """What stock Django gives, in a thread, where it may block."""
    with stock_transactions.atomic():
        asked = case(as_stock)
        if isinstance(asked, tuple):
            queryset, method, args, kwargs = asked
            return outcome(lambda: shape(getattr(queryset, method)(*args, **kwargs)))
        return outcome(lambda: shape(list(asked)))


def outcome(call):
    try:
        return call()
    except Exception as error:
        return type(error), str(error).partition("\n")[0]


async def run_ours(case):
    async with db.atomic():
        asked = case(as_ours)
        try:
            if isinstance(asked, tuple):
                queryset, method, args, kwargs = asked
                awaited = getattr(queryset, f"a{method}")(*args, **kwargs)
                assert inspect.isawaitable(awaited)
                return shape(await awaited)
            return shape([item async for item in asked])
        except Exception as error:
            return type(error), str(error).partition("\n")[0]


def in_thread(call, *args):
    def work():
        try:
            return call(*args)
        finally:
            from django.db import connection

            connection.close()

    return asyncio.to_thread(work)


@pytest.mark.parametrize("name", CASES)
async def test_queryset_gives_what_django_gives(name, database):
    case = CASES[name]
    assert await run_ours(case) == await in_thread(run_stock, case)


def test_the_table_is_large():
    assert len(CASES) >= 300
