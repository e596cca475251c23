from django.apps import AppConfig


class ConformanceConfig(AppConfig):
    name = "tests.conformance.db"
    label = "conformance"
