"""Fixtures that every test may ask for."""

from app.db.testing import committed, database, django_db_setup, transaction

__all__ = ["committed", "database", "django_db_setup", "transaction"]
