"""What `tests/tracebacks.py` mends."""

import pytest

from tests.tracebacks import pytest_runtest_makereport


def raise_error() -> None:
    raise ValueError("no line")


def call_of(function: object) -> pytest.CallInfo[object]:
    return pytest.CallInfo.from_call(function, when="call")  # type: ignore[arg-type]


def without_lines() -> None:
    code = raise_error.__code__
    units = len(code.co_code) // 2
    no_line = bytes([0x80 | 15 << 3])  # one unit of code that belongs to no line, says its table
    raise_error.__code__ = code.replace(co_linetable=no_line * units)
    try:
        raise_error()
    except ValueError as error:
        raise RuntimeError("after it") from error


def test_error_raised_where_no_line_is_can_be_shown() -> None:
    call = call_of(without_lines)
    assert call.excinfo is not None
    with pytest.raises(TypeError, match="NoneType"):  # what pytest makes of it
        call.excinfo.getrepr()
    pytest_runtest_makereport(call)
    shown = str(call.excinfo.getrepr())
    assert "ValueError: no line" in shown
    assert "RuntimeError: after it" in shown


def test_traceback_with_all_its_lines_stays_as_it_is() -> None:
    call = call_of(lambda: int("one"))
    assert call.excinfo is not None
    before = str(call.excinfo.getrepr())
    pytest_runtest_makereport(call)
    assert str(call.excinfo.getrepr()) == before
