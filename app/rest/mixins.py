"""DRF's model mixins, with DRF's action names as coroutines.

adrf's names (`alist`, `perform_acreate`, `aget_object`) stand beside DRF's. What calls a hook calls
it by adrf's name, whose default calls DRF's: an override of either is honoured, and `super()` of
either leads to the same default.
"""

from typing import Any

from adrf import mixins as adrf_mixins
from asgiref.sync import sync_to_async
from django.http.response import HttpResponseBase
from rest_framework import mixins as drf_mixins  # for who asks `isinstance` of DRF's
from rest_framework import status
from rest_framework.exceptions import ValidationError

from app.rest.colours import call, call_computing
from app.rest.lanes import listed, retrieved
from app.rest.response import Response
from app.rest.write_lanes import created

__all__ = [
    "CreateModelMixin",
    "DestroyModelMixin",
    "ListModelMixin",
    "RetrieveModelMixin",
    "UpdateModelMixin",
]


async def validate(serializer: Any) -> None:
    """Raise ValidationError unless the serializer (async or DRF's own) accepts its input."""
    if hasattr(serializer, "ais_valid"):
        await serializer.ais_valid(raise_exception=True)
    elif not await call_computing(serializer.is_valid):
        raise ValidationError(serializer.errors)


async def save(serializer: Any) -> Any:
    """Save; one of DRF's own in a thread, for it writes to the database there and then."""
    if hasattr(serializer, "asave"):
        return await serializer.asave()
    return await sync_to_async(serializer.save)()


async def data_of(serializer: Any) -> Any:
    """What the serializer shows; one of DRF's own in a thread if it turns out to ask for rows."""
    kind: Any = type(serializer)
    if hasattr(kind, "adata"):
        return await serializer.adata
    return await call_computing(kind.data.fget.__get__(serializer))


class CreateModelMixin(adrf_mixins.CreateModelMixin, drf_mixins.CreateModelMixin):
    async def create(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = await created(self)
        if response is not None:
            return response
        serializer = self.get_serializer(data=request.data)
        await validate(serializer)
        await self.perform_acreate(serializer)
        data = await data_of(serializer)
        return Response(
            data, status=status.HTTP_201_CREATED, headers=self.get_success_headers(data)
        )

    async def perform_create(self, serializer: Any) -> None:
        await save(serializer)

    async def acreate(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await call(self, "create", request, *args, **kwargs)

    async def perform_acreate(self, serializer: Any) -> None:
        await self.perform_create(serializer)


class ListModelMixin(adrf_mixins.ListModelMixin, drf_mixins.ListModelMixin):
    async def list(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        response = await listed(self)
        if response is not None:
            return response
        queryset = await self.afilter_queryset(self.get_queryset())
        page = await self.apaginate_queryset(queryset)
        if page is not None:
            serializer = self.get_serializer(page, many=True)
            return await self.get_apaginated_response(await data_of(serializer))
        serializer = self.get_serializer(queryset, many=True)
        return Response(await data_of(serializer))

    async def alist(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await call(self, "list", request, *args, **kwargs)


class RetrieveModelMixin(adrf_mixins.RetrieveModelMixin, drf_mixins.RetrieveModelMixin):
    async def retrieve(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = await retrieved(self)
        if response is not None:
            return response
        instance = await self.aget_object()
        return Response(await data_of(self.get_serializer(instance)))

    async def aretrieve(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await call(self, "retrieve", request, *args, **kwargs)


class UpdateModelMixin(adrf_mixins.UpdateModelMixin, drf_mixins.UpdateModelMixin):
    async def update(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        partial = kwargs.pop("partial", False)
        instance = await self.aget_object()
        serializer = self.get_serializer(instance, data=request.data, partial=partial)
        await validate(serializer)
        await self.perform_aupdate(serializer)
        if getattr(instance, "_prefetched_objects_cache", None):
            # What was prefetched before the update may no longer hold.
            instance._prefetched_objects_cache = {}
        return Response(await data_of(serializer))

    async def perform_update(self, serializer: Any) -> None:
        await save(serializer)

    async def partial_update(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        kwargs["partial"] = True
        return await self.aupdate(request, *args, **kwargs)

    async def aupdate(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await call(self, "update", request, *args, **kwargs)

    async def partial_aupdate(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await call(self, "partial_update", request, *args, **kwargs)

    async def perform_aupdate(self, serializer: Any) -> None:
        await self.perform_update(serializer)


class DestroyModelMixin(adrf_mixins.DestroyModelMixin, drf_mixins.DestroyModelMixin):
    async def destroy(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        instance = await self.aget_object()
        await self.perform_adestroy(instance)
        return Response(status=status.HTTP_204_NO_CONTENT)

    async def perform_destroy(self, instance: Any) -> None:
        await instance.adelete()

    async def adestroy(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await call(self, "destroy", request, *args, **kwargs)

    async def perform_adestroy(self, instance: Any) -> None:
        await self.perform_destroy(instance)
