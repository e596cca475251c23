"""A pytest plugin: the outcome of every test, written to CONFORMANCE_REPORT as JSON.

It also gives DRF's conftest the databases of DATABASE_URL, in the place of a package that it asks.
"""

import json
import os
import sys
from functools import wraps
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qsl, unquote, urlsplit

outcomes: dict[str, str] = {}
messages: dict[str, str] = {}
counts = {"synchronous dispatches": 0}


def databases() -> dict[str, object]:
    url = urlsplit(os.environ["DATABASE_URL"])
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path[1:]),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": dict(parse_qsl(url.query)).get("host", url.hostname or ""),
        "PORT": str(url.port or ""),
        "TEST": {"NAME": "test_drf_conformance"},
    }


sys.modules["dj_database_url"] = ModuleType("dj_database_url")
sys.modules["dj_database_url"].config = databases  # type: ignore[attr-defined]


def pytest_sessionstart() -> None:
    """Count what goes through the dispatch of DRF's own views."""
    from rest_framework.views import APIView

    dispatch = APIView.dispatch

    @wraps(dispatch)
    def counted(*args: object, **kwargs: object) -> object:
        counts["synchronous dispatches"] += 1
        return dispatch(*args, **kwargs)

    APIView.dispatch = counted


def pytest_runtest_logreport(report) -> None:
    if report.when == "call" or report.outcome != "passed":
        if outcomes.get(report.nodeid) != "failed":
            outcomes[report.nodeid] = report.outcome
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash else str(report.longrepr)
            messages[report.nodeid] = message.strip().split("\n")[0][:200]


def pytest_collectreport(report) -> None:
    if report.failed:
        outcomes[report.nodeid] = "failed"
        messages[report.nodeid] = str(report.longrepr)[-200:]


def pytest_sessionfinish() -> None:
    report = {"outcomes": outcomes, "messages": messages, "counts": counts}
    Path(os.environ["CONFORMANCE_REPORT"]).write_text(json.dumps(report, indent=1))
