"""DRF's generic views. Hooks that ask the database are coroutines; get_* only compute."""

from inspect import isawaitable
from typing import Any

from adrf.generics import GenericAPIView as AdrfGenericAPIView
from django.core.exceptions import ValidationError
from django.http import Http404
from django.http.response import HttpResponseBase
from rest_framework import generics as drf  # for who asks `isinstance` of DRF's
from rest_framework.settings import api_settings

from app.rest import mixins, views
from app.rest.colours import call

__all__ = [
    "CreateAPIView",
    "DestroyAPIView",
    "GenericAPIView",
    "ListAPIView",
    "ListCreateAPIView",
    "RetrieveAPIView",
    "RetrieveDestroyAPIView",
    "RetrieveUpdateAPIView",
    "RetrieveUpdateDestroyAPIView",
    "UpdateAPIView",
    "get_object_or_404",
]

_BIGGEST = 2**63 - 1


async def get_object_or_404(queryset: Any, *args: Any, **kwargs: Any) -> Any:
    """The one object that matches. Raises Http404 when none does, or no value like these can."""
    if any(_cannot_be_stored(value) for value in kwargs.values()):
        raise Http404
    queryset = (
        queryset._default_manager.all() if hasattr(queryset, "_default_manager") else queryset
    )
    try:
        return await queryset.aget(*args, **kwargs)
    except queryset.model.DoesNotExist:
        name = queryset.model._meta.object_name
        raise Http404(f"No {name} matches the given query.") from None
    except (TypeError, ValueError, ValidationError):
        raise Http404 from None


def _cannot_be_stored(value: Any) -> bool:
    """Whether PostgreSQL would refuse to compare a column with `value`."""
    if isinstance(value, str):
        if value.isdecimal():
            return len(value) > len(str(_BIGGEST)) or int(value) > _BIGGEST
        return "\x00" in value
    return isinstance(value, int) and abs(value) > _BIGGEST


class GenericAPIView(views.APIView, AdrfGenericAPIView):
    """DRF's GenericAPIView: queryset, serializer_class, filter_backends, pagination_class,
    lookup_field.
    """

    awaited_hooks = (
        *views.APIView.awaited_hooks,
        "get_object",
        "filter_queryset",
        "paginate_queryset",
        "perform_create",
        "perform_update",
        "perform_destroy",
        "perform_bulk_create",
        "perform_bulk_update",
        "perform_bulk_destroy",
    )
    filter_backends = api_settings.DEFAULT_FILTER_BACKENDS
    pagination_class = api_settings.DEFAULT_PAGINATION_CLASS

    async def get_object(self) -> Any:
        """The object that the URL names. Raises Http404; check_object_permissions may refuse it."""
        queryset = await self.afilter_queryset(self.get_queryset())
        lookup_url_kwarg = self.lookup_url_kwarg or self.lookup_field
        assert lookup_url_kwarg in self.kwargs, (
            f"Expected view {type(self).__name__} to be called with a URL keyword argument "
            f'named "{lookup_url_kwarg}". Fix your URL conf, or set the `.lookup_field` '
            "attribute on the view correctly."
        )
        obj = await get_object_or_404(
            queryset, **{self.lookup_field: self.kwargs[lookup_url_kwarg]}
        )
        await self.check_object_permissions(self.request, obj)
        return obj

    async def filter_queryset(self, queryset: Any) -> Any:
        for backend in self.filter_backends:
            queryset = await call(backend(), "filter_queryset", self.request, queryset, self)
        return queryset

    async def paginate_queryset(self, queryset: Any) -> Any:
        """One page of results as a list, or None when pagination is off."""
        if self.paginator is None:
            return None
        return await call(self.paginator, "paginate_queryset", queryset, self.request, view=self)

    def get_paginated_response(self, data: Any) -> Any:
        assert self.paginator is not None
        return self.paginator.get_paginated_response(data)

    # adrf's names for the same hooks; see `mixins`.
    async def aget_object(self) -> Any:
        return await self.get_object()

    async def afilter_queryset(self, queryset: Any) -> Any:
        return await self.filter_queryset(queryset)

    async def apaginate_queryset(self, queryset: Any) -> Any:
        return await self.paginate_queryset(queryset)

    async def get_apaginated_response(self, data: Any) -> Any:
        response = self.get_paginated_response(data)
        return await response if isawaitable(response) else response


class CreateAPIView(mixins.CreateModelMixin, GenericAPIView, drf.CreateAPIView):
    async def post(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await self.acreate(request, *args, **kwargs)


class ListAPIView(mixins.ListModelMixin, GenericAPIView, drf.ListAPIView):
    async def get(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await self.alist(request, *args, **kwargs)


class RetrieveAPIView(mixins.RetrieveModelMixin, GenericAPIView, drf.RetrieveAPIView):
    async def get(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await self.aretrieve(request, *args, **kwargs)


class DestroyAPIView(mixins.DestroyModelMixin, GenericAPIView, drf.DestroyAPIView):
    async def delete(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await self.adestroy(request, *args, **kwargs)


class UpdateAPIView(mixins.UpdateModelMixin, GenericAPIView, drf.UpdateAPIView):
    async def put(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await self.aupdate(request, *args, **kwargs)

    async def patch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await self.partial_aupdate(request, *args, **kwargs)


class ListCreateAPIView(ListAPIView, CreateAPIView, drf.ListCreateAPIView):
    pass


class RetrieveUpdateAPIView(RetrieveAPIView, UpdateAPIView, drf.RetrieveUpdateAPIView):
    pass


class RetrieveDestroyAPIView(RetrieveAPIView, DestroyAPIView, drf.RetrieveDestroyAPIView):
    pass


class RetrieveUpdateDestroyAPIView(
    RetrieveAPIView, UpdateAPIView, DestroyAPIView, drf.RetrieveUpdateDestroyAPIView
):
    pass
