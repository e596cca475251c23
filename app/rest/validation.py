"""Validating a serializer's input with awaits where they are needed, and DRF's rules throughout.

Fields only compute and are called in place. What must wait is taken out of their way:

- relational fields get their objects beforehand, one query for each model (`relations.aresolve`);
- a field whose validators wait (uniqueness) is run without them, then they are awaited on its
  value;
- what a list's uniqueness validators ask about is asked beforehand (`uniqueness`);
- nested serializers validate themselves, awaited;
- an image is looked at in a thread: Pillow reads files, imports itself at the first, and takes
  0.2 s for an evil one of 2 MB.

The functions take any serializer, DRF's own too; `serializers` makes methods of them. A subclass
that overrides DRF's synchronous `run_validation` or `to_internal_value` has it called in place.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.files import File
from rest_framework import serializers as drf
from rest_framework.deprecation import RemovedInDRF320Warning
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.fields import SkipField, empty, get_error_detail
from rest_framework.serializers import as_serializer_error
from rest_framework.settings import api_settings
from rest_framework.utils import html

from app.rest import shortcuts
from app.rest.breathing import Breather
from app.rest.colours import call_computing
from app.rest.uniqueness import Taken
from app.rest.uploads import offload
from app.rest.validators import acall, waits


def overrides(serializer: Any, name: str, *bases: type) -> bool:
    """Whether the serializer's class has a plain `name` of its own, not that of one of `bases`."""
    own = getattr(type(serializer), name)
    return all(own is not getattr(base, name, None) for base in bases)


async def run_validation(serializer: Any, data: Any = empty) -> Any:
    """`serializer.run_validation(data)`. Raises ValidationError, SkipField."""
    if overrides(serializer, "run_validation", drf.Serializer, drf.ListSerializer):
        return await _in_place(serializer, serializer.run_validation, data)
    is_empty, data = serializer.validate_empty_values(data)
    if is_empty:
        return data
    value = await _to_internal_value(serializer, data)
    try:
        await _run_serializer_validators(serializer, value)
        value = await _validate(serializer, value)
        assert value is not None, ".validate() should return the validated data"
    except (ValidationError, DjangoValidationError) as exc:
        raise ValidationError(detail=as_serializer_error(exc)) from exc
    return value


async def _to_internal_value(serializer: Any, data: Any) -> Any:
    if hasattr(serializer, "ato_internal_value"):
        return await serializer.ato_internal_value(data)
    if isinstance(serializer, drf.ListSerializer):
        return await list_to_internal_value(serializer, data)
    return await to_internal_value(serializer, data)


async def to_internal_value(serializer: Any, data: Any) -> Any:
    """DRF's Serializer.to_internal_value, field by field."""
    if overrides(serializer, "to_internal_value", drf.Serializer):
        return await _in_place(serializer, serializer.to_internal_value, data)
    if not isinstance(data, Mapping):
        message = serializer.error_messages["invalid"].format(datatype=type(data).__name__)
        raise ValidationError({api_settings.NON_FIELD_ERRORS_KEY: [message]}, code="invalid")
    values: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for field in serializer._writable_fields:
        try:
            value = await _run_field(serializer, field, field.get_value(data))
        except ValidationError as exc:
            errors[field.field_name] = exc.detail
        except DjangoValidationError as exc:
            errors[field.field_name] = get_error_detail(exc)
        except SkipField:
            pass
        else:
            serializer.set_value(values, field.source_attrs, value)
    errors.update(_unknown(serializer, data))
    if errors:
        raise refused(errors)
    return values


def refused(errors: Any) -> ValidationError:
    """A ValidationError of details that others raised: DRF would make each of them anew."""
    error = ValidationError()
    error.detail = errors
    return error


async def _run_field(serializer: Any, field: Any, primitive: Any) -> Any:
    if isinstance(field, drf.BaseSerializer):
        value = await _run_nested(field, primitive)
    elif any(map(waits, field.validators)):
        value = await _run_waiting(field, primitive)
    else:
        value = await _run_plain(field, primitive)
    name = field.field_name
    method = getattr(serializer, f"avalidate_{name}", None)
    if method is not None:
        return await method(value)
    method = getattr(serializer, f"validate_{name}", None)
    if method is None:
        return value
    return await _call_hook(method, value)


async def _run_plain(field: Any, primitive: Any) -> Any:
    if isinstance(primitive, _MAY_HOLD_FILES) and _opens_images(field):
        return await offload(field.run_validation, primitive)
    return field.run_validation(primitive)


_MAY_HOLD_FILES = (File, list, dict)


def _opens_images(field: Any) -> bool:
    while isinstance(field, drf.ListField | drf.DictField):
        field = field.child
    return isinstance(field, drf.ImageField)


async def _call_hook(method: Callable[[Any], Any], value: Any) -> Any:
    if iscoroutinefunction(method):
        return await method(value)
    return await call_computing(method, value)


async def _run_nested(field: Any, primitive: Any) -> Any:
    if hasattr(field, "arun_validation"):
        return await field.arun_validation(primitive)
    if isinstance(field, drf.Serializer | drf.ListSerializer):
        return await run_validation(field, primitive)
    return field.run_validation(primitive)


async def _run_waiting(field: Any, primitive: Any) -> Any:
    """Run the field with its validators taken out, then its validators, awaited, in their order.

    CharField and others decide in `run_validation` whether validators run at all, so it is asked.
    """
    reached: list[Any] = []
    field.run_validators = reached.append
    try:
        value = await _run_plain(field, primitive)
    finally:
        del field.run_validators
    for reached_value in reached:
        await run_validators(field, field.validators, reached_value)
    return value


async def run_validators(field: Any, validators: list[Any], value: Any) -> None:
    """DRF's Field.run_validators: every validator runs; their errors are raised together."""
    errors: list[Any] = []
    for validator in validators:
        try:
            if waits(validator):
                await acall(validator, value, field)
            elif getattr(validator, "requires_context", False):
                validator(value, field)
            else:
                validator(value)
        except ValidationError as exc:
            if isinstance(exc.detail, dict):
                raise
            errors.extend(exc.detail)
        except DjangoValidationError as exc:
            errors.extend(get_error_detail(exc))
    if errors:
        raise ValidationError(errors)


async def _run_serializer_validators(serializer: Any, value: Any) -> None:
    if isinstance(value, dict) and hasattr(serializer, "_read_only_defaults"):
        value = {**serializer._read_only_defaults(), **value}
    if serializer.validators:
        await run_validators(serializer, serializer.validators, value)


async def _validate(serializer: Any, value: Any) -> Any:
    if hasattr(serializer, "avalidate"):
        value = await serializer.avalidate(value)
    return await _call_hook(serializer.validate, value)


async def list_to_internal_value(serializer: Any, data: Any) -> list[Any]:
    """DRF's ListSerializer.to_internal_value; a long list lets other requests run in between."""
    if overrides(serializer, "to_internal_value", drf.ListSerializer):
        result: list[Any] = await _in_place(serializer, serializer.to_internal_value, data)
        return result
    if html.is_html_input(data):
        data = html.parse_html_list(data, default=[])
    items = _empty_copy(serializer, data)
    taken = await Taken.find(serializer.child, items, None)
    values, errors, breather = [], {}, Breather()
    with taken.at_hand():
        for index, item in enumerate(items):
            try:
                values.append(await _run_child(serializer, item))
            except ValidationError as exc:
                errors[index] = exc.detail
            await breather.breathe()
    if errors:
        raise refused(_list_errors(errors, len(items)))
    return values


def _empty_copy(serializer: Any, data: Any) -> list[Any]:
    """`data`, once DRF's own checks of its type and length have passed."""
    if isinstance(data, list):
        # DRF checks type and length before it looks at an item; an item it never sees cannot fail.
        probe = _Sized(len(data))
        drf.ListSerializer.to_internal_value(serializer, probe)
        return data
    drf.ListSerializer.to_internal_value(serializer, data)
    raise AssertionError("DRF accepted a list that is none")


class _Sized(list[Any]):
    """A list of a given length with nothing in it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def __len__(self) -> int:
        return self.size


_LIST_ERRORS = (
    "The list-based error format for `ListSerializer` is deprecated and will be removed in DRF "
    '3.20. Set `REST_FRAMEWORK["LIST_SERIALIZER_ERRORS_AS_DICT"]` to `True` to use the '
    "dictionary-based error format."
)


def _list_errors(errors: dict[int, Any], size: int) -> Any:
    if api_settings.LIST_SERIALIZER_ERRORS_AS_DICT:
        return errors
    warnings.warn(_LIST_ERRORS, RemovedInDRF320Warning, stacklevel=2)
    return [errors.get(index, {}) for index in range(size)]


async def _run_child(serializer: Any, item: Any) -> Any:
    if hasattr(serializer, "arun_child_validation"):
        return await serializer.arun_child_validation(item)
    return await run_child(serializer, item)


async def run_child(serializer: Any, item: Any) -> Any:
    """DRF's run_child_validation; a plain override of it is called in place."""
    child = serializer.child
    if overrides(serializer, "run_child_validation", drf.ListSerializer):
        return await _in_place(child, serializer.run_child_validation, item)
    if isinstance(child, drf.BaseSerializer):
        return await _run_nested(child, item)
    return await _run_plain(child, item)


async def _in_place(serializer: Any, method: Callable[[Any], Any], data: Any) -> Any:
    """Call a synchronous hook without the validators that wait; then await them on its result."""
    fields = [serializer, *getattr(serializer, "fields", {}).values()]
    aside = [(field, field.validators) for field in fields if any(map(waits, field.validators))]
    for field, validators in aside:
        field.validators = [validator for validator in validators if not waits(validator)]
    try:
        if any(map(_opens_images, fields)):
            value = await sync_to_async(method)(data)
        else:
            value = await call_computing(method, data)
    finally:
        for field, validators in aside:
            field.validators = validators
    for field, validators in aside:
        waiting = [validator for validator in validators if waits(validator)]
        await _run_aside(serializer, field, waiting, value)
    return value


async def _run_aside(serializer: Any, field: Any, validators: list[Any], value: Any) -> None:
    if field is serializer:
        try:
            await run_validators(field, validators, value)
        except ValidationError as exc:
            raise ValidationError(detail=as_serializer_error(exc)) from exc
        return
    found: Any = value
    for attr in field.source_attrs:
        found = found.get(attr, empty) if isinstance(found, Mapping) else empty
    if found is not empty and found is not None:
        try:
            await run_validators(field, validators, found)
        except ValidationError as exc:
            raise ValidationError({field.field_name: exc.detail}) from exc


def _unknown(serializer: Any, data: Any) -> dict[str, list[ErrorDetail]]:
    """An error for each name in `data` that no field carries, where the serializer refuses such."""
    if html.is_html_input(data) or not rejects_unknown(serializer):
        return {}
    unknown = [name for name in data if name not in serializer.fields]
    if not unknown:
        return {}
    known = ", ".join(field.field_name for field in serializer._writable_fields)
    message = f"Unknown field. Known fields: {known or 'none'}."
    return {str(name): [ErrorDetail(message, code="unknown")] for name in unknown}


def rejects_unknown(serializer: Any) -> bool:
    """`Meta.reject_unknown`, else `settings.STOWAGE["REJECT_UNKNOWN_FIELDS"]`, else DRF's: no."""
    meta = getattr(serializer, "Meta", None)
    default = (shortcuts.setting("STOWAGE") or {}).get("REJECT_UNKNOWN_FIELDS", False)
    return bool(getattr(meta, "reject_unknown", default))
