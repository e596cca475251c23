"""A pytest plugin: DRF's tests import this project's classes where they name DRF's.

DRF itself stays as it is. An import that a test writes (`from rest_framework.views import APIView`)
gives the name of `app.rest.views` where that module has it, and DRF's own where it has not, just as
a user's project does that was moved over by changing its imports. The defaults of DRF's settings
name this project's classes likewise.

The tests are synchronous: `driving.py` runs what they start to its end.
"""

import builtins
import importlib
import sys
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

import driving
import reporting
from django.conf import LazySettings

# The synchronous test client and factory are what drives the suite.
KEPT = {"app.rest.test", "app.rest.apps"}

_import = builtins.__import__
_reload_one = importlib.reload
_overlays: dict[str, Any] = {}
_configure = LazySettings.configure


def _configure_with_ours(settings: LazySettings, **options: Any) -> None:
    """DRF's conftest configures the settings; the templates of `app.rest` belong to them."""
    _configure(settings, **options | {"INSTALLED_APPS": (*options["INSTALLED_APPS"], "app.rest")})


LazySettings.configure = _configure_with_ours


class Overlay(ModuleType):
    """A module of DRF's with the public names of this project's module over it."""

    def __init__(self, name: str, theirs: ModuleType, ours: ModuleType | None) -> None:
        super().__init__(name)
        super().__getattribute__("__dict__").update(__theirs=theirs, __ours=ours)

    def __getattribute__(self, name: str) -> Any:
        own = super().__getattribute__("__dict__")
        theirs, ours = own["__theirs"], own["__ours"]
        if name == "__dict__":
            return {**vars(theirs), **(vars(ours) if ours else {})}
        if name.startswith("__") and name not in ("__doc__", "__all__"):
            return super().__getattribute__(name)
        if name in own and not name.startswith("__"):
            return own[name]
        qualified = f"{theirs.__name__}.{name}"
        if qualified in sys.modules:
            return _overlays.get(qualified, sys.modules[qualified])
        if ours is not None and name in ours.__dict__:
            return ours.__dict__[name]
        return getattr(theirs, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """A test that patches a module patches both: each runs in the other's stead."""
        own = super().__getattribute__("__dict__")
        for module in (own["__theirs"], own["__ours"]):
            if module is not None and hasattr(module, name):
                setattr(module, name, value)


def _substituted_import(
    name: str, namespace: Any = None, local: Any = None, fromlist: Any = (), level: int = 0
) -> Any:
    module = _import(name, namespace, local, fromlist, level)
    importer = (namespace or {}).get("__name__", "")
    if not importer.startswith("tests.") or not name.startswith("rest_framework"):
        return module
    if fromlist:
        return _overlays.get(name, module)
    return _overlays["rest_framework"]


def pytest_sessionstart() -> None:
    """After Django is set up, before a test is imported."""
    import rest_framework

    import app.rest

    _default_to_ours()
    _overlays["rest_framework"] = Overlay("rest_framework", rest_framework, None)
    driving.install()
    for info in walk_packages(app.rest.__path__, "app.rest."):
        try:
            theirs = import_module(info.name.replace("app.rest", "rest_framework", 1))
        except ImportError:
            continue
        if info.name not in KEPT:
            ours = import_module(info.name)
            _overlays[theirs.__name__] = Overlay(theirs.__name__, theirs, ours)
    builtins.__import__ = _substituted_import
    importlib.reload = _reload


def _reload(module: ModuleType) -> ModuleType:
    """A test reloads a module to have it read its settings anew."""
    if not isinstance(module, Overlay):
        return _reload_one(module)
    own = ModuleType.__getattribute__(module, "__dict__")
    for part in (own["__theirs"], own["__ours"]):
        if part is not None:
            _reload_one(part)
    return module


def _default_to_ours() -> None:
    """The defaults of DRF's settings, with `app.rest` for `rest_framework`."""
    from rest_framework.settings import DEFAULTS, api_settings

    for name, value in DEFAULTS.items():
        if name.startswith("TEST_"):
            continue
        if isinstance(value, str):
            DEFAULTS[name] = _moved(value)
        elif isinstance(value, list):
            DEFAULTS[name] = [_moved(item) for item in value]
    api_settings.reload()


def _moved(path: Any) -> Any:
    module, _, name = path.rpartition(".") if isinstance(path, str) else ("", "", "")
    if not module.startswith("rest_framework."):
        return path
    try:
        ours = import_module(module.replace("rest_framework.", "app.rest.", 1))
    except ImportError:
        return path
    return f"{ours.__name__}.{name}" if hasattr(ours, name) else path


def pytest_sessionfinish() -> None:
    builtins.__import__ = _import
    reporting.counts.update(driving.counts)
