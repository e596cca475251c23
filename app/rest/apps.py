from django.apps import AppConfig
from django.core import checks


class RestConfig(AppConfig):
    name = "app.rest"
    label = "rest"

    def ready(self) -> None:
        from app.rest.checks import check_threads

        checks.register(check_threads)
