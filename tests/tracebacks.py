"""A pytest hook: an exception raised where no line is gives a report, and doesn't end the run.

A test's time is over wherever the signal finds it, and CPython has instructions that belong to no
line. The traceback then has an entry whose line is None, with which pytest computes.
"""

from types import TracebackType

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[object]) -> None:
    if call.excinfo is None:
        return
    error: BaseException | None = call.excinfo.value
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = with_lines(error.__traceback__)
        error = error.__cause__ or error.__context__
    if call.excinfo.value.__traceback__ is not None:
        call.excinfo = pytest.ExceptionInfo.from_exception(call.excinfo.value)


def with_lines(traceback: TracebackType | None) -> TracebackType | None:
    """The same traceback; an entry without a line is at the first of its function."""
    entries = []
    while traceback is not None:
        entries.append(traceback)
        traceback = traceback.tb_next
    following: TracebackType | None = None
    for entry in reversed(entries):
        line: int | None = entry.tb_lineno
        if line is None:
            line = entry.tb_frame.f_code.co_firstlineno
        elif entry.tb_next is following:
            following = entry
            continue
        following = TracebackType(following, entry.tb_frame, entry.tb_lasti, line)
    return following
