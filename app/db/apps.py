from django.apps import AppConfig

from app.db import signals


class DbConfig(AppConfig):
    name = "app.db"
    label = "db"

    def ready(self) -> None:
        signals.install()
