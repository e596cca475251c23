"""DRF's `reverse` and `reverse_lazy`: addresses with the host and the version of the request."""

from rest_framework.reverse import preserve_builtin_query_params, reverse, reverse_lazy

__all__ = ["preserve_builtin_query_params", "reverse", "reverse_lazy"]
