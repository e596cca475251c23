"""Every snippet of docs/db.md runs, in order, in one transaction."""

import ast
import inspect
from pathlib import Path

import pytest
from django.test.utils import isolate_apps

from tests.docs.snippets import snippets

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(30)
async def test_every_snippet_runs(transaction):
    namespace = {"__name__": "tests.conformance.db.docs"}
    texts = [snippet.text for snippet in snippets("docs/db.md") if snippet.language == "python"]
    assert len(texts) >= 12
    with isolate_apps("tests.conformance.db", kwarg_name=None):
        for text in texts:
            code = compile(text, "docs/db.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, namespace)
            if inspect.isawaitable(result):
                await result
