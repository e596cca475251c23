"""The browsable API: prepared with awaits, then rendered in place by DRF's own code.

DRF's renderer asks while it renders: may this user use this method? what does a form hold? which
objects can a relation choose from? `prepare` asks all of it first; `render` gives DRF the answers.

A view may show a picture above its data: with `picture_format = "svg"` the page holds
`<img src="?format=svg">`, drawn by the view's own renderer of that format.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.paginator import Page
from django.http import Http404
from django.template import loader
from rest_framework import exceptions, serializers
from rest_framework import renderers as drf
from rest_framework.relations import ManyRelatedField, RelatedField
from rest_framework.request import override_method
from rest_framework.utils.urls import replace_query_param

__all__ = ["AdminRenderer", "BrowsableAPIRenderer"]

_METHODS = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_FORMS = ("POST", "PUT", "PATCH")


class BrowsableAPIRenderer(drf.BrowsableAPIRenderer):
    """DRF's, for views whose permissions, serializers and querysets are awaited.

    A synchronous view of DRF's own (a third party's, say) does not call `prepare`: then DRF's
    renderer asks for itself.
    """

    template = "app_rest/api.html"
    permitted: dict[str, bool] | None = None
    serializers: dict[str, Any] = {}
    filter_html: str | None = None

    async def prepare(self, data: Any, accepted_media_type: str, renderer_context: Any) -> None:
        """Ask everything that the page will show."""
        view, request = renderer_context["view"], renderer_context["request"]
        instance = _instance_of(data)
        self.permitted, self.serializers = {}, {}
        for method in _METHODS:
            if method not in view.allowed_methods:
                continue
            with override_method(view, request, method) as overridden:
                self.permitted[method] = await _permits(view, overridden, instance)
                if self.permitted[method] and method in _FORMS and hasattr(view, "get_serializer"):
                    self.serializers[method] = await _form_of(view, method, instance)
        await load_choices(getattr(data, "serializer", None))
        self.filter_html = await self._filter_form(data, view, request)

    def get_context(self, data: Any, accepted_media_type: str, renderer_context: Any) -> Any:
        view, request = renderer_context["view"], renderer_context["request"]
        with _serializers_of(view, self.serializers):
            context = super().get_context(data, accepted_media_type, renderer_context)
        name = getattr(view, "picture_format", None)
        if name and renderer_context["response"].status_code == 200:
            context["picture_url"] = replace_query_param(request.get_full_path(), "format", name)
        return context

    def show_form_for_method(self, view: Any, method: str, request: Any, obj: Any) -> bool:
        if self.permitted is None:
            return bool(super().show_form_for_method(view, method, request, obj))
        return self.permitted.get(method, False)

    def get_rendered_html_form(self, data: Any, view: Any, method: str, request: Any) -> Any:
        if self.permitted is not None and method in ("DELETE", "OPTIONS"):
            return self.permitted.get(method) or None
        return super().get_rendered_html_form(data, view, method, request)

    def get_filter_form(self, data: Any, view: Any, request: Any) -> str | None:
        if self.permitted is None:
            html: str | None = super().get_filter_form(data, view, request)
            return html
        return self.filter_html

    async def _filter_form(self, data: Any, view: Any, request: Any) -> str | None:
        """DRF's get_filter_form, with backends that may await their HTML."""
        if not hasattr(view, "get_queryset") or not hasattr(view, "filter_backends"):
            return None
        if not _is_list(data, view):
            return None
        elements = []
        queryset = view.get_queryset()
        for backend in view.filter_backends:
            if hasattr(backend, "ato_html"):
                elements.append(await backend().ato_html(request, queryset, view))
            elif hasattr(backend, "to_html"):
                elements.append(backend().to_html(request, queryset, view))
        elements = [element for element in elements if element]
        if not elements:
            return None
        html: str = loader.get_template(self.filter_template).render({"elements": elements})
        return html


class AdminRenderer(BrowsableAPIRenderer, drf.AdminRenderer):
    """DRF's admin-like pages."""

    template = drf.AdminRenderer.template
    format = drf.AdminRenderer.format


def _instance_of(data: Any) -> Any:
    """The object that the page is about, as DRF finds it."""
    serializer = getattr(data, "serializer", None)
    if serializer is None or getattr(serializer, "many", False):
        return None
    instance = getattr(serializer, "instance", None)
    return None if isinstance(instance, Page) else instance


async def _permits(view: Any, request: Any, instance: Any) -> bool:
    try:
        await view.check_permissions(request)
        if instance is not None:
            await view.check_object_permissions(request, instance)
    except (exceptions.APIException, PermissionDenied, Http404):
        return False
    return True


async def _form_of(view: Any, method: str, instance: Any) -> Any:
    """The serializer that fills the form for `method`, with its data and its choices at hand."""
    bound = {"instance": instance} if method in ("PUT", "PATCH") else {}
    serializer = view.get_serializer(**bound)
    await load_choices(serializer)
    child = getattr(serializer, "child", serializer)
    if hasattr(type(child), "adata"):
        await child.adata
    return serializer


def _is_list(data: Any, view: Any) -> bool:
    if isinstance(data, list):
        return True
    paginator = getattr(view, "paginator", None)
    if paginator is None or data is None:
        return False
    try:
        paginator.get_results(data)
    except (TypeError, KeyError):
        return False
    return True


@contextmanager
def _serializers_of(view: Any, prepared: dict[str, Any]) -> Iterator[None]:
    """While DRF builds its forms, `view.get_serializer()` gives what was prepared."""
    if not prepared:
        yield
        return
    original = view.get_serializer

    def get_serializer(*args: Any, **kwargs: Any) -> Any:
        return prepared.get(view.request.method) or original(*args, **kwargs)

    view.get_serializer = get_serializer
    try:
        yield
    finally:
        del view.get_serializer


class Rows(list[Any]):
    """Objects in memory where Django and DRF expect a queryset to choose from."""

    model: Any = None
    _prefetch_related_lookups = ()

    def all(self) -> "Rows":
        return self

    def iterator(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        return iter(self)

    def exists(self) -> bool:
        return bool(self)


async def load_choices(serializer: Any) -> None:
    """Give each relational field of a form the objects to choose from, up to its cutoff."""
    child = getattr(serializer, "child", serializer)
    if not isinstance(child, serializers.Serializer):
        return
    for field in child.fields.values():
        if isinstance(field, serializers.BaseSerializer):
            await load_choices(field)
        relation = field.child_relation if isinstance(field, ManyRelatedField) else field
        if isinstance(relation, RelatedField) and not field.read_only:
            await _load_choices_of(relation, field.html_cutoff)


async def _load_choices_of(field: Any, cutoff: int | None) -> None:
    queryset = field.get_queryset()
    if queryset is None or isinstance(queryset, Rows):
        return
    # One more than the cutoff: DRF's widgets say so when there are more.
    rows = Rows([obj async for obj in (queryset[: cutoff + 1] if cutoff else queryset)])
    rows.model = queryset.model
    field.get_queryset = lambda: rows
