"""Whole lists as NDJSON and CSV, out of a server-side cursor."""

import asyncio
import csv
import io
import json

import pytest
import pytest_asyncio

import asgi
from app import db
from app.fleet import services
from app.rest import exports
from tests.servers import RawClient, serving, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(20)]  # real commits, many rows

HOSTS = "/api/v1/hosts/"


@pytest_asyncio.fixture(loop_scope="session")
async def reader(committed, client_with):
    return await client_with("read")


async def fill(count):
    await db.execute(
        "INSERT INTO fleet_host (name, cpus, memory_bytes, labels, engine)"
        " SELECT 'h' || lpad(n::text, 6, '0'), 1, 1024,"
        " jsonb_build_object('rack', repeat('x', 500)), 'docker' FROM generate_series(1, %s) n",
        count,
    )


async def test_every_row_comes_as_the_list_shows_it(reader):
    await fill(450)
    response = await reader.get(f"{HOSTS}?format=ndjson&page_size=10")
    assert response["Content-Type"] == "application/x-ndjson"
    rows = [json.loads(line) for line in response.text.splitlines()]
    assert len(rows) == 450
    page = (await reader.get(f"{HOSTS}?page_size=450")).json()["results"]
    assert rows == page


async def test_table_has_a_heading_and_the_columns_that_are_asked_for(reader):
    await services.register_host(name='a,"b', cpus=1, memory_bytes=1024, labels={"k": "v"})
    response = await reader.get(f"{HOSTS}?format=csv&fields=name,labels,last_seen_at")
    assert response["Content-Type"] == "text/csv"
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert rows == [{"name": 'a,"b', "labels": '{"k":"v"}', "last_seen_at": ""}]


async def test_filters_hold_and_refusals_are_json(reader):
    await fill(3)
    response = await reader.get(f"{HOSTS}?format=ndjson&name=h000002")
    assert json.loads(response.text)["name"] == "h000002"
    refused = await reader.get(f"{HOSTS}?format=ndjson&engine=steam")
    assert (refused.status_code, refused["Content-Type"]) == (400, "application/json")
    assert "engine" in refused.json()


async def test_client_that_leaves_ends_the_query_and_gives_its_connection_back(reader):
    await fill(20_000)
    token = reader._credentials["HTTP_AUTHORIZATION"]
    async with serving(asgi.application) as (_, port):
        client = await RawClient.get(port, f"{HOSTS}?format=ndjson", Authorization=token)
        assert await client.chunk()
        assert exports._Counted.running == 1
        client.writer.transport.abort()
        await until(lambda: db.statistics()["in_use"] == 0)
        await until(lambda: exports._Counted.running == 0)


async def test_more_exports_than_a_worker_runs_are_told_to_come_again(reader, monkeypatch):
    monkeypatch.setattr(exports, "AT_ONCE", 0)
    response = await reader.get(f"{HOSTS}?format=csv")
    assert response.status_code == 503
    assert int(response["Retry-After"]) > 0


async def test_error_in_the_middle_cuts_the_answer_off(reader, monkeypatch, caplog):
    await fill(5_000)
    token = reader._credentials["HTTP_AUTHORIZATION"]
    encode, calls = exports.NDJSONRowsRenderer.encode, []

    def fail(self, columns, rows):
        calls.append(rows)
        if len(calls) > 3:
            raise LookupError("in the middle")
        return encode(self, columns, rows)

    monkeypatch.setattr(exports.NDJSONRowsRenderer, "encode", fail)
    async with serving(asgi.application) as (_, port):
        client = await RawClient.get(port, f"{HOSTS}?format=ndjson", Authorization=token)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.body()
        await client.leave()
    assert "in the middle" in caplog.text
