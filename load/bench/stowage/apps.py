from django.apps import AppConfig


class BenchConfig(AppConfig):
    name = "load.bench.stowage"
    label = "bench"
    default_auto_field = "django.db.models.BigAutoField"
