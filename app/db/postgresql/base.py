"""Django's own connection, for synchronous code: migrations, commands, code in a thread.

Django makes one in every process and asks it how long a name may be. Most workers never connect it,
so psycopg is imported when it connects, or is asked with what: it becomes an instance of Django's
own class then.
"""

from typing import Any

from app.db import dialects


class DatabaseWrapper(dialects.base.DatabaseWrapper):
    def connect(self) -> None:
        self._become_django_s()
        self.connect()

    def get_connection_params(self) -> dict[str, Any]:
        self._become_django_s()
        parameters: dict[str, Any] = self.get_connection_params()
        return parameters

    def _become_django_s(self) -> None:
        from django.db.backends.postgresql.base import DatabaseWrapper as Django

        from app.db import adapters  # noqa: F401 - a query compiled so far has wrappers of app.db's

        self.__class__ = Django  # type: ignore[assignment]
        for part in ("client", "creation", "features", "introspection", "ops"):
            setattr(self, part, getattr(self, f"{part}_class")(self))
