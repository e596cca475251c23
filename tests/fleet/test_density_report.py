"""GET reports/density/: over HTTP, on a real PostgreSQL."""

import asyncio
import re
from datetime import timedelta
from urllib.parse import quote
from xml.etree import ElementTree as ET

import pytest
import pytest_asyncio
from django.utils import timezone

from app.accounts import services as accounts
from app.db.testing import capture_queries
from app.fleet import reports
from app.fleet.models import Container, Host, Usage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("transaction")]

GIB = 2**30
ADDRESS = "/api/v1/reports/density/"


@pytest_asyncio.fixture(loop_scope="session")
async def reader(client, transaction):
    """A client with a token that may read."""
    user = await accounts.create_user(username="reader")
    _, text = await accounts.create_token(user=user, name="t", scopes=["read"])
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


async def create_host(name="alpha", *, containers=("web",), labels=None):
    now = timezone.now()
    host = await Host.objects.acreate(
        name=name,
        labels=labels or {},
        cpus=8.0,
        memory_bytes=16 * GIB,
        reserved_memory_bytes=GIB,
        last_seen_at=now,
    )
    for one in containers:
        container = await Container.objects.acreate(
            host=host,
            name=one,
            engine_id=f"{name}/{one}",
            state="running",
            cpu_reservation=1.0,
            memory_reservation_bytes=3 * GIB,
            memory_limit_bytes=6 * GIB,
        )
        for seconds in (5, 15):
            await Usage.objects.acreate(
                container=container,
                at=now - timedelta(seconds=seconds),
                cpu_cores=0.5,
                memory_bytes=1.5 * GIB,
            )
    return host


async def test_report_has_ratios_for_hosts_and_fleet_with_their_inputs(reader):
    await create_host("alpha", containers=["web", "db"])
    await create_host("beta", containers=["web"])

    response = await reader.get(ADDRESS)

    assert response.status_code == 200, response.text
    assert response["Content-Type"] == "application/json"
    answer = response.json()
    assert answer["fleet"]["hosts"] == 2
    assert answer["fleet"]["containers_counted"] == 3
    assert answer["fleet"]["memory"]["packing"] == 0.3
    alpha, beta = answer["hosts"]
    assert (alpha["name"], beta["name"]) == ("alpha", "beta")
    assert alpha["memory"] == {
        "unit": "bytes",
        "capacity": 16 * GIB,
        "system": GIB,
        "allocatable": 15 * GIB,
        "reservations": 6 * GIB,
        "limits": 12 * GIB,
        "use": 3 * GIB,
        "use_p95": 3 * GIB,
        "free": 9 * GIB,
        "packing": 0.4,
        "usage": 0.2,
        "overcommit": 0.8,
        "slack": 0.5,
        "reasons": {},
        "basis": {
            "reservations": {"declared": 2},
            "limits": {"declared": 2},
            "use": {"sample": 2},
            "use_p95": {"sample": 2},
        },
    }
    assert [one["flags"] for one in alpha["flagged"]] == [["unlimited:cpu"]] * 2
    assert "containers" not in alpha
    assert answer["window"]["hours"] == 1
    assert answer["policy"]["use_percentile"] == 0.95


async def test_unlimited_and_stale_containers_are_listed_and_never_count_as_0(reader):
    """Of a host that fell silent, with nothing declared: per host, by label and for the fleet."""
    host = await create_host("silent", labels={"zone": "a"})
    await create_host("alive", labels={"zone": "b"})
    long_ago = timezone.now() - timedelta(hours=3)
    await Host.objects.filter(pk=host.pk).aupdate(last_seen_at=long_ago)
    await Container.objects.filter(host_id=host.pk).aupdate(
        last_seen_at=long_ago,
        cpu_reservation=None,
        memory_reservation_bytes=None,
        memory_limit_bytes=None,
    )
    await Usage.objects.filter(container__host_id=host.pk).adelete()

    answer = (await reader.get(f"{ADDRESS}?detail=containers")).json()
    grouped = (await reader.get(f"{ADDRESS}?group_by=label:zone")).json()["groups"]

    silent = next(one for one in answer["hosts"] if one["name"] == "silent")
    assert silent["is_stale"]
    assert answer["fleet"]["stale_hosts"] == ["silent"]
    (flagged,) = silent["flagged"]
    assert {
        "unlimited:cpu",
        "unlimited:memory",
        "unreserved:cpu",
        "unreserved:memory",
        "stale",
    } <= {*flagged["flags"]}
    (one,) = silent["containers"]
    for resource in ("cpu", "memory"):
        assert one[resource]["reservation"] > 0
        assert one[resource]["limit"] > 0
        assert silent[resource]["reservations"] == one[resource]["reservation"]
        assert silent[resource]["limits"] == one[resource]["limit"]
        assert silent[resource]["packing"] > 0
        assert silent[resource]["overcommit"] > 0
        by_zone = {group["value"]: group[resource] for group in grouped}
        assert by_zone["a"]["reservations"] == silent[resource]["reservations"]
        whole = sum(each[resource]["limits"] for each in answer["hosts"])
        assert answer["fleet"][resource]["limits"] == pytest.approx(whole)


async def test_containers_are_added_on_request(reader):
    await create_host()

    answer = (await reader.get(f"{ADDRESS}?detail=containers")).json()

    (container,) = answer["hosts"][0]["containers"]
    assert container["memory"]["reservation"] == 3 * GIB
    assert container["cpu"]["limit_basis"] == "stand_in"
    assert container["samples"] == 2


async def test_indented_json_says_the_same(reader):
    await create_host()

    compact, indented = [
        await reader.get(ADDRESS, HTTP_ACCEPT=accept)
        for accept in ("application/json", "application/json; indent=4")
    ]

    assert b"\n" in indented.content
    assert indented.json()["hosts"] == compact.json()["hosts"]


async def test_empty_fleet_is_an_answer_with_reasons(reader):
    response = await reader.get(ADDRESS)

    assert response.status_code == 200
    answer = response.json()
    assert answer["hosts"] == []
    assert answer["fleet"]["reason"]
    assert answer["fleet"]["memory"]["packing"] is None
    assert answer["fleet"]["memory"]["reasons"]["packing"]


async def test_hosts_are_filtered_by_name_id_and_label(reader):
    alpha = await create_host("alpha", labels={"zone": "a"})
    await create_host("beta", labels={"zone": "b"})
    await create_host("gamma", labels={"zone": "b"})

    async def names(query):
        answer = (await reader.get(f"{ADDRESS}?{query}")).json()
        return [host["name"] for host in answer["hosts"]]

    assert await names("host=alpha&host=beta") == ["alpha", "beta"]
    assert await names(f"host={alpha.pk}") == ["alpha"]
    assert await names("label=zone=b") == ["beta", "gamma"]
    assert await names("host=alpha&label=zone=b") == []
    assert await names("label=zone=") == []


async def test_window_is_what_was_asked_for(reader):
    await create_host()
    container = await Container.objects.aget()
    await Usage.objects.acreate(
        container=container,
        at=timezone.now() - timedelta(hours=3),
        cpu_cores=4.0,
        memory_bytes=4 * GIB,
    )

    def p95(answer):
        return answer.json()["hosts"][0]["cpu"]["use_p95"]

    assert p95(await reader.get(ADDRESS)) == 0.5
    wide = await reader.get(f"{ADDRESS}?window_hours=4")
    assert p95(wide) > 3
    assert wide.json()["window"]["hours"] == 4


@pytest.mark.parametrize(
    ("query", "name", "remedy"),
    [
        ("host=", "host", "Write the name or the id"),
        ("host=a%00b", "host", "Write the name or the id"),
        ("host=nowhere", "host", "There is no host nowhere. See hosts/"),
        ("label=zone", "label", "Write ?label=key=value"),
        ("label==a", "label", "Write ?label=key=value"),
        ("label=zone=%00", "label", "Write ?label=key=value"),
        ("label=zone=a&label=zone=b", "label", "leave one of the two values out"),
        ("window_hours=", "window_hours", "Write a number of hours"),
        ("window_hours=0", "window_hours", "Write a number of hours"),
        ("window_hours=-1", "window_hours", "Write a number of hours"),
        ("window_hours=nan", "window_hours", "Write a number of hours"),
        ("window_hours=1e999", "window_hours", "Write a number of hours"),
        ("window_hours=48.1", "window_hours", "from 0.017 to 48"),
        ("resource=disk", "resource", "Write cpu or memory"),
        ("detail=all", "detail", "Write hosts or containers"),
        ("windw_hours=3", "windw_hours", "Unknown parameter. Known are: host, label"),
    ],
)
@pytest.mark.parametrize("picture", ["", "&format=svg"])
async def test_bad_parameter_is_400_and_names_the_remedy(reader, query, name, remedy, picture):
    response = await reader.get(f"{ADDRESS}?{query}{picture}")

    assert response.status_code == 400
    if picture:
        assert remedy.split("?")[0] in "".join(ET.fromstring(response.content).itertext())
    else:
        assert remedy in response.json()[name][0]


async def test_every_bad_parameter_is_named_at_once(reader):
    response = await reader.get(f"{ADDRESS}?label=x&window_hours=x")

    assert set(response.json()) == {"label", "window_hours"}


async def test_picture_is_an_svg_that_a_browser_may_show(reader):
    await create_host("<script>alert(1)</script>", containers=["<b>&"])

    response = await reader.get(f"{ADDRESS}?format=svg")

    assert response.status_code == 200
    assert response["Content-Type"] == "image/svg+xml; charset=utf-8"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"].startswith("default-src 'none'")
    titles = [one.text for one in ET.fromstring(response.content).iter() if "title" in one.tag]
    assert any(title.startswith("<b>&: running") for title in titles)
    assert b"<script" not in response.content


async def test_picture_is_asked_for_by_accept_too(reader):
    response = await reader.get(ADDRESS, HTTP_ACCEPT="image/svg+xml")

    assert response["Content-Type"] == "image/svg+xml; charset=utf-8"


async def test_picture_of_another_resource(reader):
    await create_host()

    assert "by cpu" in (await reader.get(f"{ADDRESS}?format=svg&resource=cpu")).text


async def test_picture_of_an_empty_fleet_says_so(reader):
    assert "The harbour is empty" in (await reader.get(f"{ADDRESS}?format=svg")).text


async def test_page_in_the_browser_has_the_report(reader):
    await create_host("alpha")

    response = await reader.get(ADDRESS, HTTP_ACCEPT="text/html")

    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/html")
    assert "Density Report" in response.text
    assert "alpha" in response.text
    assert re.search(r'<img[^>]+src="[^"]*format=svg', response.text)


@pytest.mark.parametrize("hosts", [0, 1, 6])
@pytest.mark.parametrize("query", ["", "?format=svg", "?detail=containers", "?label=zone=a"])
async def test_report_asks_the_database_twice_whatever_the_size(reader, hosts, query):
    for number in range(hosts):
        await create_host(f"host-{number}", containers=["web", "db"], labels={"zone": "a"})
    await reader.get(ADDRESS)

    with capture_queries() as queries:
        response = await reader.get(f"{ADDRESS}{query}")

    assert response.status_code == 200
    asked = [one["sql"] for one in queries if "fleet_" in one["sql"]]
    assert len(asked) == 2, "own constants, hosts"
    assert "percentile_cont" in asked[1]


@pytest.mark.parametrize("query", ["", "?format=svg", "?detail=containers", "?host=nowhere"])
async def test_report_enters_no_thread(reader, hops, query):
    await create_host()

    await reader.get(f"{ADDRESS}{query}")

    assert not hops


async def test_report_needs_a_reader(client):
    assert (await client.get(ADDRESS)).status_code == 401

    user = await accounts.create_user(username="agent", role="operator")
    _, text = await accounts.create_token(user=user, name="t", scopes=["agent"])
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    assert (await client.get(ADDRESS)).status_code == 403


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
async def test_report_is_only_read(reader, method):
    response = await getattr(reader, method)(ADDRESS)

    assert response.status_code in (403, 405)


async def test_head_is_answered_as_get(reader):
    assert (await reader.head(ADDRESS)).status_code == 200


async def test_label_with_every_kind_of_character_is_found(reader):
    value = "a=b&c d%é\"'{}"
    await create_host("alpha", labels={"k": value})

    response = await reader.get(f"{ADDRESS}?label={quote('k=' + value)}")

    assert [host["name"] for host in response.json()["hosts"]] == ["alpha"]


async def test_several_who_ask_at_once_share_a_report_that_is_not_older_than_they(
    reader, transaction, monkeypatch
):
    await create_host()
    begun = 0
    fetch_hosts = reports.fetch_hosts

    async def counted(**values):
        nonlocal begun
        begun += 1
        return await fetch_hosts(**values)

    monkeypatch.setattr(reports, "fetch_hosts", counted)
    answers = await asyncio.gather(*(reader.get(ADDRESS) for _ in range(5)))

    assert begun == 2
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 2
    assert (await reader.get(ADDRESS)).json()["fleet"]["hosts"] == 1
    assert begun == 3
