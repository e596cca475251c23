from django.apps import AppConfig


class DbConfig(AppConfig):
    name = "app.db"
    label = "db"
