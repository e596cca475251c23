"""What a worker in production does not import, though what it imports asks for it.

Libraries import at their tops what only some of their users need: DRF the admin, for a function of
its documentation; Django the tokeniser of SQL scripts. All of it stays in the memory of each
worker. `install()` changes how the modules named in `WAYS` are loaded, before any of them is:

    Absent        it finds the packages named not installed, which it treats as optional
    LazyLoader    it is loaded when it is first used, by whoever wrote `import name`
    OnDemand      a package that star-imports its modules imports each for a name that is asked for
    StandIn       the functions and classes named import it when they are called

It also has Django's text functions make what they need for lazy texts when they are given one.
Nothing is lost by it but the time that the first use takes. What a process has imported already
stays as it is.
"""

import sys
from collections.abc import Callable, Sequence
from functools import cache, wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from itertools import chain
from types import ModuleType
from typing import Any

from django.utils import functional
from django.utils.functional import Promise


class Wrapped(Loader):
    """Loads a module in a way of its own, by means of the loader that would have loaded it."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.loader.create_module(spec)
        return module


class Absent(Wrapped):
    packages: Sequence[str] = ()

    def exec_module(self, module: ModuleType) -> None:
        hidden = [name for name in self.packages if name not in sys.modules]
        sys.modules |= dict.fromkeys(hidden)  # type: ignore[arg-type] # Python's way to say so
        try:
            self.loader.exec_module(module)
        finally:
            for name in hidden:
                del sys.modules[name]


class OnDemand(Wrapped):
    modules: Sequence[str] = ()

    def exec_module(self, module: ModuleType) -> None:
        def find(name: str) -> Any:
            if name.startswith("__"):  # the import system's own questions
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            for part in self.modules:
                found = vars(import_module(f"{module.__name__}.{part}"))
                if name in found:
                    return found[name]
            return _finish(self.loader, module, name)

        vars(module)["__getattr__"] = find


def _finish(loader: Any, module: ModuleType, name: str) -> Any:
    """Load the module after all, and give what was asked of it."""
    vars(module).pop("__getattr__", None)
    loader.exec_module(module)
    return getattr(module, name)


class StandIn(Wrapped):
    functions: Sequence[str] = ()

    def exec_module(self, module: ModuleType) -> None:
        def find(name: str) -> Any:
            if name.startswith("__"):  # the import system's own questions
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            if "__getattr__" in vars(module):
                return _finish(self.loader, module, name)
            return getattr(module, name)

        functions = {name: Caller(find, name) for name in self.functions}
        # Kept here as well: a signal's receiver lives only as long as somebody else holds it.
        vars(module).update(functions, __getattr__=find, __stand_ins__=functions)


class Caller:
    """A function of a module that is found when it is called; a class's attribute, too: it isn't
    bound to who asks for it.
    """

    def __init__(self, find: Callable[[str], Any], name: str) -> None:
        self.find = find
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.find(self.name)(*args, **kwargs)


class Finder(MetaPathFinder):
    """Finds the modules that have a way of their own, and leaves the others to those after it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        way = WAYS.get(fullname)
        spec = PathFinder.find_spec(fullname, path, target) if way else None
        if way and spec and spec.loader:
            spec.loader = way(spec.loader)
        return spec


def way(kind: type[Wrapped], **options: Any) -> Any:
    """A way with its options, to be made with the loader."""
    return type(kind.__name__, (kind,), options)


CONTENT_TYPES = "django.contrib.contenttypes"
POSTGRES = "django.contrib.postgres"

WAYS: dict[str, Any] = {
    # Highlighting and Markdown are for the browsable API, the others for DRF's own schemas.
    "rest_framework.compat": way(
        Absent, packages=["inflection", "markdown", "pygments", "requests", "uritemplate", "yaml"]
    ),
    f"{POSTGRES}.fields": way(OnDemand, modules=["array", "citext", "hstore", "jsonb", "ranges"]),
    f"{POSTGRES}.forms": way(OnDemand, modules=["array", "hstore", "ranges"]),
    # DRF's schemas would bring the admin, the middleware that knows users the forms for logging in.
    "django.contrib.admindocs.views": way(StandIn, functions=["simplify_regex"]),
    "django.contrib.auth.views": way(StandIn, functions=["redirect_to_login"]),
    # What happens after migrating; the framework of migrations with it.
    f"{CONTENT_TYPES}.management": way(
        StandIn, functions=["create_contenttypes", "inject_rename_contenttypes_operations"]
    ),
    "django.core.management": way(StandIn),  # of which the log uses one module, for its colours
    "django.core.mail": way(
        StandIn, functions=["get_connection", "mail_admins", "mail_managers", "send_mail"]
    ),  # and mail of users, and of broken links
    "django.views.generic": way(OnDemand, modules=["base", "list", "detail", "edit", "dates"]),
    "django.views.debug": way(StandIn, functions=["ExceptionReporter"]),
    # Schemas are changed by migrations, and those run in processes of their own.
    "django.db.backends.postgresql.schema": way(StandIn, functions=["DatabaseSchemaEditor"]),
    "sqlparse": LazyLoader,  # to split scripts of SQL
    "configparser": LazyLoader,  # of asyncpg, to read a service file
}


def keep_lazy_late(keep_lazy: Callable[..., Any]) -> Callable[..., Any]:
    """Django's decorator of functions that take lazy texts, which makes a class of eighty methods
    for each of them: here when the function is first given one.
    """

    @wraps(keep_lazy)
    def keep_late(*result_classes: type) -> Any:
        if not result_classes:
            return keep_lazy()  # which says what is missing

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            decorated = cache(lambda: keep_lazy(*result_classes)(function))

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                if any(isinstance(given, Promise) for given in chain(args, kwargs.values())):
                    return decorated()(*args, **kwargs)
                return function(*args, **kwargs)

            return call

        return decorate

    return keep_late


def install() -> None:
    functional.keep_lazy = keep_lazy_late(functional.keep_lazy)
    sys.meta_path.insert(0, Finder())
