from django.apps import AppConfig


class OpsConfig(AppConfig):
    name = "app.ops"
    label = "ops"

    def ready(self) -> None:
        from app.ops import draining
        from app.rest import lifespan

        lifespan.on_startup(draining.watch)
        lifespan.background(clear_answers)


async def clear_answers() -> None:
    """Forget what idempotency keys promised to repeat, once it has expired."""
    from app.rest.idempotency import clear_expired_forever

    await clear_expired_forever()
