"""Who asks: clients with a real token each. `tests/conftest.py` gives them to every test."""

from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio

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
