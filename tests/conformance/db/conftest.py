"""The data of the conformance tables, and a place where stock Django may block."""

import asyncio

import pytest
from django.db import connection

from tests.conformance.db import data


@pytest.fixture(scope="module")
def library(django_db_setup, django_db_blocker):
    """The data, committed, for both sides; Django's side may reach its connection."""
    with django_db_blocker.unblock():
        data.load()
        yield
        data.unload()


def in_thread(call, *args):
    """Await a synchronous call, in a thread with a connection of its own."""

    def work():
        try:
            return call(*args)
        finally:
            connection.close()

    return asyncio.to_thread(work)
