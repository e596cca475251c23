from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in


class AccountsConfig(AppConfig):
    name = "app.accounts"
    label = "accounts"

    def ready(self) -> None:
        from app.accounts.receivers import record_login
        from app.accounts.sessions import clear_expired_forever
        from app.rest import lifespan

        # Django's own receiver is synchronous: a login would write through a thread.
        user_logged_in.disconnect(dispatch_uid="update_last_login")
        user_logged_in.connect(record_login, dispatch_uid="record_login")
        lifespan.background(clear_expired_forever)
