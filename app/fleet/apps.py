from django.apps import AppConfig


class FleetConfig(AppConfig):
    name = "app.fleet"
    label = "fleet"

    def ready(self) -> None:
        from app.fleet.upkeep import maintain_forever
        from app.rest import lifespan

        lifespan.background(maintain_forever)
