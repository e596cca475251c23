"""What app.db adds to Django's QuerySet, and what a project meets first."""

import asyncio
import logging

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.signals import request_finished, request_started
from django.db import transaction as stock_transaction
from django.db.models import signals
from django.test import override_settings

from app import db
from app.db import logs, models
from app.db.testing import assert_num_queries, capture_queries
from tests.conformance.db.models import Author, Publisher

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_third_partys_model_is_reached_through_objects(transaction):
    await db.objects(ContentType).acreate(app_label="x", model="y")
    assert [kind.model async for kind in db.objects(ContentType).filter(app_label="x")] == ["y"]


async def test_iterating_in_chunks_reads_each_row_once(transaction):
    await Author.objects.abulk_create(Author(id=n, name=f"{n}") for n in range(1, 24))
    found = [author.id async for author in Author.objects.order_by("id").aiterator(chunk_size=5)]
    assert found == list(range(1, 24))


async def test_iterating_in_chunks_prefetches(transaction):
    await Author.objects.abulk_create(Author(id=n, name=f"{n}") for n in range(1, 7))
    await Author.objects.filter(id__gt=1).aupdate(mentor_id=1)
    queryset = Author.objects.prefetch_related("pupils").order_by("id")
    pupils = [len(author.pupils.all()) async for author in queryset.aiterator(chunk_size=4)]
    assert pupils == [5, 0, 0, 0, 0, 0]


async def test_leaving_an_iteration_early_gives_the_connection_back(committed):
    await Author.objects.abulk_create(Author(id=n, name=f"{n}") for n in range(1, 24))
    iterator = Author.objects.aiterator(chunk_size=2)
    async for _ in iterator:
        break
    await iterator.aclose()
    assert db.statistics()["in_use"] == 0


async def test_a_chunk_has_at_least_one_row(transaction):
    with pytest.raises(ValueError, match="strictly positive"):
        [_ async for _ in Author.objects.aiterator(chunk_size=0)]


async def test_a_receiver_may_be_a_coroutine_function(transaction):
    heard = []

    async def receive(sender, instance, created, **kwargs):
        heard.append((instance.name, created, await Author.objects.acount()))

    signals.post_save.connect(receive, sender=Author, weak=False, dispatch_uid="heard")
    try:
        author = await Author.objects.acreate(name="x")
        await author.asave()
    finally:
        signals.post_save.disconnect(sender=Author, dispatch_uid="heard")
    assert heard == [("x", True, 1), ("x", False, 1)]


async def test_a_coroutine_receiver_outside_a_transaction_uses_the_senders_connection(committed):
    async def receive(sender, instance, **kwargs):
        assert await Author.objects.acount() == 1
        async with db.atomic():
            await Publisher.objects.acreate(name="made by a receiver", country="NL")

    signals.post_save.connect(receive, sender=Author, weak=False, dispatch_uid="heard")
    try:
        await Author.objects.acreate(name="x")
    finally:
        signals.post_save.disconnect(sender=Author, dispatch_uid="heard")
    assert await Publisher.objects.acount() == 1
    assert db.statistics()["in_use"] == 0


async def test_instances_are_prefetched_for(transaction):
    author = await Author.objects.acreate(name="x")
    await models.aprefetch_related_objects([author], "pupils")
    with assert_num_queries(0):
        assert list(author.pupils.all()) == []


async def test_an_override_of_a_synchronous_method_is_respected(transaction):
    class Loud(models.QuerySet):
        def create(self, **values):
            return super().create(**values | {"name": values["name"].upper()})

    assert (await Loud(Author).acreate(name="x")).name == "X"


async def test_djangos_own_atomic_works_inside_run(transaction):
    def work():
        with stock_transaction.atomic():
            Author.objects.create(name="kept")
        try:
            with stock_transaction.atomic():
                Author.objects.create(name="dropped")
                raise KeyError  # noqa: TRY301 - rolls back
        except KeyError:
            pass
        return list(Author.objects.values_list("name", flat=True))

    assert await db.run(work) == ["kept"]


async def test_sql_takes_either_kind_of_placeholder(transaction):
    assert await db.fetch("SELECT %s AS a, %s + 1 AS b", "100%", 2) == [{"a": "100%", "b": 3}]
    assert await db.fetch("SELECT $2::text AS a, $1::int AS b, '%' AS c", 3, "x") == [
        {"a": "x", "b": 3, "c": "%"}
    ]
    await Author.objects.acreate(name="x")
    assert await db.execute("UPDATE conformance_author SET age = %s", 3) == 1
    assert await db.execute("DELETE FROM conformance_author") == 1


async def test_queries_are_logged_as_django_logs_them(transaction):
    with capture_queries() as queries:
        await Author.objects.filter(name="it's", age=3).aexists()
    assert queries[0]["sql"].endswith("= 3 AND \"conformance_author\".\"name\" = 'it''s') LIMIT 1")
    assert float(queries[0]["time"]) >= 0


async def test_too_many_queries_are_listed(transaction):
    failure = pytest.raises(pytest.fail.Exception, match="1 queries executed, 2 expected")
    with failure, assert_num_queries(2):
        await Author.objects.acount()


class Listening(logging.Handler):
    """What a logger is told, in memory: a stream would block the loop."""

    def __init__(self, name):
        super().__init__()
        self.logger = logging.getLogger(name)
        self.text = ""

    def emit(self, record):
        self.text += record.getMessage() + "\n"

    def __enter__(self):
        self.kept = self.logger.level, self.logger.propagate
        self.logger.setLevel(logging.DEBUG)
        self.logger.propagate = False
        self.logger.addHandler(self)
        return self

    def __exit__(self, *exc_info):
        self.logger.removeHandler(self)
        self.logger.setLevel(self.kept[0])
        self.logger.propagate = self.kept[1]


async def test_debug_logs_to_djangos_logger(transaction):
    with override_settings(DEBUG=True), Listening("django.db.backends") as log:
        await Author.objects.acount()
    assert "SELECT COUNT(*)" in log.text


async def test_a_slow_query_is_logged_with_its_callers_line(transaction, monkeypatch):
    monkeypatch.setattr(logs, "slow_query_seconds", 0.01)
    before = db.statistics()["slow_queries"]
    with Listening("app.db.slow") as log:
        await db.fetch("SELECT pg_sleep(0.02)")
    assert "test_querysets.py:" in log.text
    assert "pg_sleep" in log.text
    assert db.statistics()["slow_queries"] == before + 1


async def test_a_slow_queryset_is_logged_with_its_callers_line(transaction, monkeypatch):
    await Author.objects.acreate(name="x")
    monkeypatch.setattr(logs, "slow_query_seconds", 0.01)
    slow = Author.objects.extra(where=["pg_sleep(0.02) IS NOT NULL"])
    with Listening("app.db.slow") as log:
        await slow.acount()
        await slow.afirst()
        [author async for author in slow]
        [author async for author in slow.aiterator()]
    assert log.text.count("test_querysets.py:") == log.text.count("pg_sleep") == 4


async def test_a_request_that_begins_or_ends_leaves_the_transaction_alone(transaction):
    await Author.objects.acreate(name="x")
    for signal in (request_started, request_finished):
        signal.send(sender=None)
    assert await Author.objects.acount() == 1


async def test_statistics_count(database):
    before = db.statistics()
    await asyncio.gather(*(Author.objects.acount() for _ in range(5)))
    after = db.statistics()
    assert after["queries"] == before["queries"] + 5
    assert after["in_use"] == 0
    assert 1 <= after["size"] <= after["max_size"]


async def test_no_thread_is_used(transaction, monkeypatch):
    """Every kind of work, with threads forbidden."""
    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", _refuse)
    author = await Author.objects.acreate(name="x")
    await author.asave()
    await author.arefresh_from_db()
    publisher, _ = await Publisher.objects.aget_or_create(name="p", defaults={"country": "NL"})
    await publisher.books.acreate(title="T", price=1, pages=1, published="2020-01-01")
    book = await publisher.books.aget()
    await book.authors.aadd(author)
    await book.authors.aset([])
    assert [p async for p in Publisher.objects.prefetch_related("books__authors")] == [publisher]
    await publisher.adelete()
    await models.aprefetch_related_objects([author], "books")


def _refuse(*args):
    raise AssertionError("a thread was asked for")
