"""POST /api/v1/usage/: batches stored once, wherever and however often they come in."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from app.db.testing import assert_num_queries
from app.fleet import services
from app.fleet.ingest import MAX_SAMPLES
from app.fleet.models import Container, Usage
from app.rest.test import APIClient
from tests.clients import ClientOf
from tests.fleet.samples import container, report

USAGE = "/api/v1/usage/"
NDJSON = "application/x-ndjson"


async def running(number: int = 1) -> list[int]:
    """The ids of containers that run."""
    observed = await services.observe_host(**report(*(container(f"c{n}") for n in range(number))))
    return list(observed.containers.values())


def sample(container_id: int, seconds_ago: float = 1, **more: Any) -> dict[str, Any]:
    at = (timezone.now() - timedelta(seconds=seconds_ago)).isoformat()
    return {"container": container_id, "at": at, "cpu_cores": 0.25, "memory_bytes": 1024, **more}


def lines(*items: Any) -> bytes:
    return b"\n".join(
        item if isinstance(item, bytes) else json.dumps(item).encode() for item in items
    )


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestBatch:
    async def test_array_is_stored(self, agent: APIClient) -> None:
        first, second = await running(2)
        response = await agent.post(USAGE, [sample(first), sample(second), sample(first, 2)])
        assert response.status_code == 201, response.json()
        assert response.json() == {"stored": 3, "duplicates": 0, "rejected": []}
        assert await Usage.objects.acount() == 3

    async def test_values_are_stored_as_sent(self, agent: APIClient) -> None:
        (one,) = await running()
        item = sample(one, cpu_cores=0.1, memory_bytes=2**40 + 1)
        await agent.post(USAGE, [item])
        stored = await Usage.objects.aget()
        assert stored.at.isoformat() == item["at"]
        assert (stored.container_id, stored.cpu_cores, stored.memory_bytes) == (one, 0.1, 2**40 + 1)

    async def test_single_object_is_a_batch_of_one(self, agent: APIClient) -> None:
        (one,) = await running()
        assert (await agent.post(USAGE, sample(one))).json()["stored"] == 1

    async def test_empty_batch_stores_nothing(self, agent: APIClient) -> None:
        response = await agent.post(USAGE, [])
        assert (response.status_code, response.json()["stored"]) == (201, 0)

    async def test_lines_are_stored(self, agent: APIClient) -> None:
        (one,) = await running()
        body = lines(sample(one), b"", sample(one, 2)) + b"\n"
        response = await agent.generic("POST", USAGE, body, content_type=NDJSON)
        assert (response.status_code, response.json()["stored"]) == (201, 2)

    async def test_batch_sent_again_is_all_duplicates(self, agent: APIClient) -> None:
        (one,) = await running()
        batch = [sample(one, n) for n in range(5)]
        await agent.post(USAGE, batch)
        again = await agent.post(USAGE, [*batch, sample(one, 9)])
        assert again.status_code == 201
        assert again.json() == {"stored": 1, "duplicates": 5, "rejected": []}

    async def test_duplicates_in_one_batch_are_stored_once(self, agent: APIClient) -> None:
        (one,) = await running()
        item = sample(one)
        assert (await agent.post(USAGE, [item, item])).json()["duplicates"] == 1

    async def test_same_moment_in_another_time_zone_is_a_duplicate(self, agent: APIClient) -> None:
        (one,) = await running()
        moment = timezone.now().replace(microsecond=0)
        shifted = moment.astimezone(timezone.get_fixed_timezone(330))
        batch = [sample(one, at=moment.isoformat()), sample(one, at=shifted.isoformat())]
        assert (await agent.post(USAGE, batch)).json()["duplicates"] == 1

    async def test_statements_do_not_grow_with_the_batch(self, agent: APIClient) -> None:
        ids = await running(50)
        await agent.post(USAGE, [sample(ids[0])])
        batch = [sample(one, n) for one in ids for n in range(2, 12)]
        with assert_num_queries(6):  # token, savepoint, staging table, COPY, store, release
            response = await agent.post(USAGE, batch)
        assert response.json()["stored"] == 500


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestWrongSamples:
    async def test_one_wrong_sample_and_nothing_is_stored(self, agent: APIClient) -> None:
        (one,) = await running()
        response = await agent.post(USAGE, [sample(one), sample(one, 2, memory_bytes=-1)])
        assert response.status_code == 400
        answer = response.json()
        assert answer["stored"] == 0
        (error,) = answer["errors"]
        assert (error["index"], list(error["errors"])) == (1, ["memory_bytes"])
        assert "1 of 2 samples" in answer["detail"]
        assert "on_error=skip" in answer["detail"]
        assert await Usage.objects.acount() == 0

    async def test_right_samples_are_stored_if_asked(self, agent: APIClient) -> None:
        (one,) = await running()
        batch = [sample(one), sample(one, cpu_cores=-1), sample(10**6), sample(one, 2)]
        response = await agent.post(f"{USAGE}?on_error=skip", batch)
        assert response.status_code == 200
        answer = response.json()
        assert (answer["stored"], answer["duplicates"]) == (2, 0)
        assert [error["index"] for error in answer["rejected"]] == [1, 2]
        assert list(answer["rejected"][1]["errors"]) == ["container"]

    async def test_malformed_line_is_named_by_its_number(self, agent: APIClient) -> None:
        (one,) = await running()
        body = lines(sample(one), b"", b'{"container": 1,', sample(one, 2))
        refused = await agent.generic("POST", USAGE, body, content_type=NDJSON)
        assert refused.status_code == 400
        (error,) = refused.json()["errors"]
        assert error["line"] == 3
        assert "JSON" in error["errors"]["non_field_errors"][0]
        assert await Usage.objects.acount() == 0
        url = f"{USAGE}?on_error=skip"
        skipped = await agent.generic("POST", url, body, content_type=NDJSON)
        assert (skipped.status_code, skipped.json()["stored"]) == (200, 2)
        assert [error["line"] for error in skipped.json()["rejected"]] == [3]

    async def test_unknown_container_names_the_remedy(self, agent: APIClient) -> None:
        response = await agent.post(USAGE, [sample(10**9)])
        assert response.status_code == 400
        assert "hosts/observe/" in response.json()["errors"][0]["errors"]["container"][0]

    async def test_batch_after_a_refused_one_is_stored(self, agent: APIClient) -> None:
        (one,) = await running()
        await agent.post(USAGE, [sample(one), sample(10**9)])
        assert (await agent.post(USAGE, [sample(one)])).json()["stored"] == 1

    @pytest.mark.parametrize("body", ["text", 5, None, True])
    async def test_body_that_is_no_batch_is_refused(self, agent: APIClient, body: Any) -> None:
        text = json.dumps(body)
        response = await agent.generic("POST", USAGE, text, content_type="application/json")
        assert response.status_code == 400
        assert "Put them in [ and ]" in response.json()[0]

    async def test_choice_of_on_error_is_checked(self, agent: APIClient) -> None:
        response = await agent.post(f"{USAGE}?on_error=ignore", [])
        assert (response.status_code, list(response.json())) == (400, ["on_error"])

    async def test_batch_that_is_too_long_is_refused(self, agent: APIClient) -> None:
        response = await agent.post(USAGE, [{}] * (MAX_SAMPLES + 1))
        assert response.status_code == 400
        assert "Send them in several" in response.text

    async def test_body_that_is_too_large_is_refused_naming_the_limit(
        self, agent: APIClient, settings: Any
    ) -> None:
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10_000
        for content_type in ("application/json", NDJSON):
            body = b"[" + b" " * 10_000 + b"]"
            response = await agent.generic("POST", USAGE, body, content_type=content_type)
            assert response.status_code == 413
            assert "10000 bytes" in response.json()["detail"]

    @pytest.mark.parametrize("seconds_ago", [-600, 3 * 86_400])
    async def test_sample_outside_what_is_kept_is_refused(
        self, agent: APIClient, seconds_ago: float
    ) -> None:
        (one,) = await running()
        response = await agent.post(USAGE, [sample(one, seconds_ago)])
        assert list(response.json()["errors"][0]["errors"]) == ["at"]

    async def test_only_agents_may_send(self, writer: APIClient, client_with: ClientOf) -> None:
        (one,) = await running()
        assert (await writer.post(USAGE, [sample(one)])).status_code == 403


@pytest.mark.asyncio
@pytest.mark.usefixtures("transaction")
class TestReading:
    async def test_samples_come_latest_first_with_a_cursor(
        self, agent: APIClient, reader: APIClient
    ) -> None:
        first, second = await running(2)
        await agent.post(USAGE, [sample(one, n) for one in (first, second) for n in range(3)])
        seen = []
        url = f"{USAGE}?page_size=4"
        while url:
            page = (await reader.get(url)).json()
            seen += [(row["at"], row["container"]) for row in page["results"]]
            url = page["next"]
        assert len(set(seen)) == 6
        assert [at for at, _ in seen] == sorted((at for at, _ in seen), reverse=True)

    async def test_samples_are_filtered(self, agent: APIClient, reader: APIClient) -> None:
        first, second = await running(2)
        await agent.post(USAGE, [sample(first), sample(first, 7200), sample(second)])
        host_id = (await Container.objects.aget(pk=first)).host_id
        since = (timezone.now() - timedelta(hours=1)).isoformat().replace("+", "%2B")
        for query, count in {
            f"container={first}": 2,
            f"host={host_id}": 3,
            "host=0": 0,
            f"since={since}": 2,
            f"container={first}&until={since}": 1,
        }.items():
            page = (await reader.get(f"{USAGE}?{query}")).json()
            assert len(page["results"]) == count, query

    async def test_samples_of_a_container_stand_under_it(
        self, agent: APIClient, reader: APIClient
    ) -> None:
        first, second = await running(2)
        await agent.post(USAGE, [sample(first), sample(second)])
        url = f"/api/v1/containers/{first}/usage/"
        page = (await reader.get(url)).json()
        assert [row["container"] for row in page["results"]] == [first]
        with assert_num_queries(3):  # the token, the container, the page
            await reader.get(url)

    async def test_list_takes_one_query(self, agent: APIClient, reader: APIClient) -> None:
        ids = await running(3)
        await agent.post(USAGE, [sample(one) for one in ids])
        await reader.get(USAGE)
        with assert_num_queries(2):  # the token, the page
            await reader.get(USAGE)


@pytest.mark.asyncio
@pytest.mark.usefixtures("committed")
async def test_same_batch_sent_at_the_same_time_is_stored_once(client_with: ClientOf) -> None:
    agent = await client_with("agent")
    ids = await running(4)
    batch = [sample(one, n) for one in ids for n in range(50)]
    batches = [batch, batch[::-1], batch[50:] + batch[:50], batch]
    answers = await asyncio.gather(*(agent.post(USAGE, one) for one in batches))
    assert [answer.status_code for answer in answers] == [201] * 4
    assert sum(answer.json()["stored"] for answer in answers) == 200
    assert sum(answer.json()["duplicates"] for answer in answers) == 600
    assert await Usage.objects.acount() == 200


@pytest.mark.asyncio
@pytest.mark.usefixtures("committed")
async def test_samples_do_not_collide_with_deletion_of_their_host(
    client_with: ClientOf,
) -> None:
    agent = await client_with("agent")
    ids = await running(2)
    host_id = (await Container.objects.aget(pk=ids[0])).host_id
    batches = [[sample(one, n) for one in ids] for n in range(20)]
    answers = await asyncio.gather(
        *(agent.post(USAGE, batch) for batch in batches[:10]),
        services.delete_host(host_id=host_id, force=True),
        *(agent.post(USAGE, batch) for batch in batches[10:]),
    )
    statuses = {answer.status_code for answer in answers if answer is not None}
    assert statuses <= {201, 400}
    assert await Usage.objects.acount() == 0
