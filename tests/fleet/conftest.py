"""Who asks: clients with a real token each, and the constraint that gives events their places."""

from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio

from app import db
from app.accounts import services as accounts
from app.rest.test import APIClient

ClientOf = Callable[..., Awaitable[APIClient]]


@pytest.fixture
def client_with() -> ClientOf:
    """`await client_with("read")`: a client whose token has these scopes."""

    async def make(*scopes: str) -> APIClient:
        name = "-".join(scopes)
        user = await accounts.create_user(
            username=f"user-{name}",
            password="correct horse battery",
            is_staff=True,
            is_superuser=True,
        )
        _, text = await accounts.create_token(user=user, name=name, scopes=scopes)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
        return client

    return make


@pytest_asyncio.fixture(loop_scope="session")
async def writer(transaction: None, client_with: ClientOf) -> APIClient:
    return await client_with("read", "write")


@pytest_asyncio.fixture(loop_scope="session")
async def reader(transaction: None, client_with: ClientOf) -> APIClient:
    return await client_with("read")


@pytest_asyncio.fixture(loop_scope="session")
async def agent(transaction: None, client_with: ClientOf) -> APIClient:
    return await client_with("agent")


@pytest_asyncio.fixture(loop_scope="session")
async def placed_events(transaction: None) -> None:
    """Events get their positions at once: the test's transaction never commits."""
    await db.execute("SET CONSTRAINTS fleet_event_place IMMEDIATE")
