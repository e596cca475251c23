"""Every QuerySet of the table gives what stock Django gives: by value, type and order."""

import inspect

import pytest
from django.db import models as stock
from django.db import transaction as stock_transactions

from app import db
from tests.conformance.db.cases import CASES
from tests.conformance.db.conftest import in_thread
from tests.conformance.db.shapes import shape

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("library"),
]


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
    except Exception as error:  # noqa: BLE001 - the error is the outcome
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
        except Exception as error:  # noqa: BLE001 - the error is the outcome
            return type(error), str(error).partition("\n")[0]


@pytest.mark.parametrize("name", CASES)
async def test_queryset_gives_what_django_gives(name, database):
    case = CASES[name]
    assert await run_ours(case) == await in_thread(run_stock, case)


async def test_the_table_is_large():
    assert len(CASES) >= 300
