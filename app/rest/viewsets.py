"""DRF's viewsets. Actions are coroutines under DRF's names: list, create, retrieve, update, ..."""

from typing import Any

from adrf.viewsets import ViewSetMixin as AdrfViewSetMixin
from django.utils.decorators import classonlymethod

from app.rest import generics, mixins, views

__all__ = ["GenericViewSet", "ModelViewSet", "ReadOnlyModelViewSet", "ViewSet", "ViewSetMixin"]


class ViewSetMixin(AdrfViewSetMixin):
    """Binds methods to actions: `View.as_view({"get": "list"})`. The view is a coroutine."""

    @classonlymethod
    def as_view(
        cls,  # noqa: N805 - a class method, by Django's decorator
        actions: dict[str, str] | None = None,
        **initkwargs: Any,
    ) -> Any:
        view = super().as_view(actions, **initkwargs)
        view.login_required = False  # as DRF: permissions decide, not LoginRequiredMiddleware
        return view


class ViewSet(ViewSetMixin, views.APIView):
    """Provides no actions of its own."""


class GenericViewSet(ViewSetMixin, generics.GenericAPIView):
    """Provides get_object, get_queryset and the rest of GenericAPIView, and no actions."""


class ReadOnlyModelViewSet(mixins.RetrieveModelMixin, mixins.ListModelMixin, GenericViewSet):
    """`list` and `retrieve`."""


class ModelViewSet(
    mixins.CreateModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    mixins.ListModelMixin,
    GenericViewSet,
):
    """`create`, `retrieve`, `update`, `partial_update`, `destroy` and `list`."""
