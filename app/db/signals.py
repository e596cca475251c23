"""Model signals with asynchronous receivers, sent from inside the bridge.

Django's `send()` hands asynchronous receivers to `async_to_sync()`, which refuses a running loop.
Here they are awaited one after the other, in the task, and so in the transaction, of the sender.
"""

from typing import Any

from django.db.models import signals as stock

from app.db import bridges


class AwaitingSignal(stock.ModelSignal):
    def send(self, sender: Any, **named: Any) -> list[tuple[Any, Any]]:
        if not self.receivers or not bridges.is_bridged():
            return super().send(sender, **named)
        plain, awaited = self._live_receivers(sender)
        responses = [
            (receiver, receiver(signal=self, sender=sender, **named)) for receiver in plain
        ]
        for receiver in awaited:
            response = bridges.wait(receiver(signal=self, sender=sender, **named))
            responses.append((receiver, response))
        return responses


def install() -> None:
    """Let Django's own signals of saving, deleting and relating await their receivers."""
    for name in ("pre_save", "post_save", "pre_delete", "post_delete", "m2m_changed"):
        getattr(stock, name).__class__ = AwaitingSignal


__all__ = ["install"]
