"""DRF's serializers, validating, saving and reading asynchronously.

    await serializer.ais_valid(raise_exception=True)    avalidate, avalidate_<field>, or DRF's plain
    ones await serializer.asave(**kwargs)                    acreate, aupdate await serializer.adata

`is_valid()`, `save()` and `data` are still DRF's, for synchronous code.
"""

from collections.abc import Awaitable
from typing import Any

from adrf import serializers as adrf
from django.contrib.postgres import fields as postgres_fields
from django.db import models
from rest_framework import serializers as drf
from rest_framework.exceptions import ValidationError
from rest_framework.fields import empty
from rest_framework.serializers import ALL_FIELDS, LIST_SERIALIZER_KWARGS
from rest_framework.utils.serializer_helpers import ReturnDict, ReturnList

from app.rest import list_intakes, representation, validation
from app.rest.exceptions import ErrorDetail
from app.rest.fields import *  # noqa: F403 - DRF's serializers module offers every field, so does this
from app.rest.fields import FloatField, ImageField, JSONField
from app.rest.relations import *  # noqa: F403 - and every relation
from app.rest.relations import aresolve, release
from app.rest.response import LISTS
from app.rest.uploads import astore_files
from app.rest.validators import UniqueTogetherValidator, UniqueValidator

__all__ = [
    "ALL_FIELDS",
    "LIST_SERIALIZER_KWARGS",
    "BaseSerializer",
    "ErrorDetail",
    "HyperlinkedModelSerializer",
    "ListSerializer",
    "ModelSerializer",
    "Serializer",
    "UniqueTogetherValidator",
    "UniqueValidator",
    "ValidationError",
]


class BaseSerializer(adrf.BaseSerializer):
    """DRF's BaseSerializer with `ais_valid`, `asave` and `adata`."""

    instance: Any

    @classmethod
    def many_init(cls, *args: Any, **kwargs: Any) -> Any:
        list_kwargs = {
            key: value
            for key in drf.LIST_SERIALIZER_KWARGS_REMOVE
            if (value := kwargs.pop(key, None)) is not None
        }
        list_kwargs["child"] = cls(*args, **kwargs)
        list_kwargs |= {
            key: value for key, value in kwargs.items() if key in LIST_SERIALIZER_KWARGS
        }
        meta = getattr(cls, "Meta", None)
        return getattr(meta, "list_serializer_class", ListSerializer)(*args, **list_kwargs)

    async def ais_valid(self, *, raise_exception: bool = False) -> bool:
        """Validate `initial_data`; sets `validated_data` and `errors`. Raises ValidationError if
        asked.
        """
        assert hasattr(self, "initial_data"), (
            "Cannot call `.ais_valid()` as no `data=` keyword argument was "
            "passed when instantiating the serializer instance."
        )
        if not hasattr(self, "_validated_data"):
            await self._avalidate_once()
        if self._errors and raise_exception:
            raise validation.refused(self.errors)
        return not self._errors

    async def _avalidate_once(self) -> None:
        nothing: Any = [] if isinstance(self, drf.ListSerializer) else {}
        if isinstance(self, ListSerializer) and (short := await list_intakes.validated(self)):
            self._validated_data, self._errors = short, nothing
            return
        fields = await aresolve(self, self.initial_data)
        try:
            self._validated_data = await self.arun_validation(self.initial_data)
        except ValidationError as exc:
            self._validated_data = nothing
            self._errors = exc.detail
        else:
            self._errors = nothing
        finally:
            release(fields)

    async def arun_validation(self, data: Any = empty) -> Any:
        """A BaseSerializer's own `to_internal_value` only computes; subclasses await theirs."""
        return self.run_validation(data)

    @property
    def adata(self) -> Awaitable[Any]:
        return self._adata()

    async def _adata(self) -> Any:
        if hasattr(self, "initial_data") and not hasattr(self, "_validated_data"):
            raise AssertionError(
                "When a serializer is passed a `data` keyword argument you must call "
                "`.ais_valid()` before attempting to access the serialized `.adata` representation."
            )
        if not hasattr(self, "_data"):
            valid = not getattr(self, "_errors", None)
            if self.instance is not None and valid:
                self._data = await self.ato_representation(self.instance)
            elif hasattr(self, "_validated_data") and valid:
                self._data = await self.ato_representation(self.validated_data)
            else:
                self._data = self.get_initial()
        return self._data

    async def ato_representation(self, instance: Any) -> Any:
        return self.to_representation(instance)

    async def acreate(self, validated_data: Any) -> Any:
        """DRF's `create`, which may be `async def`; a plain one runs in a thread."""
        return await _call_twin(self, "create", validated_data)

    async def aupdate(self, instance: Any, validated_data: Any) -> Any:
        return await _call_twin(self, "update", instance, validated_data)


async def _call_twin(serializer: Any, name: str, *args: Any) -> Any:
    from app.rest.colours import call_function

    return await call_function(getattr(serializer, name), *args)


class Serializer(BaseSerializer, adrf.Serializer):
    """DRF's Serializer."""

    async def arun_validation(self, data: Any = empty) -> Any:
        return await validation.run_validation(self, data)

    async def ato_internal_value(self, data: Any) -> Any:
        return await validation.to_internal_value(self, data)

    async def _adata(self) -> ReturnDict:
        return ReturnDict(await super()._adata(), serializer=self)

    async def ato_representation(self, instance: Any) -> Any:
        """Load what the fields read, then DRF's `to_representation`."""
        await representation.load(self, [instance])
        return await representation.represent(self, instance)


class ListSerializer(BaseSerializer, adrf.ListSerializer):
    """DRF's ListSerializer. Relations are loaded and looked up for the whole list at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        view = getattr(self._context.get("view"), "__dict__", None)
        if view is not None:
            view.setdefault(LISTS, []).append(self)

    async def arun_validation(self, data: Any = empty) -> Any:
        return await validation.run_validation(self, data)

    async def ato_internal_value(self, data: Any) -> Any:
        return await validation.list_to_internal_value(self, data)

    async def arun_child_validation(self, data: Any) -> Any:
        """Validate one item. Override it to set `self.child.instance` for a multiple update."""
        return await validation.run_child(self, data)

    async def _adata(self) -> ReturnList:
        return ReturnList(await super()._adata(), serializer=self)

    async def ato_representation(self, data: Any) -> list[Any]:
        items = await representation.as_list(data)
        await representation.load(self.child, items)
        return await representation.represent_all(self.child, items)

    async def asave(self, **kwargs: Any) -> Any:
        assert "commit" not in kwargs, (
            "'commit' is not a valid keyword argument to the 'asave()' method."
        )
        validated = [{**attrs, **kwargs} for attrs in self.validated_data]
        if self.instance is not None:
            self.instance = await self.aupdate(self.instance, validated)
            assert self.instance is not None, "`aupdate()` did not return an object instance."
        else:
            self.instance = await self.acreate(validated)
            assert self.instance is not None, "`acreate()` did not return an object instance."
        return self.instance

    async def acreate(self, validated_data: Any) -> Any:
        if validation.overrides(self, "create", drf.ListSerializer):
            return await _call_twin(self, "create", validated_data)
        return [await self.child.acreate(attrs) for attrs in validated_data]

    async def aupdate(self, instance: Any, validated_data: Any) -> Any:
        return await _call_twin(self, "update", instance, validated_data)


class ModelSerializer(Serializer, adrf.ModelSerializer):
    """DRF's ModelSerializer; `acreate` and `aupdate` use the model's async manager."""

    serializer_field_mapping = {
        **drf.ModelSerializer.serializer_field_mapping,
        models.FloatField: FloatField,
        models.ImageField: ImageField,
        models.JSONField: JSONField,
        postgres_fields.ArrayField: drf.ListField,
    }

    async def acreate(self, validated_data: Any) -> Any:
        if validation.overrides(self, "create", drf.ModelSerializer):
            return await _call_twin(self, "create", validated_data)
        validated_data = await astore_files(self.Meta.model, validated_data)
        return await adrf.ModelSerializer.acreate(self, validated_data)

    async def aupdate(self, instance: Any, validated_data: Any) -> Any:
        if validation.overrides(self, "update", drf.ModelSerializer):
            return await _call_twin(self, "update", instance, validated_data)
        validated_data = await astore_files(self.Meta.model, validated_data, instance)
        return await adrf.ModelSerializer.aupdate(self, instance, validated_data)


class HyperlinkedModelSerializer(ModelSerializer, drf.HyperlinkedModelSerializer):
    """DRF's: relations are URLs, and `url` stands for the primary key."""
