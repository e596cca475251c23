"""Many objects with one request: a list in POST, PUT, PATCH or DELETE on the collection.

    POST    [{...}, {...}]               create all (201)
    PUT     [{"id": 1, ...}, ...]        replace all (200); PATCH likewise, with what changes
    DELETE  ?id=1,2 or ?<filter>=...     delete what is named (200 with the count)

All or none: items are validated one by one, and if any is wrong the answer holds its errors by the
item's place in the list, `{"3": {"name": [...]}}`, and nothing is written. What is written is
written with one statement (`abulk_create`, `abulk_update`), so as Django says of these: no signals
are sent, and many-to-many relations are not among what can be written. A serializer that creates or
updates in its own way is asked to, item by item; put a transaction around that (`perform_bulk_*`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.http.response import HttpResponseBase
from rest_framework import serializers as drf
from rest_framework import status
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.fields import empty

from app.rest import mixins, validation
from app.rest.breathing import Breather
from app.rest.exceptions import TooManyItems
from app.rest.relations import is_storable
from app.rest.response import Response
from app.rest.serializers import ListSerializer, ModelSerializer
from app.rest.uniqueness import Taken, doubles

__all__ = [
    "BulkCreateModelMixin",
    "BulkDestroyModelMixin",
    "BulkListSerializer",
    "BulkModelMixin",
    "BulkUpdateModelMixin",
]

Errors = dict[int, Any]


class BulkListSerializer(ListSerializer):
    """A list that is created or updated with one statement. `instance`: the objects to update, each
    at the place of its item.
    """

    async def ato_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list):
            message = self.error_messages["not_a_list"].format(input_type=type(data).__name__)
            raise ValidationError({"non_field_errors": [message]}, code="not_a_list")
        instances: list[Any] | None = self.instance
        taken = await Taken.find(self.child, data, instances)
        values: dict[int, Any] = {}
        errors: Errors = {}
        breather = Breather()
        with taken.at_hand():
            for index, item in enumerate(data):
                self.child.instance = instances[index] if instances else None
                self.child.initial_data = item
                try:
                    values[index] = await self.arun_child_validation(item)
                except ValidationError as exc:
                    errors[index] = exc.detail
                await breather.breathe()
        self.child.instance = None
        errors |= await doubles(self.child, values, instances)
        if errors:
            raise validation.refused(dict(sorted(errors.items())))
        return list(values.values())

    async def acreate(self, validated_data: Any) -> Any:
        if _has_own(self.child, "create"):
            return [await self.child.acreate(attrs) for attrs in validated_data]
        model = self.child.Meta.model
        objects, breather = [], Breather()
        refuse = _refuser(model)
        for attrs in validated_data:
            refuse(attrs)
            objects.append(model(**attrs))
            await breather.breathe()
        return await model._default_manager.abulk_create(objects)

    async def aupdate(self, instance: Any, validated_data: Any) -> Any:
        if _has_own(self.child, "update"):
            pairs = zip(instance, validated_data, strict=True)
            return [await self.child.aupdate(one, attrs) for one, attrs in pairs]
        model = self.child.Meta.model
        changed: set[str] = set()
        refuse, breather = _refuser(model), Breather()
        for one, attrs in zip(instance, validated_data, strict=True):
            refuse(attrs)
            changed.update(attrs)
            for name, value in attrs.items():
                setattr(one, name, value)
            await breather.breathe()
        if changed:
            changed |= _stamp(model, instance)
            await model._default_manager.abulk_update(instance, sorted(changed))
        return instance


def _has_own(child: Any, name: str) -> bool:
    """Whether the serializer creates (or updates) in a way of its own, or has no model."""
    awaited = f"a{name}"
    if not isinstance(child, ModelSerializer):
        return True
    return getattr(type(child), awaited) is not getattr(
        ModelSerializer, awaited
    ) or validation.overrides(child, name, drf.ModelSerializer)


def _refuser(model: Any) -> Callable[[Mapping[str, Any]], None]:
    """Refuses what one statement can't write: relations to many, nested objects."""
    many = {field.name for field in model._meta.many_to_many}
    columns = {field.name for field in model._meta.concrete_fields}

    def refuse(attrs: Mapping[str, Any]) -> None:
        wrong = many.intersection(attrs) | {
            name
            for name, value in attrs.items()
            if isinstance(value, list | dict) and name not in columns
        }
        assert not wrong, (
            f"{', '.join(sorted(wrong))}: one statement does not write relations to many or nested "
            "objects. Write `acreate` and `aupdate` on the serializer, and a transaction around "
            "them in `perform_bulk_create` and `perform_bulk_update`."
        )

    return refuse


def _stamp(model: Any, instances: Sequence[Any]) -> set[str]:
    """Give `auto_now` fields their moment, as `save()` would; their names."""
    fields = [field for field in model._meta.concrete_fields if getattr(field, "auto_now", False)]
    for field in fields:
        for instance in instances:
            field.pre_save(instance, False)
    return {field.name for field in fields}


class BulkMixin:
    """What the mixins share. `bulk_max_items`: more than that in a request is refused (413)."""

    bulk_actions: dict[str, str] = {}
    bulk_max_items: int | None = None
    request: Any
    lookup_field: str

    def get_bulk_max_items(self) -> int:
        default = getattr(settings, "STOWAGE", {}).get("BULK_MAX_ITEMS", 100)
        return int(default if self.bulk_max_items is None else self.bulk_max_items)

    def get_bulk_serializer(self, instance: Any = None, *, data: Any, **kwargs: Any) -> Any:
        """The serializer of a list: `Meta.list_serializer_class`, if that is a bulk one."""
        view: Any = self
        child = view.get_serializer(**kwargs)
        own = getattr(getattr(child, "Meta", None), "list_serializer_class", None)
        is_bulk = isinstance(own, type) and issubclass(own, BulkListSerializer)
        list_class: Any = own if is_bulk else BulkListSerializer
        context = view.get_serializer_context()
        return list_class(instance, data=data, child=child, context=context, **kwargs)

    def check_bulk_size(self, items: Sequence[Any]) -> None:
        """Raises ValidationError for no item, TooManyItems for too many."""
        if not items:
            raise ValidationError({"non_field_errors": ["Empty. Send at least one item."]})
        if len(items) > self.get_bulk_max_items():
            raise TooManyItems(self.get_bulk_max_items(), len(items))

    async def find_bulk_objects(self, ids: list[Any]) -> list[Any]:
        """The object of each id, in their order, one query. Raises ValidationError, with an error
        for each id that is missing, no id, doubled, or unknown; PermissionDenied, with one for
        each object that this caller may not touch.
        """
        view: Any = self
        name, field = self._id_field(view.get_queryset().model)
        keys, errors = await _read_ids(field, name, ids)
        queryset = await view.afilter_queryset(view.get_queryset())
        attribute = field.model_field.attname
        found = {
            getattr(obj, attribute): obj
            async for obj in queryset.filter(**{f"{field.model_field.name}__in": keys.values()})
        }
        for index, key in keys.items():
            if key not in found:
                errors[index] = {name: [f"There is no object {key} here."]}
        if errors:
            raise ValidationError(dict(sorted(errors.items())))
        objects = [found[key] for key in keys.values()]
        await self.check_bulk_permissions(objects)
        return objects

    async def check_bulk_permissions(self, objects: list[Any]) -> None:
        """Ask the object permissions of each. Raises PermissionDenied with an error for each."""
        view: Any = self
        refused: Errors = {}
        breather = Breather()
        for index, obj in enumerate(objects):
            await breather.breathe()
            try:
                await view.check_object_permissions(self.request, obj)
            except PermissionDenied as exc:
                refused[index] = {"detail": exc.detail}
        if refused:
            raise PermissionDenied(refused)

    def _id_field(self, model: Any) -> tuple[str, "IdField"]:
        column = model._meta.pk
        if self.lookup_field not in {"pk", column.name}:
            column = model._meta.get_field(self.lookup_field)
        return column.name, IdField(column)


class IdField:
    """Reads an id as a client writes it."""

    def __init__(self, model_field: Any) -> None:
        self.model_field = model_field
        kind, kwargs = drf.ModelSerializer().build_standard_field(model_field.name, model_field)
        kept = {key: value for key, value in kwargs.items() if key == "max_length"}
        if issubclass(kind, drf.IntegerField | drf.BigIntegerField):
            kept["error_messages"] = {"invalid": drf.IntegerField.default_error_messages["invalid"]}
        self.field: Any = kind(**kept)

    def read(self, value: Any) -> Any:
        """Raises ValidationError; KeyError for what no row can have."""
        key = self.field.run_validation(value)
        if not is_storable(self.model_field.model, self.model_field.name, key):
            raise KeyError(key)
        return key


async def _read_ids(field: IdField, name: str, ids: list[Any]) -> tuple[dict[int, Any], Errors]:
    keys: dict[int, Any] = {}
    errors: Errors = {}
    places: dict[Any, int] = {}
    breather = Breather()
    for index, value in enumerate(ids):
        await breather.breathe()
        try:
            key = field.read(value)
        except ValidationError as exc:
            errors[index] = {name: exc.detail}
        except KeyError:
            errors[index] = {name: ["There is no object with this id here."]}
        else:
            if places.setdefault(key, index) != index:
                message = f"Item {places[key]} of this list has the same id. Name each object once."
                errors[index] = {name: [message]}
            else:
                keys[index] = key
    return keys, errors


class BulkCreateModelMixin(BulkMixin, mixins.CreateModelMixin):
    """A list in POST creates all of its items, or none; an object creates itself, as ever."""

    async def create(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if isinstance(request.data, list):
            return await self.bulk_create(request, *args, **kwargs)
        return await super().create(request, *args, **kwargs)

    async def bulk_create(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.check_bulk_size(request.data)
        serializer = self.get_bulk_serializer(data=request.data)
        await mixins.validate(serializer)
        await self.perform_bulk_create(serializer)
        return Response(await mixins.data_of(serializer), status=status.HTTP_201_CREATED)

    async def perform_bulk_create(self, serializer: Any) -> None:
        await mixins.save(serializer)


class BulkUpdateModelMixin(BulkMixin):
    """A list in PUT or PATCH on the collection updates the objects that its ids name, or none."""

    bulk_actions = {"put": "bulk_update", "patch": "partial_bulk_update"}

    async def bulk_update(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        partial = kwargs.pop("partial", False)
        items = request.data
        if not isinstance(items, list):
            message = f"Expected a list of objects, each with its id; got {type(items).__name__}."
            raise ValidationError({"non_field_errors": [message]})
        self.check_bulk_size(items)
        objects = await self.find_bulk_objects(self._ids_of(items))
        serializer = self.get_bulk_serializer(objects, data=items, partial=partial)
        await mixins.validate(serializer)
        await self.perform_bulk_update(serializer)
        return Response(await mixins.data_of(serializer))

    async def partial_bulk_update(
        self, request: Any, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        kwargs["partial"] = True
        return await self.bulk_update(request, *args, **kwargs)

    async def perform_bulk_update(self, serializer: Any) -> None:
        await mixins.save(serializer)

    def _ids_of(self, items: list[Any]) -> list[Any]:
        view: Any = self
        name, _ = self._id_field(view.get_queryset().model)
        return [item.get(name, empty) if isinstance(item, Mapping) else empty for item in items]


class BulkDestroyModelMixin(BulkMixin):
    """DELETE on the collection deletes what ids or filters name; never everything by accident.

    Every parameter must be one that is known, none may be empty, and together they must narrow the
    list down: a misspelt filter deletes nothing. Ids may also be a list in the body.
    """

    bulk_actions = {"delete": "bulk_destroy"}
    bulk_id_param = "id"

    async def bulk_destroy(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        ids = self._ids_to_destroy()
        self._check_parameters(needed=ids is None)
        if ids is None:
            objects = await self._find_filtered()
        else:
            self.check_bulk_size(ids)
            objects = await self.find_bulk_objects(ids)
        await self.perform_bulk_destroy(objects)
        return Response({"deleted": len(objects)})

    async def perform_bulk_destroy(self, objects: list[Any]) -> None:
        view: Any = self
        manager = view.get_queryset().model._default_manager
        await manager.filter(pk__in=[obj.pk for obj in objects]).adelete()

    def _ids_to_destroy(self) -> list[Any] | None:
        texts = self.request.query_params.getlist(self.bulk_id_param)
        if texts:
            return [part.strip() for text in texts for part in text.split(",")]
        body = self.request.data
        if body and not isinstance(body, list):
            raise ValidationError({"non_field_errors": ["Expected a list of ids."]})
        return body or (body if body == [] and self._has_body() else None)

    def _has_body(self) -> bool:
        return bool(self.request._request.body)

    def _check_parameters(self, *, needed: bool) -> None:
        """Raises ValidationError for a parameter that is unknown or empty, and for none at all."""
        view: Any = self
        known = {self.bulk_id_param, *filter_names(view)}
        given = self.request.query_params
        names = ", ".join(sorted(known))
        for name in given:
            if name not in known:
                raise ValidationError({name: [f"Not a filter of this list. Known are: {names}."]})
            if not all(text.strip() for text in given.getlist(name)):
                raise ValidationError({name: ["Empty: it would select everything. Say which."]})
        if needed and not given:
            message = f"Name what to delete, by at least one of: {names}."
            raise ValidationError({"non_field_errors": [message]})

    async def _find_filtered(self) -> list[Any]:
        view: Any = self
        everything = view.get_queryset()
        queryset = await view.afilter_queryset(everything)
        if queryset.query.where == everything.query.where:
            message = "The filters given select everything. Name what to delete."
            raise ValidationError({"non_field_errors": [message]})
        limit = self.get_bulk_max_items()
        objects = [obj async for obj in queryset.order_by("pk")[: limit + 1]]
        if len(objects) > limit:
            raise TooManyItems(limit, f"more than {limit}")
        await self.check_bulk_permissions(objects)
        return objects


def filter_names(view: Any) -> set[str]:
    """The parameters by which the view's filter backends choose objects."""
    names = set()
    for backend in map(_made, view.filter_backends):
        if hasattr(backend, "get_filterset_class"):
            filterset = backend.get_filterset_class(view, view.get_queryset())
            names |= set(filterset.base_filters) if filterset else set()
        elif getattr(view, "search_fields", None) and hasattr(backend, "search_param"):
            names.add(backend.search_param)
    return names


def _made(backend: Any) -> Any:
    return backend() if isinstance(backend, type) else backend


class BulkModelMixin(BulkCreateModelMixin, BulkUpdateModelMixin, BulkDestroyModelMixin):
    """All three."""
