"""atomic, savepoints, on_commit, isolation, retry; a transaction belongs to one task."""

# ruff: noqa: PT012 - what raises is a block with its transaction

import asyncio
import contextvars
import gc

import pytest
from django.db import IntegrityError, OperationalError, connections
from django.db.transaction import TransactionManagementError

from app import db
from app.db.connections import DatabaseWrapper
from tests.conformance.db.models import Author, Publisher

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def names():
    return [
        name async for name in Publisher.objects.order_by("name").values_list("name", flat=True)
    ]


async def add(name):
    await Publisher.objects.acreate(name=name, country="NL")


async def test_what_is_inside_is_committed_together(committed):
    async with db.atomic():
        await add("a")
        await add("b")
    assert await names() == ["a", "b"]


async def test_an_exception_rolls_back_everything(committed):
    with pytest.raises(KeyError):
        async with db.atomic():
            await add("a")
            raise KeyError
    assert await names() == []


async def test_a_nested_block_is_a_savepoint(committed):
    async with db.atomic():
        await add("a")
        with pytest.raises(IntegrityError):
            async with db.atomic():
                await add("b")
                await add("a")
        await add("c")
    assert await names() == ["a", "c"]


async def test_an_error_that_is_caught_inside_leaves_the_block_broken(committed):
    with pytest.raises(TransactionManagementError, match="end of the 'atomic' block"):
        async with db.atomic():
            await add("a")
            with pytest.raises(IntegrityError):
                async with db.atomic(savepoint=False):
                    await add("a")
            await names()
    assert await names() == []


async def test_a_durable_block_is_not_nested(committed):
    async with db.atomic(durable=True):
        with pytest.raises(RuntimeError, match="durable"):
            async with db.atomic(durable=True):
                pass


async def test_a_coroutine_function_is_decorated(committed):
    @db.atomic
    async def work():
        await add("a")
        raise KeyError

    with pytest.raises(KeyError):
        await work()
    assert await names() == []


async def test_on_commit_runs_after_the_commit_in_order(committed):
    log = []

    async def later():
        log.append(await names())

    async with db.atomic():
        db.on_commit(lambda: log.append("first"))
        db.on_commit(later)
        await add("a")
        assert log == []
    assert log == ["first", ["a"]]


async def test_on_commit_is_forgotten_with_its_savepoint(committed):
    log = []
    async with db.atomic():
        db.on_commit(lambda: log.append("kept"))
        with pytest.raises(KeyError):
            async with db.atomic():
                db.on_commit(lambda: log.append("dropped"))
                raise KeyError
    assert log == ["kept"]


async def test_on_commit_never_runs_after_a_rollback(committed):
    log = []
    with pytest.raises(KeyError):
        async with db.atomic():
            db.on_commit(lambda: log.append(1))
            raise KeyError
    assert log == []


async def test_on_commit_outside_a_transaction_runs_at_once(database):
    log = []
    db.on_commit(lambda: log.append(1))
    assert log == [1]

    async def later():
        pass

    with pytest.raises(TransactionManagementError, match="await the coroutine"):
        db.on_commit(later)


async def test_an_isolation_level_holds_in_its_block(database):
    sql = "SELECT current_setting('transaction_isolation') AS level"
    async with db.atomic(isolation="serializable"):
        assert (await db.fetch(sql))[0]["level"] == "serializable"
        with pytest.raises(TransactionManagementError, match="outermost"):
            async with db.atomic(isolation="repeatable read"):
                pass
    assert (await db.fetch(sql))[0]["level"] == "read committed"
    with pytest.raises(ValueError, match="no isolation level"):
        db.atomic(isolation="chaos")


async def test_a_read_only_block_refuses_to_write(database):
    with pytest.raises(Exception, match="read-only"):
        async with db.atomic(read_only=True):
            await add("a")


async def test_a_serialization_failure_is_tried_again(committed):
    await Author.objects.acreate(id=1, name="x", age=0)
    barrier = asyncio.Barrier(2)
    attempts = []

    async def increment():
        attempts.append(1)
        author = await Author.objects.aget(pk=1)
        if len(attempts) <= 2:
            await barrier.wait()
        author.age += 1
        await author.asave()

    await asyncio.gather(db.retry(increment), db.retry(increment))
    assert (await Author.objects.aget(pk=1)).age == 2
    assert len(attempts) > 2


async def test_any_other_error_is_not_tried_again(committed):
    attempts = []

    async def fail():
        attempts.append(1)
        raise OperationalError("no")

    with pytest.raises(OperationalError):
        await db.retry(fail)
    assert len(attempts) == 1


async def test_two_tasks_in_one_transaction_are_refused(committed):
    async with db.atomic():
        task = asyncio.create_task(names())
        with pytest.raises(TransactionManagementError, match="Two tasks use one transaction"):
            await task


async def test_a_task_that_outlives_the_transaction_is_on_its_own(committed):
    done = asyncio.Event()

    async def later():
        await done.wait()
        return await names()

    async with db.atomic():
        task = asyncio.create_task(later())
        await add("a")
    done.set()
    assert await task == ["a"]


async def test_an_empty_block_leaves_no_connection_behind(database):
    await db.open()
    before = db.statistics()["in_use"]
    async with db.atomic():
        pass
    assert db.statistics()["in_use"] == before


async def test_task_that_lets_go_keeps_nothing_of_its_finished_calls(database):
    async def call() -> tuple[object, object]:
        await db.fetch("SELECT 1")
        kept = getattr(connections._connections, "default", None)
        db.let_go()
        return kept, getattr(connections._connections, "default", None)

    kept, left = await asyncio.create_task(call(), context=contextvars.Context())
    assert kept is not None
    assert left is None


async def test_letting_go_leaves_a_transaction_as_it_is(committed):
    async with db.atomic():
        await add("a")
        db.let_go()
        await add("b")
    assert await names() == ["a", "b"]


async def test_a_rehearsal_is_taken_back_also_inside_a_transaction(committed):
    calls = []
    async with db.rehearsal():
        await add("a")
        db.on_commit(lambda: calls.append("a"))
        assert await names() == ["a"]
    assert await names() == []
    async with db.atomic():
        await add("b")
        async with db.rehearsal():
            await add("c")
            assert await names() == ["b", "c"]
    assert await names() == ["b"]
    assert calls == []


async def test_a_rehearsal_fails_where_the_commit_would(committed):
    pupil = Author(name="pupil", mentor_id=2**31 - 1)
    with pytest.raises(IntegrityError):
        async with db.rehearsal():
            await pupil.asave()
    with pytest.raises(KeyError):
        async with db.rehearsal():
            raise KeyError
    assert await names() == []


async def in_a_transaction():
    async with db.atomic():
        await names()


@pytest.mark.parametrize("ask", [names, in_a_transaction])
async def test_wrapper_of_a_finished_task_waits_for_no_collector(committed, ask):
    """Each task has one of its own, of some kilobytes."""

    def wrappers():
        return {id(one): one for one in gc.get_objects() if type(one) is DatabaseWrapper}

    gc.collect()
    gc.disable()
    try:
        others = wrappers()  # of threads, and of what other tests keep
        for _ in range(20):
            await asyncio.create_task(ask())
        left = wrappers().keys() - others.keys()
    finally:
        gc.enable()
    assert len(left) < 5
