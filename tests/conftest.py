"""Fixtures that every test may ask for."""

import pytest

from app.db.testing import committed, database, django_db_setup, transaction
from app.rest.test import APIClient

__all__ = ["client", "committed", "database", "django_db_setup", "transaction"]


@pytest.fixture
def client() -> APIClient:
    """DRF's test client, async, over the real ASGI application."""
    return APIClient()
