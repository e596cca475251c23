"""DRF's viewsets. Actions are coroutines under DRF's names: list, create, retrieve, update, ..."""

from functools import update_wrapper
from typing import Any

from adrf.viewsets import ViewSetMixin as AdrfViewSetMixin
from asgiref.sync import markcoroutinefunction
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
        """DRF's, which makes the view in fewer steps."""
        given = super().as_view(actions, **initkwargs)
        given.login_required = False  # as DRF: permissions decide, not LoginRequiredMiddleware
        made, bound = getattr(given, "cls", None), getattr(given, "actions", None)
        if made is not cls or bound is None:
            return given
        if "get" in bound:
            bound.setdefault("head", bound["get"])

        def view(request: Any, *args: Any, **kwargs: Any) -> Any:
            self: Any = made(**initkwargs)
            self.action_map = bound
            for method, action in bound.items():
                setattr(self, method, getattr(self, action))
            self.request = request
            self.args = args
            self.kwargs = kwargs
            return self.dispatch(request, *args, **kwargs)

        update_wrapper(view, given)
        del view.__wrapped__  # type: ignore[attr-defined]
        return markcoroutinefunction(view)


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
