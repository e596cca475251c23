"""People and tokens that the tests of accounts start from."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from app.accounts import services
from app.accounts.models import User

PASSWORD = "correct horse battery staple"

MakeToken = Callable[..., Awaitable[str]]


@pytest_asyncio.fixture
async def operator(transaction: None) -> User:
    return await services.create_user(username="ada", password=PASSWORD, role="operator")


@pytest_asyncio.fixture
async def viewer(transaction: None) -> User:
    return await services.create_user(username="vera", password=PASSWORD)


@pytest.fixture
def make_token(operator: User) -> MakeToken:
    """`await make_token("read", "write")` is the text of a token of the operator."""

    async def make(*scopes: str, **options: Any) -> str:
        options = {"user": operator, "name": "test"} | options
        _, text = await services.create_token(scopes=scopes, **options)
        return text

    return make
