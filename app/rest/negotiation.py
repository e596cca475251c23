"""DRF's content negotiation. It only computes."""

from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation

__all__ = ["BaseContentNegotiation", "DefaultContentNegotiation"]
