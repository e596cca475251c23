from django.apps import AppConfig


class OpsConfig(AppConfig):
    name = "app.ops"
    label = "ops"

    def ready(self) -> None:
        from app.ops import draining
        from app.rest import lifespan

        lifespan.on_startup(draining.watch)
