from django.apps import AppConfig


class RestConfig(AppConfig):
    name = "app.rest"
    label = "rest"
