"""Which loop runs here: the same answers as asyncio's, whatever was found before."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Thread

import pytest

from app.loops import current_task, running_loop


def run(loop):
    async def ask():
        assert running_loop() is asyncio.get_running_loop()
        assert current_task() is asyncio.current_task()
        return running_loop()

    return loop.run_until_complete(ask())


def test_one_loop_after_another():
    for _ in range(3):
        loop = asyncio.new_event_loop()
        try:
            assert run(loop) is loop
            assert running_loop() is None
        finally:
            loop.close()
        assert running_loop() is None
    with pytest.raises(RuntimeError):
        current_task()


def test_a_thread_has_none_while_the_loop_that_was_found_runs_in_another():
    async def ask():
        assert running_loop() is not None
        return await asyncio.to_thread(running_loop)

    assert asyncio.run(ask()) is None


def test_each_thread_has_its_own():
    together = Barrier(4)

    async def ask():
        for _ in range(50):
            together.wait()  # all four loops run, and are found in turn
            assert running_loop() is asyncio.get_running_loop()
            assert current_task() is asyncio.current_task()
            await asyncio.sleep(0)
        return True

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(lambda _: asyncio.run(ask()), range(4)))


def test_a_thread_that_has_the_number_of_one_that_ended():
    found = []

    def work():
        found.append(running_loop())
        for _ in range(2):
            loop = asyncio.new_event_loop()
            run(loop)
            loop.close()
        found.append(running_loop())

    for _ in range(5):
        thread = Thread(target=work)
        thread.start()
        thread.join()
    assert found == [None] * 10


FORKS = """
import asyncio, os
from app.loops import running_loop
async def fork():
    assert running_loop() is not None
    child = os.fork()
    if not child:
        os._exit(0 if running_loop() is None else 1)
    assert running_loop() is not None
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
raise SystemExit(asyncio.run(fork()))
"""


def test_a_fork_forgets_it():
    done = subprocess.run([sys.executable, "-c", FORKS], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
